//! Cuts a file into batches. It reads only as fast as batches are sent, so that its memory does not
//! depend on the size of the file.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Read;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use shared::money::Currency;
use tokio::sync::mpsc::Sender;

use super::columns::Columns;
use super::records::{FileFault, Record, Records};
use super::row::{self, Row, RowFault};
use crate::client::batch::MAX_ITEMS;

/// The most bytes of the items in a batch. The API accepts 1 MiB including the rest of the request.
const MAX_BYTES: usize = 900 * 1024;

/// The most SKUs that a dry run remembers, which bounds its memory.
const MAX_SKUS: usize = 5_000_000;

/// Consecutive rows.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// The number of the first row, from 0.
    first: u64,
    /// The valid rows.
    pub(super) rows: Vec<Row>,
    /// The number of rows, valid or not.
    pub(super) count: u64,
    /// The number of rows with faults.
    pub(super) bad: u64,
    pub(super) faults: Vec<RowFault>,
    /// The bytes of the file that it covers.
    pub(super) bytes: u64,
}

impl Chunk {
    /// The idempotency key: a hash of the content and its position. The same file yields the same
    /// keys, and a corrected row changes only the key of its own batch.
    pub(super) fn key(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.first.to_be_bytes());
        for row in &self.rows {
            let item = row.item.get().as_bytes();
            hash.update((item.len() as u64).to_be_bytes());
            hash.update(item);
        }
        let mut key = "import-".to_owned();
        for byte in hash.finalize() {
            // Writing to a string cannot fail.
            let _ = write!(key, "{byte:02x}");
        }
        key
    }
}

/// Reads a file into chunks.
pub(super) struct Chunks<R> {
    records: Records<R>,
    columns: Arc<Columns>,
    currency: Currency,
    /// Hashes of the SKUs so far, in which a dry run finds duplicates.
    skus: Option<HashSet<u64>>,
    /// A row that did not fit into the previous chunk, and its end in the file.
    carried: Option<(u64, Result<Row, Vec<RowFault>>)>,
    position: u64,
    next: u64,
}

impl<R: Read> Chunks<R> {
    pub(super) fn new(
        records: Records<R>,
        columns: Arc<Columns>,
        currency: Currency,
        dry_run: bool,
    ) -> Self {
        Self {
            records,
            columns,
            currency,
            skus: dry_run.then(HashSet::new),
            carried: None,
            position: 0,
            next: 0,
        }
    }

    /// Sends every chunk until the file ends or the receiver is dropped. Blocks.
    pub(super) fn send(mut self, chunks: &Sender<Result<Chunk, FileFault>>) {
        loop {
            let mut chunk = Chunk { first: self.next, ..Chunk::default() };
            let read = self.fill(&mut chunk);
            // Rows before a fault in the file are valid.
            if chunk.count > 0 && chunks.blocking_send(Ok(chunk)).is_err() {
                return;
            }
            match read {
                Ok(true) => {}
                Ok(false) => return,
                Err(fault) => {
                    let _ = chunks.blocking_send(Err(fault));
                    return;
                }
            }
        }
    }

    /// Fills a chunk. Returns whether there may be more rows.
    fn fill(&mut self, chunk: &mut Chunk) -> Result<bool, FileFault> {
        let mut size = 0;
        while chunk.count < MAX_ITEMS as u64 {
            let (end, row) = match self.carried.take() {
                Some(carried) => carried,
                None => match self.records.next()? {
                    Some(record) => (record.end, self.read(&record)),
                    None => return Ok(false),
                },
            };
            let length = row.as_ref().map_or(0, |row| row.item.get().len() + 1);
            if chunk.count > 0 && size + length > MAX_BYTES {
                self.carried = Some((end, row));
                return Ok(true);
            }
            size += length;
            chunk.bytes += end - self.position;
            self.position = end;
            chunk.count += 1;
            self.next += 1;
            match row {
                Ok(row) => chunk.rows.push(row),
                Err(mut faults) => {
                    chunk.bad += 1;
                    chunk.faults.append(&mut faults);
                }
            }
        }
        Ok(true)
    }

    fn read(&mut self, record: &Record) -> Result<Row, Vec<RowFault>> {
        let row = row::read(record, &self.columns, self.currency)?;
        if let Some(skus) = &mut self.skus
            && skus.len() < MAX_SKUS
        {
            let mut hasher = DefaultHasher::new();
            row.sku.hash(&mut hasher);
            if !skus.insert(hasher.finish()) {
                let detail = "an earlier row of the file has this SKU";
                return Err(vec![row::fault(
                    row.line,
                    &self.columns,
                    "/sku",
                    "duplicate_sku",
                    detail,
                )]);
            }
        }
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn chunks(file: &str, dry_run: bool) -> Vec<Result<Chunk, FileFault>> {
        let mut records = Records::new(Cursor::new(file.as_bytes().to_vec())).unwrap();
        let header = records.next().unwrap().unwrap();
        let columns = Columns::read(&header.cells, &[]).unwrap();
        let (sender, mut receiver) = tokio::sync::mpsc::channel(100);
        let currency = Currency::default();
        Chunks::new(records, Arc::new(columns), currency, dry_run).send(&sender);
        drop(sender);
        std::iter::from_fn(|| receiver.blocking_recv()).collect()
    }

    fn keys(file: &str) -> Vec<String> {
        chunks(file, false).into_iter().map(|chunk| chunk.unwrap().key()).collect()
    }

    fn file(rows: usize) -> String {
        let mut file = "sku,name,category,price\n".to_owned();
        for row in 0..rows {
            writeln!(file, "S-{row},Shoe {row},shoes,{row}").unwrap();
        }
        file
    }

    #[test]
    fn chunks_cover_every_row_and_byte_once() {
        let file = file(250);
        let chunks: Vec<Chunk> = chunks(&file, true).into_iter().map(Result::unwrap).collect();
        let counts: Vec<_> = chunks.iter().map(|chunk| (chunk.first, chunk.count)).collect();
        assert_eq!(counts, [(0, 100), (100, 100), (200, 50)]);
        let bytes: u64 = chunks.iter().map(|chunk| chunk.bytes).sum();
        assert_eq!(bytes, file.len() as u64);
        assert_eq!(chunks.iter().map(|chunk| chunk.rows.len()).sum::<usize>(), 250);
    }

    #[test]
    fn corrected_row_changes_only_the_key_of_its_batch() {
        let before = file(250);
        assert_eq!(keys(&before), keys(&before));
        let corrected = before.replace("S-120,Shoe 120,shoes,120", "S-120,Boot,shoes,120");
        let (before, corrected) = (keys(&before), keys(&corrected));
        assert_eq!((&before[0], &before[2]), (&corrected[0], &corrected[2]));
        assert_ne!(before[1], corrected[1]);
    }

    #[test]
    fn batch_of_large_rows_stays_below_the_size_limit() {
        let mut file = "sku,name,category,price,description\n".to_owned();
        for row in 0..150 {
            writeln!(file, "S-{row},Shoe,shoes,1,{}", "é".repeat(9_000)).unwrap();
        }
        for chunk in chunks(&file, false) {
            let chunk = chunk.unwrap();
            let size: usize = chunk.rows.iter().map(|row| row.item.get().len() + 1).sum();
            assert!(size < MAX_BYTES && !chunk.rows.is_empty(), "{size}");
        }
    }

    #[test]
    fn rows_before_a_fault_in_the_file_are_kept() {
        let broken = format!("{}\"S", file(2));
        let mut chunks = chunks(&broken, false).into_iter();
        assert_eq!(chunks.next().unwrap().unwrap().rows.len(), 2);
        let fault = chunks.next().unwrap().unwrap_err();
        assert!(fault.to_string().starts_with("line 4: a quote"), "{fault}");
    }

    #[test]
    fn dry_run_finds_duplicate_skus() {
        let twice = format!("{}S-1,Other,shoes,5\n", file(2));
        let found = chunks(&twice, true).remove(0).unwrap();
        assert_eq!((found.bad, found.faults[0].code.as_str()), (1, "duplicate_sku"));
        assert_eq!((found.faults[0].line, found.faults[0].column.as_deref()), (4, Some("sku")));
        assert_eq!(chunks(&twice, false).remove(0).unwrap().bad, 0);
    }
}
