//! Every code that could be one of a currency.

/// All codes of three letters. A test parses them as its own `Currency`, which in the unit tests of
/// `shared` is another type than the testkit's.
pub fn three_letter_codes() -> impl Iterator<Item = String> {
    let letters = || 'A'..='Z';
    letters().flat_map(move |a| {
        letters().flat_map(move |b| letters().map(move |c| String::from_iter([a, b, c])))
    })
}
