//! The rules of the recount: which categories are in use, and which no longer are.
//!
//! The projector records a category before its first listing, but does not notice when the last
//! listing is removed: the recount does. It removes a category only if a whole run saw no listing
//! in it and no product needs one. Products committed during the run are searched for again after
//! the removal, and projectors cache a recorded category only briefly, so a category that comes
//! back is recorded again. If both miss it, the next run sees its listing and adds it.

use std::collections::BTreeSet;

/// The changes to the recorded set of categories.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Recount {
    pub(crate) add: Vec<String>,
    pub(crate) remove: Vec<String>,
}

/// The categories that are either recorded or were seen by a run, but not both. Whether they are in
/// use has to be asked.
pub(crate) fn undecided(recorded: &BTreeSet<String>, seen: &BTreeSet<String>) -> Vec<String> {
    recorded.symmetric_difference(seen).cloned().collect()
}

/// Decides about the undecided categories by those that are `in_use`.
pub(crate) fn recount(
    recorded: &BTreeSet<String>,
    seen: &BTreeSet<String>,
    in_use: &BTreeSet<String>,
) -> Recount {
    Recount {
        add: seen
            .difference(recorded)
            .filter(|category| in_use.contains(*category))
            .cloned()
            .collect(),
        remove: recorded
            .difference(seen)
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
    fn category_is_removed_only_without_listings_and_products() {
        let recorded = set(&["books", "hats", "shoes"]);
        let seen = set(&["shoes"]);
        assert_eq!(undecided(&recorded, &seen), ["books", "hats"]);
        // The first product in hats was committed after its bucket was compared.
        let decided = recount(&recorded, &seen, &set(&["hats"]));
        assert_eq!(decided.remove, ["books"]);
        assert!(decided.add.is_empty());
    }

    #[test]
    fn lost_category_is_added_again_if_in_use() {
        let decided = recount(&set(&[]), &set(&["hats", "shoes"]), &set(&["shoes"]));
        assert_eq!(decided.add, ["shoes"]);
        assert!(decided.remove.is_empty());
    }
}
