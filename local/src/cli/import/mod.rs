//! `cargo run -- import`: interactions from a CSV or JSON Lines file, through `POST /interactions`.

mod line_numbers;
mod lines;

use std::{error::Error, fs::File, io::Write, path::PathBuf};

use clap::Args;
use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value};
use shared::calls::Interaction;

use super::api::{Api, ApiFault};
use lines::{Columns, Line, Lines, csv_lines, json_lines};

/// The number of lines that are sent concurrently.
const CONCURRENCY: usize = 8;
/// The number of lines between two progress messages.
const PROGRESS: u64 = 1000;

/// The arguments of `import`.
#[derive(Args)]
pub struct Import {
    /// `.csv` with a header line (separated by comma, semicolon or tab), or one JSON object on each line: interaction_id or dispatch_id, and any of
    /// customer_name, phone, status, outcome, duration, start_time, end_time and updated_at. For a line without updated_at, the file's
    /// modification time is used
    file: PathBuf,
    /// Base URL of the API
    #[arg(long, default_value = "http://localhost:8000")]
    api: String,
    /// A key with the scope recordings:write
    #[arg(
        long,
        env = "CALL_RECORDINGS_API_KEY",
        hide_env_values = true,
        required_unless_present = "dry_run"
    )]
    api_key: Option<String>,
    /// Check all lines and send nothing
    #[arg(long)]
    dry_run: bool,
    /// A column of the file and its field, as in "Customer Name=customer_name"; repeatable. "Notes=" ignores a column
    #[arg(long = "map", value_name = "COLUMN=FIELD", value_parser = mapping)]
    map: Vec<(String, String)>,
    /// The format of the dates if it is not ISO 8601, as in "%d.%m.%Y %H:%M". A date without an offset (%z) is in UTC
    #[arg(long)]
    date_format: Option<String>,
    /// Write the rejected lines to this file, so that they can be corrected and imported
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
}

fn mapping(text: &str) -> Result<(String, String), String> {
    let (column, field) = text.split_once('=').ok_or("it must be COLUMN=FIELD")?;
    Ok((column.trim().to_owned(), field.trim().to_owned()))
}

/// The result of an import.
#[derive(Debug, Default)]
pub struct Imported {
    /// Whether lines were only checked.
    pub is_dry_run: bool,
    /// Lines that were imported, or can be.
    pub imported: u64,
    /// Rejected lines: number and reason.
    pub rejected: Vec<(u64, String)>,
    /// The line at which the import stopped, and the reason.
    pub stopped: Option<(u64, String)>,
}

type Fault = Box<dyn Error + Send + Sync>;

impl Import {
    /// Sends every line and calls `progress` from time to time. An error means that the file could not be read at all, or that its columns are
    /// not those of an interaction.
    pub async fn run(self, mut progress: impl FnMut(&Imported)) -> Result<Imported, Fault> {
        let file = File::open(&self.file).map_err(|error| format!("{} can't be read: {error}", self.file.display()))?;
        let changed = Timestamp::try_from(file.metadata()?.modified()?)?;
        let is_csv = self
            .file
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
        let columns = Columns {
            map: self.map,
            date_format: self.date_format,
        };
        let Lines { header, lines } = match is_csv {
            true => csv_lines(file, columns)?,
            false => json_lines(file, columns)?,
        };
        let mut rejects = match &self.rejects {
            None => None,
            Some(path) => {
                let file = File::create_new(path);
                let mut file = file.map_err(|error| format!("{} can't be created: {error}", path.display()))?;
                file.write_all(header.as_bytes())?;
                Some(file)
            }
        };
        let api = Api::new(&self.api, self.api_key.unwrap_or_default())?;
        let (api, is_dry_run) = (&api, self.dry_run);
        let mut sent = stream::iter(lines)
            .map(|Line { number, text, object }| async move {
                // Of several lines for the same call the last one counts.
                let updated_at = changed + SignedDuration::from_micros(number as i64);
                let sent = match object.and_then(|object| checked(object, updated_at)) {
                    Ok(_) if is_dry_run => Sent::Imported,
                    Ok(object) => send(api, &object).await,
                    Err(reason) => Sent::Rejected(reason),
                };
                (number, text, sent)
            })
            .buffered(CONCURRENCY);
        let mut imported = Imported {
            is_dry_run,
            ..Imported::default()
        };
        while let Some(sent) = sent.next().await {
            match sent {
                (_, _, Sent::Imported) => imported.imported += 1,
                (line, text, Sent::Rejected(reason)) => {
                    imported.rejected.push((line, reason));
                    if let Some(file) = &mut rejects {
                        file.write_all(text.as_bytes())?;
                    }
                }
                (line, _, Sent::Fault(reason)) => {
                    imported.stopped = Some((line, reason));
                    break;
                }
            }
            if (imported.imported + imported.rejected.len() as u64).is_multiple_of(PROGRESS) {
                progress(&imported);
            }
        }
        Ok(imported)
    }
}

impl Imported {
    /// The counts, as in `7 imported, 1 rejected`.
    pub fn counts(&self) -> String {
        let done = if self.is_dry_run { "can be imported" } else { "imported" };
        format!("{} {done}, {} rejected", self.imported, self.rejected.len())
    }

    /// The report with counts and the reasons for rejected lines.
    pub fn report(&self) -> String {
        let mut text = self.counts();
        for (line, reason) in &self.rejected {
            text.push_str(&format!("\n  line {line}: {reason}"));
        }
        if let Some((line, reason)) = &self.stopped {
            text.push_str(&format!("\nstopped at line {line}: {reason}"));
        }
        text
    }
}

/// The result of one line.
enum Sent {
    Imported,
    /// The line is invalid, for this reason.
    Rejected(String),
    /// The API failed.
    Fault(String),
}

async fn send(api: &Api, object: &Map<String, Value>) -> Sent {
    match api.send(Method::POST, "/interactions", &[], Some(object)).await {
        Ok(_) => Sent::Imported,
        Err(ApiFault::Refused(StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE, detail)) => {
            Sent::Rejected(detail)
        }
        Err(fault) => Sent::Fault(fault.to_string()),
    }
}

/// Checks a line before sending it, like the API does.
fn checked(mut object: Map<String, Value>, updated_at: Timestamp) -> Result<Map<String, Value>, String> {
    if let Some(name) = Interaction::unknown(&object) {
        return Err(format!("{name:?} is not a field of an interaction."));
    }
    Interaction::from_json(&object, Timestamp::now())?;
    object
        .entry("updated_at")
        .or_insert_with(|| updated_at.to_string().into());
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_updated_at_has_the_time_of_the_file() {
        let changed = Timestamp::UNIX_EPOCH;
        let dated = |json: &str| checked(serde_json::from_str(json).unwrap(), changed).unwrap()["updated_at"].clone();
        assert_eq!(dated(r#"{"dispatch_id": "d"}"#), "1970-01-01T00:00:00Z");
        let own = r#"{"dispatch_id": "d", "updated_at": "2025-08-08T12:00:00Z"}"#;
        assert_eq!(dated(own), "2025-08-08T12:00:00Z");
        let unknown = checked(
            serde_json::from_str(r#"{"dispatch_id": "d", "state": 1}"#).unwrap(),
            changed,
        );
        assert!(unknown.unwrap_err().contains("state"));
    }
}
