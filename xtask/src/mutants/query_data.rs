//! What the query macros need to build a statement that a fault has changed.
//!
//! They know statements by their hash, and of one that was changed nothing is written down. As long
//! as a fault keeps the parameters and the columns of a statement, what is known of the old one is
//! true of the new one, too.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Query data that is there for as long as a fault.
#[derive(Debug)]
pub(crate) struct QueryData(Vec<PathBuf>);

impl QueryData {
    /// Writes what is needed to build `folder` with this patch.
    pub(crate) fn write(folder: &Path, patch: &str) -> anyhow::Result<Self> {
        let mut written = Self(Vec::new());
        let Some((old, new)) = changed_line(patch) else { return Ok(written) };
        let known = folder.join(".sqlx");
        for entry in fs::read_dir(&known).context("reading .sqlx")? {
            let path = entry?.path();
            let mut data: Value = serde_json::from_slice(&fs::read(&path)?)
                .with_context(|| format!("reading {}", path.display()))?;
            let Some(query) = data["query"].as_str() else { continue };
            if !query.contains(&old) {
                continue;
            }
            let query = query.replace(&old, &new);
            let hash = hash(&query);
            data["query"] = query.into();
            data["hash"] = hash.as_str().into();
            let file = known.join(format!("query-{hash}.json"));
            fs::write(&file, data.to_string())?;
            written.0.push(file);
        }
        Ok(written)
    }
}

impl Drop for QueryData {
    fn drop(&mut self) {
        for file in &self.0 {
            // The next run removes what is left.
            let _ = fs::remove_file(file);
        }
    }
}

/// What a patch of one line takes away and what it puts there, as far as it stands in a statement.
fn changed_line(patch: &str) -> Option<(String, String)> {
    let (_, patch) = patch.split_once("\n@@ ")?;
    let line = |sign: char| patch.lines().skip(1).find_map(|line| line.strip_prefix(sign));
    Some((statement(line('-')?).to_owned(), statement(line('+')?).to_owned()))
}

/// What of a line of Rust is in a string, or all of it.
fn statement(line: &str) -> &str {
    let behind = line.split_once("r#\"").map_or(line, |(_, behind)| behind);
    behind.split_once("\"#").map_or(behind, |(inside, _)| inside)
}

/// As the query macros name a statement.
fn hash(query: &str) -> String {
    let digest = Sha256::digest(query.as_bytes());
    let mut name = String::with_capacity(64);
    for byte in digest {
        // Writing to memory does not fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_changed_line_only_what_is_in_the_statement_counts() {
        let patch = "--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n select 1\n-    f(r#\"where a\"#, b)\n\
                     +    f(r#\"where c\"#, b)\n";
        assert_eq!(changed_line(patch), Some(("where a".to_owned(), "where c".to_owned())));
        let within = "@@ 1\n-  from a\n+  from b";
        assert_eq!(changed_line(&format!("\n{within}")).unwrap().1, "  from b");
    }

    #[test]
    fn statements_are_named_by_their_hash() {
        let known = crate::tree::root().join(".sqlx");
        for entry in fs::read_dir(known).unwrap() {
            let data: Value =
                serde_json::from_slice(&fs::read(entry.unwrap().path()).unwrap()).unwrap();
            assert_eq!(hash(data["query"].as_str().unwrap()), data["hash"].as_str().unwrap());
        }
    }
}
