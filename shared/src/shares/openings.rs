//! Opens shares: counts and stores each opening, and limits wrong passcodes.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{
    error::{SharesError, if_condition_met},
    model::{Opening, Share, Visitor},
    table::{SHARE, Shares, key},
    token::{ShareId, hash, random},
};
use crate::{
    clients::dynamodb::{Item, get_number, get_text, number, text},
    time::to_millis,
};

/// How many passcodes can be tried within [`PASSCODE_WINDOW`].
pub const PASSCODE_ATTEMPTS: i64 = 5;
/// The time for which attempts are counted.
pub const PASSCODE_WINDOW: Duration = Duration::from_secs(15 * 60);

/// Shows that a page of the share was opened, so that its audio may be played: `{time in milliseconds}.{secret}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpeningToken(String);

impl OpeningToken {
    /// Parses a token; `None` if the text is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let (time, secret) = text.split_once('.')?;
        let is_valid = !time.is_empty() && time.len() <= 15 && secret.len() == 32;
        let allowed = |byte: u8| byte.is_ascii_hexdigit() || byte == b'.';
        (is_valid && text.bytes().all(allowed)).then(|| Self(text.to_owned()))
    }

    /// The token as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The sort key of the opening, which contains only the hash of the secret.
    fn item(&self) -> String {
        let (time, secret) = self.0.split_once('.').unwrap_or_default();
        format!("opening#{time:0>15}#{}", hash(secret))
    }
}

/// The result of a passcode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasscodeResult {
    /// It is the share's passcode.
    Right,
    /// It is another one.
    Wrong,
    /// Too many were tried. The next one can be tried after this time.
    TooMany(Duration),
}

impl Shares {
    /// Counts and stores an opening; `None` if the share has ended meanwhile.
    pub async fn open(
        &self,
        share: &Share,
        visitor: &Visitor,
        now: Timestamp,
    ) -> Result<Option<OpeningToken>, SharesError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(&share.id, SHARE)))
            .update_expression("SET last_opened_at = :now ADD opened_count :one")
            .condition_expression("attribute_not_exists(revoked_at) AND ends_at > :now")
            .expression_attribute_values(":now", text(&to_millis(now)))
            .expression_attribute_values(":one", number(1));
        if if_condition_met(update.send().await)?.is_none() {
            return Ok(None);
        }
        let token = OpeningToken(format!("{}.{}", now.as_millisecond(), random()?));
        let mut item = key(&share.id, &token.item());
        item.insert("opened_at".to_owned(), text(&to_millis(now)));
        item.insert("expires_at_unix".to_owned(), number(share.deleted_at()));
        for (name, value) in [("address", &visitor.address), ("user_agent", &visitor.user_agent)] {
            if let Some(value) = value {
                item.insert(name.to_owned(), text(value));
            }
        }
        self.client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .send()
            .await?;
        Ok(Some(token))
    }

    /// Whether the share's page was opened with this token.
    pub async fn was_opened(&self, id: &ShareId, token: &OpeningToken) -> Result<bool, SharesError> {
        let get = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key(id, &token.item())));
        Ok(get.consistent_read(true).send().await?.item.is_some())
    }

    /// The newest openings of a share, at most `limit`.
    pub async fn openings(&self, id: &ShareId, limit: i32) -> Result<Vec<Opening>, SharesError> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("id = :id AND begins_with(#item, :opening)")
            .expression_attribute_names("#item", "item")
            .expression_attribute_values(":id", text(id.as_str()))
            .expression_attribute_values(":opening", text("opening#"))
            .scan_index_forward(false)
            .limit(limit);
        let items = query.send().await?.items.unwrap_or_default();
        items.iter().map(opening_of).collect()
    }

    /// Checks a passcode. The attempt is counted before it is compared, so that attempts at the same time are limited, too.
    pub async fn try_passcode(
        &self,
        share: &Share,
        passcode: &str,
        now: Timestamp,
    ) -> Result<PasscodeResult, SharesError> {
        let Some(hash) = &share.passcode else {
            return Ok(PasscodeResult::Right);
        };
        if !self.count_attempt(&share.id, now).await? {
            return Ok(PasscodeResult::TooMany(self.until_next_attempt(&share.id, now).await?));
        }
        if !hash.matches(passcode) {
            return Ok(PasscodeResult::Wrong);
        }
        let reset = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(&share.id, SHARE)));
        let reset = reset.update_expression("REMOVE attempts, attempts_since");
        if_condition_met(reset.condition_expression("attribute_exists(id)").send().await)?;
        Ok(PasscodeResult::Right)
    }

    /// Counts an attempt; `false` if there were too many.
    async fn count_attempt(&self, id: &ShareId, now: Timestamp) -> Result<bool, SharesError> {
        let update = |expression: &str, condition: &str| {
            self.client
                .update_item()
                .table_name(&self.table)
                .set_key(Some(key(id, SHARE)))
                .update_expression(expression)
                .condition_expression(condition)
                .expression_attribute_values(":one", number(1))
                .expression_attribute_values(":window", number((now - PASSCODE_WINDOW).as_millisecond()))
        };
        let next = || {
            update(
                "SET attempts = attempts + :one",
                "attempts_since > :window AND attempts < :most",
            )
            .expression_attribute_values(":most", number(PASSCODE_ATTEMPTS))
            .send()
        };
        if if_condition_met(next().await)?.is_some() {
            return Ok(true);
        }
        let first = update(
            "SET attempts = :one, attempts_since = :now",
            "attribute_exists(id) AND (attribute_not_exists(attempts_since) OR attempts_since <= :window)",
        );
        let first = first.expression_attribute_values(":now", number(now.as_millisecond()));
        if if_condition_met(first.send().await)?.is_some() {
            return Ok(true);
        }
        // Another first attempt may have come between.
        Ok(if_condition_met(next().await)?.is_some())
    }

    async fn until_next_attempt(&self, id: &ShareId, now: Timestamp) -> Result<Duration, SharesError> {
        let get = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key(id, SHARE)));
        let item = get.consistent_read(true).send().await?.item.unwrap_or_default();
        let since = get_number(&item, "attempts_since").and_then(|since| Timestamp::from_millisecond(since).ok());
        let until = since.unwrap_or(now) + PASSCODE_WINDOW;
        Ok(Duration::try_from(until.duration_since(now).max(SignedDuration::from_secs(1))).unwrap_or(PASSCODE_WINDOW))
    }
}

fn opening_of(item: &Item) -> Result<Opening, SharesError> {
    let at = get_text(item, "opened_at").and_then(|time| time.parse().ok());
    Ok(Opening {
        at: at.ok_or_else(|| SharesError("an opening has no valid time".to_owned()))?,
        visitor: Visitor {
            address: get_text(item, "address"),
            user_agent: get_text(item, "user_agent"),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openings_are_sorted_by_time_and_their_secret_is_not_stored() {
        let secret = "00112233445566778899aabbccddeeff";
        let [early, late] =
            [999, 1_754_653_479_000_i64].map(|time| OpeningToken::parse(&format!("{time}.{secret}")).unwrap());
        assert!(early.item() < late.item());
        assert!(!late.item().contains(secret));
        for junk in [
            "",
            ".",
            "1",
            "1.",
            &format!(".{secret}"),
            &format!("1#.{secret}"),
            &format!("1.{secret}0"),
        ] {
            assert_eq!(OpeningToken::parse(junk), None, "{junk}");
        }
    }
}
