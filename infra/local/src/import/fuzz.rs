//! A file to import, made to be anything: for the fuzzer, and for the inputs that it once found.

use shared::money::Currency;

use super::columns::Columns;
use super::records::Records;
use super::row;

/// A file: it is read to its end or to its fault, and every row that is accepted is a product that
/// the API takes.
pub fn csv(data: &[u8]) {
    let Ok(mut records) = Records::new(data) else { return };
    let Ok(Some(header)) = records.next() else { return };
    let Ok(columns) = Columns::read(&header.cells, &[]) else { return };
    let mut before = header.end;
    while let Ok(Some(record)) = records.next() {
        assert!(before < record.end && record.end <= data.len() as u64);
        before = record.end;
        if let Ok(row) = row::read(&record, &columns, Currency::default()) {
            assert_eq!(inventory::check(row.item.get().as_bytes()), Ok(()));
        }
    }
}

#[cfg(test)]
mod tests {
    use testkit::fuzz::replay;

    #[test]
    fn every_input_that_is_kept_is_read_or_refused() {
        replay("csv", super::csv);
    }
}
