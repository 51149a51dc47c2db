//! The fuzz target of the CSV import, and a replay of its stored inputs.

use shared::money::Currency;

use super::columns::Columns;
use super::records::Records;
use super::row;

/// Reads `data` as a file, up to its end or its first fault. The API must accept each row that the
/// reader accepts.
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
    fn stored_inputs_are_read_or_refused() {
        replay("csv", super::csv);
    }
}
