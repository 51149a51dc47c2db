//! THE RULES of the recount: which categories are in use and which are not any more.
//!
//! The projector notes a category before its first listing, and nobody notes when the last one is
//! gone: that is found out here. A category is dropped only if a whole run met no listing in it and
//! there is no product for one either. What is committed meanwhile is looked for once more after
//! the drop, and projectors take a category for noted only for moments, so one that comes back is
//! noted again; should that be missed, the next run meets its listing and adds it.

use std::collections::BTreeSet;

/// What has to change in the set of categories.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Recount {
    pub(crate) add: Vec<String>,
    pub(crate) remove: Vec<String>,
}

/// The categories that a run met or that are noted, but not both: it has to be found out whether
/// they are in use.
pub(crate) fn doubtful(noted: &BTreeSet<String>, met: &BTreeSet<String>) -> Vec<String> {
    noted.symmetric_difference(met).cloned().collect()
}

/// Decides about the doubtful ones by those that are `in_use`.
pub(crate) fn recount(
    noted: &BTreeSet<String>,
    met: &BTreeSet<String>,
    in_use: &BTreeSet<String>,
) -> Recount {
    Recount {
        add: met.difference(noted).filter(|category| in_use.contains(*category)).cloned().collect(),
        remove: noted
            .difference(met)
            .filter(|category| !in_use.contains(*category))
            .cloned()
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(categories: &[&str]) -> BTreeSet<String> {
        categories.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn only_a_category_without_listings_and_without_products_is_dropped() {
        let noted = set(&["books", "hats", "shoes"]);
        let met = set(&["shoes"]);
        assert_eq!(doubtful(&noted, &met), ["books", "hats"]);
        // The first product in hats was committed after its bucket was walked.
        let decided = recount(&noted, &met, &set(&["hats"]));
        assert_eq!(decided.remove, ["books"]);
        assert!(decided.add.is_empty());
    }

    #[test]
    fn a_category_that_was_lost_is_added_again_if_it_is_in_use() {
        let decided = recount(&set(&[]), &set(&["hats", "shoes"]), &set(&["shoes"]));
        assert_eq!(decided.add, ["shoes"]);
        assert!(decided.remove.is_empty());
    }
}
