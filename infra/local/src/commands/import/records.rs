//! Reads the rows of a CSV file (RFC 4180), each with the line in which it begins.
//!
//! Promise: a malformed file ends in an error with its line, and never in guessed rows. An unclosed
//! quote would turn the rest of the file into one row: reading stops after [`MAX_ROW`].

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

/// The most bytes of a row. A product has at most 64 KiB.
const MAX_ROW: usize = 1024 * 1024;

const BUFFER: usize = 64 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why the file cannot be read as CSV.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileFault {
    #[error("line {line} cannot be read")]
    Read { line: u64, source: io::Error },
    #[error("the file is in UTF-16; save it as CSV in UTF-8")]
    Utf16,
    #[error("line {line}, cell {cell} is not in UTF-8; save the file as CSV in UTF-8")]
    Encoding { line: u64, cell: usize },
    #[error("line {line}: a quote is opened and never closed")]
    Unclosed { line: u64 },
    #[error("line {line}: unexpected text between a closing quote and the end of its cell")]
    AfterQuote { line: u64 },
    #[error("line {line} begins a row of more than 1 MiB, or a quote that is never closed")]
    TooLong { line: u64 },
}

/// A row of the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The line in which it begins, from 1.
    pub(super) line: u64,
    pub(super) cells: Vec<String>,
    /// Its end, in bytes from the start of the file.
    pub(super) end: u64,
}

/// Reads row by row, and skips empty lines.
pub(super) struct Records<R> {
    reader: Chain<Cursor<Vec<u8>>, BufReader<R>>,
    separator: u8,
    line: u64,
    position: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ParserState {
    CellStart,
    Bare,
    Quoted { since: u64 },
    QuoteInQuoted,
}

impl<R: Read> Records<R> {
    /// Detects from the first line whether `,` or `;` separates cells.
    pub(super) fn new(file: R) -> Result<Self, FileFault> {
        let mut reader = BufReader::with_capacity(BUFFER, file);
        let mut head = Vec::new();
        let read = |source| FileFault::Read { line: 1, source };
        // Of a header over several lines, only the first counts.
        reader.by_ref().take(BUFFER as u64).read_until(b'\n', &mut head).map_err(read)?;
        if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
            return Err(FileFault::Utf16);
        }
        let mark = if head.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let separator = separator(&head);
        let mut head = Cursor::new(head);
        head.set_position(mark as u64);
        Ok(Self { reader: head.chain(reader), separator, line: 1, position: mark as u64 })
    }

    /// The next row; `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<Record>, FileFault> {
        loop {
            let line = self.line;
            let Some(cells) = self.cells()? else {
                return Ok(None);
            };
            if cells.iter().all(Vec::is_empty) && cells.len() == 1 {
                continue;
            }
            let cells = cells
                .into_iter()
                .enumerate()
                .map(|(index, bytes)| {
                    let cell = index + 1;
                    String::from_utf8(bytes).map_err(|_| FileFault::Encoding { line, cell })
                })
                .collect::<Result<_, _>>()?;
            return Ok(Some(Record { line, cells, end: self.position }));
        }
    }

    fn cells(&mut self) -> Result<Option<Vec<Vec<u8>>>, FileFault> {
        let (first_line, begin) = (self.line, self.position);
        let mut cells = Vec::new();
        let mut cell = Vec::new();
        let mut at = ParserState::CellStart;
        loop {
            let Some(byte) = self.byte()? else {
                if let ParserState::Quoted { since } = at {
                    return Err(FileFault::Unclosed { line: since });
                }
                // The last line may lack its line ending.
                if self.position == begin {
                    return Ok(None);
                }
                cells.push(cell);
                return Ok(Some(cells));
            };
            if self.position - begin > MAX_ROW as u64 {
                return Err(FileFault::TooLong { line: first_line });
            }
            at = match (at, byte) {
                (ParserState::Quoted { .. }, b'"') => ParserState::QuoteInQuoted,
                (ParserState::Quoted { .. }, _) => {
                    cell.push(byte);
                    at
                }
                (ParserState::QuoteInQuoted, b'"') => {
                    cell.push(b'"');
                    ParserState::Quoted { since: self.line }
                }
                (ParserState::CellStart, b'"') => ParserState::Quoted { since: self.line },
                (_, b'\n') => {
                    if at == ParserState::Bare && cell.last() == Some(&b'\r') {
                        cell.pop();
                    }
                    cells.push(cell);
                    return Ok(Some(cells));
                }
                (_, byte) if byte == self.separator => {
                    cells.push(std::mem::take(&mut cell));
                    ParserState::CellStart
                }
                // Part of the line ending; otherwise the next arm reports it.
                (ParserState::QuoteInQuoted, b'\r') if self.peek()? == Some(b'\n') => at,
                (ParserState::QuoteInQuoted, _) => {
                    return Err(FileFault::AfterQuote { line: self.line });
                }
                (ParserState::CellStart | ParserState::Bare, byte) => {
                    cell.push(byte);
                    ParserState::Bare
                }
            };
        }
    }

    fn byte(&mut self) -> Result<Option<u8>, FileFault> {
        let byte = self.peek()?;
        if let Some(byte) = byte {
            self.reader.consume(1);
            self.position += 1;
            self.line += u64::from(byte == b'\n');
        }
        Ok(byte)
    }

    fn peek(&mut self) -> Result<Option<u8>, FileFault> {
        loop {
            match self.reader.fill_buf() {
                Ok(buffer) => return Ok(buffer.first().copied()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    let line = self.line;
                    return Err(FileFault::Read { line, source });
                }
            }
        }
    }
}

/// The separator that occurs more often outside quotes. A file with one column has neither.
fn separator(head: &[u8]) -> u8 {
    let (mut commas, mut semicolons, mut quoted) = (0, 0, false);
    for byte in head {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => commas += 1,
            b';' if !quoted => semicolons += 1,
            _ => {}
        }
    }
    if semicolons > commas { b';' } else { b',' }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(file: impl AsRef<[u8]>) -> Result<Vec<(u64, Vec<String>)>, FileFault> {
        let mut records = Records::new(Cursor::new(file.as_ref().to_vec()))?;
        let mut rows = Vec::new();
        while let Some(record) = records.next()? {
            rows.push((record.line, record.cells));
        }
        Ok(rows)
    }

    fn row(line: u64, cells: &[&str]) -> (u64, Vec<String>) {
        (line, cells.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn lines_are_counted_with_any_ending_and_inside_quotes() {
        for end in ["\n", "\r\n"] {
            let file = ["a,b", "1,\"x", "y\"", "", "2,z", "3,last"].join(end);
            let inner = format!("x{end}y");
            let expected = [
                row(1, &["a", "b"]),
                row(2, &["1", &inner]),
                row(5, &["2", "z"]),
                row(6, &["3", "last"]),
            ];
            assert_eq!(rows(&file).unwrap(), expected, "{end:?}");
            assert_eq!(rows(format!("{file}{end}")).unwrap(), expected, "{end:?}");
        }
    }

    #[test]
    fn quoted_cells_may_hold_separators_and_quotes() {
        let file = "a;b;c\n\"1;2\";\"say \"\"hi\"\"\";5\" nail\n\"\";;\"\"\r\n";
        assert_eq!(
            rows(file).unwrap(),
            [
                row(1, &["a", "b", "c"]),
                row(2, &["1;2", "say \"hi\"", "5\" nail"]),
                row(3, &["", "", ""]),
            ]
        );
    }

    #[test]
    fn separator_is_detected_outside_quotes() {
        assert_eq!(rows("a;b,c;d\n").unwrap(), [row(1, &["a", "b,c", "d"])]);
        assert_eq!(rows("\"a;;;b\",c\n").unwrap(), [row(1, &["a;;;b", "c"])]);
        assert_eq!(rows("sku\n").unwrap(), [row(1, &["sku"])]);
    }

    #[test]
    fn byte_order_mark_is_not_part_of_the_first_column() {
        assert_eq!(rows("\u{feff}sku,name\n").unwrap(), [row(1, &["sku", "name"])]);
        assert!(matches!(rows(b"\xff\xfes\0"), Err(FileFault::Utf16)));
        assert_eq!(rows("").unwrap(), []);
    }

    #[test]
    fn faults_name_their_line() {
        let fault = |file: &[u8]| rows(file).unwrap_err().to_string();
        assert!(fault(b"a,b\n1,2\n3,\"x\n4,5\n").starts_with("line 3: a quote is opened"));
        assert!(fault(b"a,b\n\"1\"x,2\n").starts_with("line 2: unexpected text"));
        assert!(fault(b"a,b\n\"1\"\r,2\n").starts_with("line 2: unexpected text"));
        assert!(fault(b"a,b\n1,caf\xe9\n").starts_with("line 2, cell 2 is not in UTF-8"));
    }

    #[test]
    fn unclosed_quote_does_not_read_the_file_into_memory() {
        struct Endless;
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                buffer.fill(b'x');
                Ok(buffer.len())
            }
        }
        let file = Cursor::new(b"a,b\n1,2\n3,\"".to_vec()).chain(Endless);
        let mut records = Records::new(file).unwrap();
        records.next().unwrap();
        records.next().unwrap();
        assert!(matches!(records.next(), Err(FileFault::TooLong { line: 3 })));
    }

    #[test]
    fn row_knows_where_it_ends() {
        let file = "\u{feff}a,b\n1,2\n";
        let mut records = Records::new(Cursor::new(file)).unwrap();
        assert_eq!(records.next().unwrap().unwrap().end, 7);
        assert_eq!(records.next().unwrap().unwrap().end, file.len() as u64);
    }
}
