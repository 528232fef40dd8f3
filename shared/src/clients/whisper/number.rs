//! Lenient parsing of numbers and JSON.

use serde_json::Value;

/// A finite number; servers may send it as a string.
pub(super) fn number(value: &Value) -> Option<f64> {
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    number.is_finite().then_some(number)
}

/// Parses JSON in which Python's `NaN` and `Infinity` count as `null`, and invalid bytes or escapes as U+FFFD.
pub(super) fn lenient_json(body: &[u8]) -> Option<Value> {
    if let Ok(value) = serde_json::from_slice(body) {
        return Some(value);
    }
    let text = String::from_utf8_lossy(body);
    serde_json::from_str(&repaired(&text)).ok()
}

fn repaired(text: &str) -> String {
    let mut repaired = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_text = false;
    while let Some(letter) = rest.chars().next() {
        let mut taken = letter.len_utf8();
        let mut replacement = None;
        match letter {
            '"' => in_text = !in_text,
            '\\' if in_text => {
                taken += rest[1..].chars().next().map_or(0, char::len_utf8);
                if let Some(unit) = escaped_unit(rest) {
                    taken = 6;
                    let pair = (0xd800..0xdc00).contains(&unit)
                        && rest
                            .get(6..)
                            .and_then(escaped_unit)
                            .is_some_and(|low| (0xdc00..0xe000).contains(&low));
                    if pair {
                        taken = 12;
                    } else if (0xd800..0xe000).contains(&unit) {
                        replacement = Some("\\ufffd");
                    }
                }
            }
            'N' | 'I' | '-' if !in_text => {
                let word = ["NaN", "-NaN", "Infinity", "-Infinity"]
                    .into_iter()
                    .find(|word| rest.starts_with(word));
                if let Some(word) = word {
                    taken = word.len();
                    replacement = Some("null");
                }
            }
            // Control characters are not allowed in strings and contain no text.
            _ if in_text && letter.is_control() => replacement = Some(" "),
            _ => {}
        }
        repaired.push_str(replacement.unwrap_or(&rest[..taken]));
        rest = &rest[taken..];
    }
    repaired
}

/// The code unit of an escape such as `\u00e9` at the start of the text.
fn escaped_unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    hex.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_and_broken_tokenizers_write_is_read() {
        for (body, expected) in [
            (
                &br#"{"a":NaN,"b":-Infinity,"c":"NaN -Infinity"}"#[..],
                r#"{"a":null,"b":null,"c":"NaN -Infinity"}"#,
            ),
            (
                br#"{"a":"\ud83d x","b":"\ud83d\ude00 \" \\"}"#,
                r#"{"a":"\ufffd x","b":"\ud83d\ude00 \" \\"}"#,
            ),
            (b"{\"a\":\"x\xc3\"}", "{\"a\":\"x\u{fffd}\"}"),
            (b"{\"a\":\"x\ny\"}", r#"{"a":"x y"}"#),
        ] {
            let expected: Value = serde_json::from_str(expected).unwrap();
            assert_eq!(lenient_json(body), Some(expected));
        }
        for junk in [&b""[..], b"<html>", b"{", b"NaN NaN", b"\"\\u", b"\"\\"] {
            assert_eq!(lenient_json(junk), None, "{junk:?}");
        }
    }
}
