//! Locates the texts of segments in the whole text.

use std::ops::Range;

/// If more consecutive segments than this are missing, the text is treated as a different text.
const MOST_MISSING: usize = 50;

/// The ranges of the pieces in the text, in order; `None` for a piece that is not found. White space is ignored.
pub(super) fn locate<'a>(text: &str, pieces: impl Iterator<Item = &'a str>) -> Vec<Option<Range<usize>>> {
    let mut dense = String::with_capacity(text.len());
    // For each byte of `dense`, its index in the text.
    let mut places = Vec::with_capacity(text.len());
    for (place, letter) in text.char_indices().filter(|(_, letter)| !letter.is_whitespace()) {
        dense.push(letter);
        places.extend((0..letter.len_utf8()).map(|byte| place + byte));
    }
    let (mut from, mut missing) = (0, 0);
    let pieces = pieces.map(|piece| {
        let piece: String = piece.chars().filter(|letter| !letter.is_whitespace()).collect();
        if piece.is_empty() || missing > MOST_MISSING {
            return None;
        }
        let Some(found) = dense[from..].find(&piece) else {
            missing += 1;
            return None;
        };
        let (start, end) = (from + found, from + found + piece.len());
        from = end;
        Some(places[start]..places[end - 1] + 1)
    });
    pieces.collect()
}

/// The text without these ranges, which must be in order.
pub(super) fn without(text: &str, places: &[Range<usize>]) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut from = 0;
    for place in places.iter().chain([&(text.len()..text.len())]) {
        let piece = &text[from..place.start.max(from)];
        let seam = kept.is_empty() || kept.ends_with(char::is_whitespace);
        kept.push_str(if seam { piece.trim_start() } else { piece });
        from = place.end.max(from);
    }
    kept.trim().to_owned()
}

/// Joins texts with a space between two of them, unless there is white space already or the script has no spaces.
pub(super) fn joined<'a>(pieces: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for piece in pieces {
        let spaceless = |letter: char| letter.is_whitespace() || letter >= '\u{2e80}';
        let no_space = text.is_empty() || text.ends_with(spaceless) || piece.starts_with(spaceless);
        if !no_space {
            text.push(' ');
        }
        text.push_str(piece);
    }
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_found_in_order_whatever_the_white_space() {
        let text = " One two.\nOne  two. Drei";
        let places = locate(text, ["One two.", "One two.", "four", "Drei"].into_iter());
        let found: Vec<_> = places
            .iter()
            .map(|place| place.clone().map(|place| &text[place]))
            .collect();
        assert_eq!(found, [Some("One two."), Some("One  two."), None, Some("Drei")]);
    }

    #[test]
    fn a_text_without_pieces_keeps_all_other_letters() {
        let text = "A b. C d. E f.";
        assert_eq!(without(text, std::slice::from_ref(&(5..9))), "A b. E f.");
        assert_eq!(without(text, &[0..4, 10..14]), "C d.");
        assert_eq!(without(text, std::slice::from_ref(&(0..14))), "");
        assert_eq!(without(text, &[]), text);
        assert_eq!(
            without("\u{6211}\u{4eec}\u{597d}", std::slice::from_ref(&(3..6))),
            "\u{6211}\u{597d}"
        );
    }

    #[test]
    fn scripts_without_spaces_get_none() {
        assert_eq!(joined([" Hello.", " You."].into_iter()), "Hello. You.");
        assert_eq!(joined(["Hello.", "You."].into_iter()), "Hello. You.");
        assert_eq!(joined(["\u{6211}", "\u{597d}"].into_iter()), "\u{6211}\u{597d}");
    }
}
