//! `cargo run -- keys`: the API keys of a deployment, of which it stores only the hashes.

mod changes;
mod store;
mod table;

use std::{
    error::Error,
    io::{self, IsTerminal, Read},
};

use aws_config::SdkConfig;
use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use shared::{
    http::access::{self, ApiKey, Key, Scope, StoredKey},
    time::DateInput,
};

use super::aws_config as config;
use changes::Successor;
use store::Store;
use table::LastUse;

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
    /// Store the hash of a key that exists already, which is read from the standard input. It must be random: the hash has no salt
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
        /// Hours that the old key stays valid, at most a year
        #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(0..=8784))]
        overlap_hours: u32,
        /// When the new key expires, a time or the start of a UTC day; required if the old one does
        #[arg(long, value_parser = time)]
        expires_at: Option<Timestamp>,
    },
    /// Remove the keys with an id, and entries with it that functions ignore
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
    /// When the key expires, for example 2027-01-01T00:00:00Z, or 2027-01-01 for the start of that UTC day; never if not given
    #[arg(long, value_parser = time)]
    expires_at: Option<Timestamp>,
}

fn scope(text: &str) -> std::result::Result<String, String> {
    let names = Scope::ALL.map(Scope::name);
    match text == "*" || names.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err(format!("the scopes are *, {}", names.join(", "))),
    }
}

fn time(text: &str) -> std::result::Result<Timestamp, String> {
    let date = DateInput::parse(text);
    let date = date.ok_or("expected a time such as 2027-01-01T00:00:00Z, or a date such as 2027-01-01")?;
    Ok(date.start())
}

/// What is said of a new key.
const SHOWN_ONCE: &str = "This is the only time that the key is shown.";
/// How soon a new key can be used: functions read the secret again for an unknown key.
const KNOWN_SOON: &str = "Functions know the new key after at most 30 seconds; until then, they can refuse it.";

impl Keys {
    /// Runs the command with the AWS credentials of this shell. Returns what to print, and sentences for people.
    pub async fn run(self) -> Result<(String, Vec<String>)> {
        let config = config::load(self.endpoint_url.as_deref()).await?;
        let store = Store::new(&config, self.secret_id);
        let now = Timestamp::now();
        match self.command {
            Command::Create(new) => {
                let key = ApiKey::random()?;
                let entry = new.entry(key.as_str(), now)?;
                store.change(|secret| changes::add(secret, &entry, now)).await?;
                Ok((key.as_str().to_owned(), vec![SHOWN_ONCE.into(), KNOWN_SOON.into()]))
            }
            Command::Import(new) => {
                let key = match io::stdin().is_terminal() {
                    true => key_from(rpassword::prompt_password("Key (it is not shown): ")?.as_bytes())?,
                    false => key_from(io::stdin())?,
                };
                let entry = new.entry(&key, now)?;
                store.change(|secret| changes::add(secret, &entry, now)).await?;
                Ok((entry.parse()?.fingerprint(), vec![KNOWN_SOON.into()]))
            }
            Command::List { audit_table } => {
                let secret = store.read().await?;
                let mut sentences: Vec<String> = changes::ignored(&secret).collect();
                let keys: Vec<Key> = changes::keys(&secret).map(|(_, key)| key).collect();
                let (keys, problem) = with_last_uses(&config, &audit_table, keys).await;
                sentences.extend(problem);
                Ok((table::of(&keys, now), sentences))
            }
            Command::Rotate {
                id,
                overlap_hours,
                expires_at,
            } => {
                let key = ApiKey::random()?;
                let successor = Successor {
                    key: key.as_str(),
                    now,
                    old_end: now.checked_add(SignedDuration::from_hours(overlap_hours.into()))?,
                    expires_at: future(expires_at, now)?,
                };
                let old = store.change(|secret| changes::rotate(secret, &id, &successor)).await?;
                let end = old
                    .expires_at
                    .map_or_else(|| "now".to_owned(), |end| format!("{end:.0}"));
                let sentence = format!(
                    "The old key, {}, is valid until {end}, or until functions have read that: at most five minutes from now.",
                    old.fingerprint()
                );
                Ok((
                    key.as_str().to_owned(),
                    vec![SHOWN_ONCE.into(), KNOWN_SOON.into(), sentence],
                ))
            }
            Command::Revoke { id, fingerprint } => {
                let revoke = |secret: &mut _| changes::revoke(secret, &id, fingerprint.as_deref());
                let removed = store.change(revoke).await?;
                let sentence =
                    "Functions read the keys again after at most five minutes; until then, a key can still be used.";
                Ok((format!("{removed} revoked"), vec![sentence.into()]))
            }
        }
    }
}

/// The keys with their last uses, and a sentence if these can't be read.
async fn with_last_uses(config: &SdkConfig, table: &str, keys: Vec<Key>) -> (Vec<(Key, LastUse)>, Option<String>) {
    let client = aws_sdk_dynamodb::Client::new(config);
    let (mut listed, mut problem) = (Vec::new(), None);
    for key in keys {
        let last_use = match &problem {
            None => access::last_use(&client, table, &key).await,
            Some(_) => Ok(None),
        };
        if let Err(error) = &last_use {
            problem = Some(format!("When keys were last used is not known: {error}."));
        }
        let last_use = match problem {
            None => LastUse::Known(last_use.unwrap_or_default()),
            Some(_) => LastUse::Unknown,
        };
        listed.push((key, last_use));
    }
    (listed, problem)
}

impl New {
    fn entry(mut self, key: &str, now: Timestamp) -> Result<StoredKey> {
        let is_id = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if self.id.is_empty() || self.id.len() > 64 || !self.id.bytes().all(is_id) {
            return Err("the id must be 1 to 64 letters, digits, dots, hyphens or underscores".into());
        }
        let expires_at = future(self.expires_at, now)?;
        self.scopes.sort_unstable();
        self.scopes.dedup();
        Ok(StoredKey::new(&self.id, key, &self.scopes, expires_at, Some(now)))
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
    if access::is_mistyped(key.as_bytes()) {
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
