//! The secret with the API keys: read, changed and written as a whole.

use std::error::Error;

use aws_config::SdkConfig;
use aws_sdk_secretsmanager::Client;
use jiff::Timestamp;
use serde_json::{Value, json};
use shared::clients::aws::reason;

use super::entry::Entry;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The secret's content.
pub(super) struct Store {
    client: Client,
    secret_id: String,
    entries: Vec<Entry>,
    /// Entries that functions skip because they don't have the documented form; they are kept as they are.
    others: Vec<Value>,
    read: String,
}

impl Store {
    /// Reads the secret. One that has no value yet, as after a deploy, has no keys.
    pub(super) async fn read(config: &SdkConfig, secret_id: String) -> Result<Self> {
        let client = Client::new(config);
        let read = text(&client, &secret_id).await?;
        let (entries, others) =
            parse(&read).ok_or_else(|| format!("the secret {secret_id} is not of the form {{\"keys\": [...]}}"))?;
        Ok(Self {
            client,
            secret_id,
            entries,
            others,
            read,
        })
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Adds a key. An id has two live keys only while it is rotated.
    pub(super) fn add(&mut self, entry: Entry, now: Timestamp) -> Result<()> {
        if self.entries.iter().any(|known| known.is_same_key(&entry)) {
            return Err("this key is in the secret already".into());
        }
        if self.live(&entry.id, now).next().is_some() {
            return Err(format!("there is a key {0} already; `keys rotate {0}` replaces it", entry.id).into());
        }
        self.entries.push(entry);
        Ok(())
    }

    /// Adds a key with the id and scopes of the live one, which then ends at `end`. Returns the old one's fingerprint.
    pub(super) fn rotate(
        &mut self,
        id: &str,
        key: &str,
        now: Timestamp,
        end: Timestamp,
        expires_at: Option<Timestamp>,
    ) -> Result<String> {
        let live: Vec<&Entry> = self.live(id, now).collect();
        let old = match live[..] {
            [old] => old.clone(),
            [] => return Err(format!("there is no live key {id}; `keys create {id}` creates one").into()),
            _ => {
                let sentence = format!(
                    "the key {id} is being rotated: it has {} live keys; `keys revoke {id} --fingerprint ...` ends one",
                    live.len()
                );
                return Err(sentence.into());
            }
        };
        if let (Some(until), None) = (old.expires_at, expires_at) {
            let sentence = format!("the key {id} expires at {until:.0}; say with --expires-at when the new one does");
            return Err(sentence.into());
        }
        for entry in self.entries.iter_mut().filter(|entry| entry.is_same_key(&old)) {
            entry.expires_at = Some(old.expires_at.map_or(end, |earlier| earlier.min(end)));
        }
        self.entries
            .push(Entry::new(id.to_owned(), key, old.scopes.clone(), expires_at, now));
        Ok(old.fingerprint())
    }

    /// Removes the keys with this id, or the one of them with this fingerprint. Returns how many there were.
    pub(super) fn revoke(&mut self, id: &str, fingerprint: Option<&str>) -> Result<usize> {
        let before = self.entries.len();
        let is_meant = |entry: &Entry| entry.id == id && fingerprint.is_none_or(|wanted| entry.fingerprint() == wanted);
        self.entries.retain(|entry| !is_meant(entry));
        match before - self.entries.len() {
            0 => Err(match fingerprint {
                Some(fingerprint) => format!("there is no key {id} with the fingerprint {fingerprint}"),
                None => format!("there is no key {id}"),
            }
            .into()),
            removed => Ok(removed),
        }
    }

    /// Writes the secret, unless it was changed since it was read.
    pub(super) async fn write(&self) -> Result<()> {
        if text(&self.client, &self.secret_id).await? != self.read {
            return Err(format!("the secret {} was changed meanwhile; try again", self.secret_id).into());
        }
        let entries = self.entries.iter().map(|entry| json!(entry));
        let keys: Vec<Value> = entries.chain(self.others.iter().cloned()).collect();
        let put = self.client.put_secret_value().secret_id(&self.secret_id);
        put.secret_string(json!({ "keys": keys }).to_string())
            .send()
            .await
            .map_err(|error| format!("the secret {} can't be written: {}", self.secret_id, reason(&error)))?;
        Ok(())
    }

    fn live(&self, id: &str, now: Timestamp) -> impl Iterator<Item = &Entry> {
        self.entries
            .iter()
            .filter(move |entry| entry.id == id && entry.is_live(now))
    }
}

async fn text(client: &Client, secret_id: &str) -> Result<String> {
    let stored = client.get_secret_value().secret_id(secret_id).send().await;
    let stored = stored.map_err(|error| format!("the secret {secret_id} can't be read: {}", reason(&error)))?;
    Ok(stored.secret_string().unwrap_or(r#"{"keys":[]}"#).to_owned())
}

/// The entries with the documented form, and the others.
fn parse(secret: &str) -> Option<(Vec<Entry>, Vec<Value>)> {
    let secret: Value = serde_json::from_str(secret).ok()?;
    let (mut entries, mut others) = (Vec::new(), Vec::new());
    for value in secret.get("keys")?.as_array()? {
        match serde_json::from_value::<Entry>(value.clone()) {
            Ok(entry) => entries.push(entry),
            Err(_) => others.push(value.clone()),
        }
    }
    Some((entries, others))
}
