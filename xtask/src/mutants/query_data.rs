//! Offline query data for statements that a fault changes.
//!
//! The query macros find the data of a statement by its hash, so a changed statement has none. A
//! fault keeps the parameters and columns of its statement. The old data then fits the new statement.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Query data that is removed when the value is dropped.
#[derive(Debug)]
pub(crate) struct QueryData(Vec<PathBuf>);

impl QueryData {
    /// Writes the query data that `folder` needs to build with this patch.
    pub(crate) fn write(folder: &Path, patch: &str) -> anyhow::Result<Self> {
        let mut written = Self(Vec::new());
        let Some((old, new)) = changed_line(patch) else { return Ok(written) };
        let data_folder = folder.join(".sqlx");
        for entry in fs::read_dir(&data_folder).context("reading .sqlx")? {
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
            let file = data_folder.join(format!("query-{hash}.json"));
            fs::write(&file, data.to_string())?;
            written.0.push(file);
        }
        Ok(written)
    }
}

impl Drop for QueryData {
    fn drop(&mut self) {
        for file in &self.0 {
            // The next run removes any file that is left.
            let _ = fs::remove_file(file);
        }
    }
}

/// The line that a patch removes and the one that it adds, reduced to the statement in them.
fn changed_line(patch: &str) -> Option<(String, String)> {
    let (_, patch) = patch.split_once("\n@@ ")?;
    let line = |sign: char| patch.lines().skip(1).find_map(|line| line.strip_prefix(sign));
    Some((statement(line('-')?).to_owned(), statement(line('+')?).to_owned()))
}

/// The part of a Rust line that is inside a raw string, or the whole line.
fn statement(line: &str) -> &str {
    let rest = line.split_once("r#\"").map_or(line, |(_, rest)| rest);
    rest.split_once("\"#").map_or(rest, |(inside, _)| inside)
}

/// The hash by which the query macros name a statement.
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
    fn changed_line_is_reduced_to_its_statement() {
        let patch = "--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n select 1\n-    f(r#\"where a\"#, b)\n\
                     +    f(r#\"where c\"#, b)\n";
        assert_eq!(changed_line(patch), Some(("where a".to_owned(), "where c".to_owned())));
        let within = "@@ 1\n-  from a\n+  from b";
        assert_eq!(changed_line(&format!("\n{within}")).unwrap().1, "  from b");
    }

    #[test]
    fn hash_matches_the_names_of_the_query_data() {
        let known = crate::tree::root().join(".sqlx");
        for entry in fs::read_dir(known).unwrap() {
            let data: Value =
                serde_json::from_slice(&fs::read(entry.unwrap().path()).unwrap()).unwrap();
            assert_eq!(hash(data["query"].as_str().unwrap()), data["hash"].as_str().unwrap());
        }
    }
}
