//! Cursors of lists. They are opaque to callers and valid for one list only.
//!
//! They are not signed: a caller who changes one only moves to another position in a list that the caller may read anyway.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::time::to_millis;

const FILTER_BYTES: usize = 8;
/// The length of a time such as `2025-08-08T11:44:39.000Z`.
const TIME_BYTES: usize = 24;
/// DynamoDB's limit for a sort key.
const MAX_POSITION_BYTES: usize = 1024;

/// The base64 text of `version`, which also has what orders the list, a hash of the filter, and the position.
pub(crate) fn encode(version: &[u8], filter: &impl Serialize, position: &str) -> String {
    URL_SAFE_NO_PAD.encode([&prefix(version, filter)[..], position.as_bytes()].concat())
}

/// The position in the result of [`encode`] for the same version and filter; `None` for any other text.
pub(crate) fn decode(version: &[u8], filter: &impl Serialize, text: &str) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let position = bytes.strip_prefix(&prefix(version, filter)[..])?;
    std::str::from_utf8(position).ok().map(str::to_owned)
}

/// What follows the time of a position; `None` if it does not begin with a time to the millisecond, or is longer than a sort key.
pub(crate) fn after_time(position: &str) -> Option<&str> {
    let (time, rest) = position.split_at_checked(TIME_BYTES)?;
    let is_time = time.parse::<Timestamp>().is_ok_and(|parsed| to_millis(parsed) == time);
    Some(rest).filter(|_| is_time && position.len() <= MAX_POSITION_BYTES)
}

fn prefix(version: &[u8], filter: &impl Serialize) -> Vec<u8> {
    // The filter has only plain fields, whose serialization can't fail.
    let hash = Sha256::digest(serde_json::to_vec(filter).unwrap_or_default());
    [version, &hash[..FILTER_BYTES]].concat()
}
