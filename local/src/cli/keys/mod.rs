//! `cargo run -- keys`: the API keys of a deployment, of which it stores only the hashes.

mod entry;
mod last_used;
mod store;
mod table;

use std::{error::Error, io::Read};

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use shared::http::access::{ApiKey, Scope};

use super::aws_config;
use entry::Entry;
use last_used::LastUsed;
use store::Store;

/// The shortest key that can be imported, in characters.
const SHORTEST: usize = 16;
/// The longest key that can be imported.
const LONGEST: usize = 200;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The arguments of `keys`.
#[derive(Args)]
pub struct Keys {
    #[command(subcommand)]
    command: Command,
    /// Name or ARN of the secret that holds the API keys
    #[arg(long, global = true, default_value = crate::stack::account::API_KEYS_SECRET)]
    secret_id: String,
    /// Endpoint of AWS: http://localhost:4566 for a running `cargo run`; AWS if not given
    #[arg(long, global = true)]
    endpoint_url: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Create a key, store its hash and print the key, which is shown only now
    Create(New),
    /// Store the hash of a key that exists already, which is read from the standard input
    Import(New),
    /// Print the ids, scopes and last uses of the keys
    List {
        /// Name of the audit table, the output AuditTableName of the stack
        #[arg(long, default_value = crate::stack::account::AUDIT_TABLE)]
        audit_table: String,
    },
    /// Create a second key with the id and scopes of one that expires soon, and print the new key
    Rotate {
        /// Id of the key
        id: String,
        /// Hours that the old key stays valid
        #[arg(long, default_value_t = 24)]
        overlap_hours: u32,
        /// When the new key expires; required if the old one does
        #[arg(long)]
        expires_at: Option<Timestamp>,
    },
    /// Remove the keys with an id
    Revoke {
        /// Id of the keys
        id: String,
        /// Remove only the one with this fingerprint, which `keys list` prints
        #[arg(long)]
        fingerprint: Option<String>,
    },
}

#[derive(Args)]
struct New {
    /// Name under which the key appears in the log and in the audit, for example `ops`
    id: String,
    /// What the key may do, `*` for everything; may be given several times
    #[arg(long = "scope", default_value = "*", value_parser = scope)]
    scopes: Vec<String>,
    /// When the key expires, for example 2027-01-01T00:00:00Z; never if not given
    #[arg(long)]
    expires_at: Option<Timestamp>,
}

fn scope(text: &str) -> std::result::Result<String, String> {
    let names = Scope::ALL.map(Scope::name);
    match text == "*" || names.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err(format!("the scopes are *, {}", names.join(", "))),
    }
}

impl Keys {
    /// Runs the command with the AWS credentials of this shell. Returns what to print, and a sentence for people if there is one to say.
    pub async fn run(self) -> Result<(String, Option<String>)> {
        let config = aws_config::load(self.endpoint_url.as_deref()).await?;
        let mut store = Store::read(&config, self.secret_id).await?;
        let now = Timestamp::now();
        match self.command {
            Command::Create(new) => {
                let key = ApiKey::random()?;
                store.add(new.entry(key.as_str(), now)?, now)?;
                store.write().await?;
                Ok((
                    key.as_str().to_owned(),
                    Some("This is the only time that the key is shown.".into()),
                ))
            }
            Command::Import(new) => {
                let key = key_from(std::io::stdin())?;
                let entry = new.entry(&key, now)?;
                let fingerprint = entry.fingerprint();
                store.add(entry, now)?;
                store.write().await?;
                Ok((fingerprint, None))
            }
            Command::List { audit_table } => {
                let uses = LastUsed::read(&config, &audit_table, store.entries()).await;
                let (uses, problem) = match uses {
                    Ok(uses) => (Some(uses), None),
                    Err(error) => (None, Some(format!("When keys were last used is not known: {error}."))),
                };
                Ok((table::of(store.entries(), uses.as_ref(), now), problem))
            }
            Command::Rotate {
                id,
                overlap_hours,
                expires_at,
            } => {
                let key = ApiKey::random()?;
                let end = now.checked_add(SignedDuration::from_hours(overlap_hours.into()))?;
                let old = store.rotate(&id, key.as_str(), now, end, future(expires_at, now)?)?;
                store.write().await?;
                let sentence = format!(
                    "This is the only time that the key is shown. The old key, {old}, is valid until {end:.0}."
                );
                Ok((key.as_str().to_owned(), Some(sentence)))
            }
            Command::Revoke { id, fingerprint } => {
                let removed = store.revoke(&id, fingerprint.as_deref())?;
                store.write().await?;
                let sentence =
                    "Functions read the keys again after at most five minutes; until then, a key can still be used.";
                Ok((format!("{removed} revoked"), Some(sentence.into())))
            }
        }
    }
}

impl New {
    fn entry(self, key: &str, now: Timestamp) -> Result<Entry> {
        let is_id = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if self.id.is_empty() || self.id.len() > 64 || !self.id.bytes().all(is_id) {
            return Err("the id must be 1 to 64 letters, digits, dots, hyphens or underscores".into());
        }
        let expires_at = future(self.expires_at, now)?;
        Ok(Entry::new(self.id, key, self.scopes, expires_at, now))
    }
}

fn future(expires_at: Option<Timestamp>, now: Timestamp) -> Result<Option<Timestamp>> {
    match expires_at.is_some_and(|end| end <= now) {
        true => Err("--expires-at must be in the future".into()),
        false => Ok(expires_at),
    }
}

/// The key on the first line of `input`. It is not an argument, because the shell would keep it in its history.
fn key_from(input: impl Read) -> Result<String> {
    let mut text = String::new();
    input.take(10_000).read_to_string(&mut text)?;
    let key = text.strip_suffix('\n').unwrap_or(&text);
    let key = key.strip_suffix('\r').unwrap_or(key);
    if !(SHORTEST..=LONGEST).contains(&key.len()) || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!(
            "the key on the standard input must be one line of {SHORTEST} to {LONGEST} visible ASCII characters without spaces"
        )
        .into());
    }
    if shared::http::access::is_mistyped(key.as_bytes()) {
        return Err(
            "the key on the standard input begins like a key of Call Recordings, but its checksum is wrong".into(),
        );
    }
    Ok(key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_imported_key_is_one_line_and_never_cut() {
        for good in ["your_api_key_here", "your_api_key_here\n", "your_api_key_here\r\n"] {
            assert_eq!(key_from(good.as_bytes()).unwrap(), "your_api_key_here");
        }
        for bad in [
            "",
            "short",
            "your api key here",
            "your_api_key_here\nmore",
            " your_api_key_here",
            "schlüssel_schlüssel",
            &"k".repeat(201),
            "crk_0123456789abcdef",
        ] {
            assert!(key_from(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(key_from(&[0xff; 20][..]).is_err());
    }
}
