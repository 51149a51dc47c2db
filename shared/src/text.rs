//! Validation of text from outside.

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// Why text is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextFault {
    #[error("must not be blank")]
    Blank,
    #[error("must be at most {0} characters")]
    TooLong(usize),
    #[error("must not contain control characters")]
    Control,
    #[error("must not contain characters that change the direction of text")]
    Bidirectional,
    #[error("must consist of visible characters only")]
    Invisible,
}

/// Which control characters are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// None.
    One,
    /// Line breaks and tabs.
    Many,
}

/// Checks that `text` has 1 to `max` characters (Unicode scalar values), at least one of them
/// visible, and no character that changes how the text is displayed.
pub fn check(text: &str, max: usize, lines: Lines) -> Result<(), TextFault> {
    // The byte length bounds the character count, so huge text is refused without counting.
    if text.len() > max && (text.len() > max * 4 || text.chars().count() > max) {
        return Err(TextFault::TooLong(max));
    }
    let mut visible = false;
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' if lines == Lines::Many => {}
            // Overrides, embeddings, isolates and marks (Unicode Standard Annex 9) make displayed
            // text differ from stored text.
            '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{061c}' => return Err(TextFault::Bidirectional),
            // JavaScript and many log viewers treat these as line breaks.
            '\u{2028}' | '\u{2029}' => return Err(TextFault::Control),
            _ if c.is_control() => return Err(TextFault::Control),
            _ => visible = visible || is_visible(c),
        }
    }
    if visible { Ok(()) } else { Err(TextFault::Blank) }
}

/// Checks that `text` has 1 to `max` characters, all of them visible.
pub fn check_visible(text: &str, max: usize) -> Result<(), TextFault> {
    check(text, max, Lines::One)?;
    if text.chars().all(is_visible) { Ok(()) } else { Err(TextFault::Invisible) }
}

/// Whether `c` is visible when displayed.
fn is_visible(c: char) -> bool {
    // The common case, without a table lookup.
    if c.is_ascii() {
        return c.is_ascii_graphic();
    }
    let drawn = !matches!(
        c.general_category(),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::Surrogate
            | GeneralCategory::PrivateUse
            | GeneralCategory::Unassigned
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
            | GeneralCategory::SpaceSeparator
            | GeneralCategory::NonspacingMark
            | GeneralCategory::EnclosingMark
    );
    // Blank despite their category: the Hangul fillers and the blank Braille cell.
    drawn && !matches!(c, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{2800}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_any_script_is_accepted() {
        for text in ["Tênis", "靴", "كرسي", "कुर्सी", "👟 shoe", "👩‍👩‍👧", "a\u{301}"]
        {
            assert_eq!(check(text, 50, Lines::One), Ok(()), "{text:?}");
        }
    }

    #[test]
    fn invisible_text_is_blank() {
        for text in ["", " ", "\u{200b}", "\u{3164}", "\u{a0}\u{2060}", "\u{301}", "\u{feff}"] {
            assert_eq!(check(text, 50, Lines::One), Err(TextFault::Blank), "{text:?}");
        }
    }

    #[test]
    fn control_and_direction_characters_are_refused() {
        for text in ["a\0", "a\u{7f}", "a\u{85}", "a\nb", "a\u{2028}b"] {
            assert_eq!(check(text, 50, Lines::One), Err(TextFault::Control), "{text:?}");
        }
        for text in ["a\u{202e}b", "a\u{2066}b", "a\u{200f}"] {
            assert_eq!(check(text, 50, Lines::One), Err(TextFault::Bidirectional), "{text:?}");
        }
        assert_eq!(check("a\nb\tc", 50, Lines::Many), Ok(()));
    }

    /// Ranges of characters, and why each character in them is refused; `None` if it is not.
    const CHARACTERS: [(char, char, Option<TextFault>); 27] = [
        ('\0', '\u{1f}', Some(TextFault::Control)),
        (' ', ' ', Some(TextFault::Blank)),
        ('!', '~', None),
        ('\u{7f}', '\u{9f}', Some(TextFault::Control)),
        ('\u{a0}', '\u{a0}', Some(TextFault::Blank)),
        ('\u{a1}', '\u{ac}', None),
        ('\u{61b}', '\u{61b}', None),
        ('\u{61c}', '\u{61c}', Some(TextFault::Bidirectional)),
        ('\u{61d}', '\u{61d}', None),
        ('\u{115e}', '\u{115e}', None),
        ('\u{115f}', '\u{1160}', Some(TextFault::Blank)),
        ('\u{1161}', '\u{1161}', None),
        ('\u{2000}', '\u{200d}', Some(TextFault::Blank)),
        ('\u{200e}', '\u{200f}', Some(TextFault::Bidirectional)),
        ('\u{2010}', '\u{2027}', None),
        ('\u{2028}', '\u{2029}', Some(TextFault::Control)),
        ('\u{202a}', '\u{202e}', Some(TextFault::Bidirectional)),
        ('\u{202f}', '\u{202f}', Some(TextFault::Blank)),
        ('\u{2060}', '\u{2065}', Some(TextFault::Blank)),
        ('\u{2066}', '\u{2069}', Some(TextFault::Bidirectional)),
        ('\u{206a}', '\u{206f}', Some(TextFault::Blank)),
        ('\u{2800}', '\u{2800}', Some(TextFault::Blank)),
        ('\u{2801}', '\u{28ff}', None),
        ('\u{3164}', '\u{3164}', Some(TextFault::Blank)),
        ('\u{ff9f}', '\u{ff9f}', None),
        ('\u{ffa0}', '\u{ffa0}', Some(TextFault::Blank)),
        ('\u{ffa1}', '\u{ffa1}', None),
    ];

    #[test]
    fn each_character_is_accepted_or_refused_for_its_reason() {
        for (first, last, fault) in CHARACTERS {
            for c in first..=last {
                let expected = fault.map_or(Ok(()), Err);
                assert_eq!(check(&c.to_string(), 1, Lines::One), expected, "{c:?}");
                // Among visible characters, a blank one is accepted and any other fault is not.
                let blank = expected == Err(TextFault::Blank);
                let among = if blank { Ok(()) } else { expected };
                let text = format!("a{c}b");
                assert_eq!(check(&text, 3, Lines::One), among, "{c:?}");
                let visible = if blank { Err(TextFault::Invisible) } else { expected };
                assert_eq!(check_visible(&text, 3), visible, "{c:?}");
                let is_break = ['\n', '\r', '\t'].contains(&c);
                let in_lines = if is_break { Ok(()) } else { among };
                assert_eq!(check(&text, 3, Lines::Many), in_lines, "{c:?}");
            }
        }
    }

    #[test]
    fn length_is_counted_in_characters_not_bytes() {
        assert_eq!(check(&"é".repeat(200), 200, Lines::One), Ok(()));
        assert_eq!(check(&"é".repeat(201), 200, Lines::One), Err(TextFault::TooLong(200)));
    }

    #[test]
    fn visible_text_contains_no_blanks() {
        assert_eq!(check_visible("AB-1/ç", 64), Ok(()));
        assert_eq!(check_visible("A B", 64), Err(TextFault::Invisible));
        assert_eq!(check_visible("A\u{200b}B", 64), Err(TextFault::Invisible));
    }
}
