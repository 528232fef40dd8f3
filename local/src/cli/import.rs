//! `cargo run -- import`: interactions from a CSV or JSON Lines file, through `POST /interactions`.

use std::{
    error::Error,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::PathBuf,
    time::Duration,
};

use clap::Args;
use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use reqwest::{Client, StatusCode, redirect::Policy};
use serde_json::{Map, Value};
use shared::{
    calls::Interaction,
    retry::{backoff, retry_after},
};

/// Lines that are sent concurrently.
const CONCURRENCY: usize = 8;
/// Attempts per line while the API is not reachable.
const ATTEMPTS: u32 = 8;
/// Attempts per line while the API throttles requests, which an import can cause: about ten minutes.
const THROTTLED_ATTEMPTS: u32 = 200;
/// Lines between two progress messages.
const PROGRESS: u64 = 1000;

/// The arguments of `import`.
#[derive(Args)]
pub struct Import {
    /// `.csv` with a header line, or one JSON object on each line: interaction_id or dispatch_id, and any of customer_name, phone, status,
    /// outcome, duration, start_time, end_time and updated_at. For a line without updated_at, the file's modification time is used
    file: PathBuf,
    /// Base URL of the API
    #[arg(long, default_value = "http://localhost:8000")]
    api: String,
    /// A key with the scope recordings:write
    #[arg(long, env = "CALL_RECORDINGS_API_KEY", hide_env_values = true)]
    api_key: String,
}

/// The result of an import.
#[derive(Debug, Default)]
pub struct Imported {
    /// Lines that were imported.
    pub imported: u64,
    /// Rejected lines: number and reason.
    pub rejected: Vec<(u64, String)>,
    /// The line at which the import stopped, and the reason.
    pub stopped: Option<(u64, String)>,
}

type Fault = Box<dyn Error + Send + Sync>;
type Line = (u64, Result<Map<String, Value>, String>);

impl Import {
    /// Sends every line and calls `progress` from time to time. An error means that the file could not be read at all.
    pub async fn run(self, mut progress: impl FnMut(&Imported)) -> Result<Imported, Fault> {
        let file = File::open(&self.file).map_err(|error| format!("{} can't be read: {error}", self.file.display()))?;
        let changed = Timestamp::try_from(file.metadata()?.modified()?)?;
        let is_csv = self
            .file
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
        let lines: Box<dyn Iterator<Item = Line> + Send> = match is_csv {
            true => Box::new(csv_lines(file)?),
            false => Box::new(json_lines(file)),
        };
        // A redirect would send the key to another host.
        let client = Client::builder().no_proxy().redirect(Policy::none());
        let client = client.timeout(Duration::from_secs(40)).build()?;
        let url = format!("{}/interactions", self.api.trim_end_matches('/'));
        let (client, url, key) = (&client, url.as_str(), self.api_key.as_str());
        let mut sent = stream::iter(lines)
            .map(|(line, object)| async move {
                // Of several lines for the same call the last one counts.
                let updated_at = changed + SignedDuration::from_micros(line as i64);
                let sent = match object.and_then(|object| checked(object, updated_at)) {
                    Ok(object) => send(client, url, key, &object).await,
                    Err(reason) => Sent::Rejected(reason),
                };
                (line, sent)
            })
            .buffered(CONCURRENCY);
        let mut imported = Imported::default();
        while let Some(sent) = sent.next().await {
            match sent {
                (_, Sent::Imported) => imported.imported += 1,
                (line, Sent::Rejected(reason)) => imported.rejected.push((line, reason)),
                (line, Sent::Fault(reason)) => {
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
    /// The report with counts and the reasons for rejected lines.
    pub fn report(&self) -> String {
        let mut text = format!("{} imported, {} rejected", self.imported, self.rejected.len());
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

async fn send(client: &Client, url: &str, key: &str, object: &Map<String, Value>) -> Sent {
    let (mut away, mut busy) = (0, 0);
    loop {
        let answer = client.post(url).header("x-api-key", key).json(object).send().await;
        let status = answer.as_ref().map(|answer| answer.status()).ok();
        let (tries, most) = match status {
            Some(StatusCode::TOO_MANY_REQUESTS) => (&mut busy, THROTTLED_ATTEMPTS),
            _ => (&mut away, ATTEMPTS),
        };
        *tries += 1;
        let passing = status.is_none_or(|status| status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error());
        if passing && *tries < most {
            let asked = answer.ok().and_then(|answer| retry_after(answer.headers()));
            tokio::time::sleep(backoff(*tries).max(asked.unwrap_or_default())).await;
            continue;
        }
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Sent::Fault(format!("the API does not respond: {}", error.without_url())),
        };
        let status = answer.status();
        if status.is_success() {
            return Sent::Imported;
        }
        let body: Value = answer.json().await.unwrap_or_default();
        let detail = body["detail"].as_str().unwrap_or("no reason given").to_owned();
        return match status {
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Sent::Rejected(detail),
            _ => Sent::Fault(format!("the API returned {status}: {detail}")),
        };
    }
}

fn json_lines(file: impl Read + Send) -> impl Iterator<Item = Line> + Send {
    let mut broken = false;
    // A line that is not UTF-8 is one invalid line; after any other error reading stops.
    let lines = BufReader::new(file).lines().take_while(move |line| {
        let go_on = !broken;
        broken = line
            .as_ref()
            .is_err_and(|error| error.kind() != io::ErrorKind::InvalidData);
        go_on
    });
    (1..).zip(lines).filter_map(|(number, line)| {
        let line = match line {
            Ok(line) if line.trim().is_empty() => return None,
            Ok(line) => line,
            Err(error) => return Some((number, Err(error.to_string()))),
        };
        Some((
            number,
            serde_json::from_str(&line).map_err(|error| format!("not a JSON object: {error}")),
        ))
    })
}

/// An empty cell means that the field is not reported.
fn csv_lines(file: impl Read + Send) -> Result<impl Iterator<Item = Line> + Send, Fault> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file);
    let header = reader.headers()?.clone();
    Ok(reader.into_records().map(move |record| match record {
        Ok(record) => {
            let number = record.position().map_or(0, csv::Position::line);
            let cells = header.iter().zip(&record).filter(|(_, cell)| !cell.is_empty());
            let object = cells.map(|(name, cell)| (name.to_owned(), cell.into()));
            (number, Ok(object.collect()))
        }
        Err(error) => {
            let number = error.position().map_or(0, csv::Position::line);
            (number, Err(error.to_string()))
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_parsed_and_invalid_lines_are_named() {
        let csv = "interaction_id,status,duration,customer_name\ni-1,COMPLETED,180,\"Smith, Louis\"\ni-2,,,\ni-3,a,b\n";
        let lines: Vec<Line> = csv_lines(csv.as_bytes()).unwrap().collect();
        assert_eq!(lines[0].1.as_ref().unwrap()["customer_name"], "Smith, Louis");
        assert_eq!(lines[1].1.as_ref().unwrap().len(), 1);
        assert_eq!((lines[2].0, lines[2].1.is_err()), (4, true), "a cell too few");
        let json = "{\"interaction_id\": \"i-1\"}\n\n[1]\n{\"dispatch_id\": \"d\", \"state\": 1}\n";
        let lines: Vec<Line> = json_lines(json.as_bytes()).collect();
        assert_eq!(lines.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 3, 4]);
        assert!(lines[1].1.is_err());
        let changed = Timestamp::UNIX_EPOCH;
        let rejected = checked(lines[2].1.clone().unwrap(), changed).unwrap_err();
        assert!(rejected.contains("state"));
        let dated = |json: &str| checked(serde_json::from_str(json).unwrap(), changed).unwrap()["updated_at"].clone();
        assert_eq!(dated(r#"{"dispatch_id": "d"}"#), "1970-01-01T00:00:00Z");
        let own = r#"{"dispatch_id": "d", "updated_at": "2025-08-08T12:00:00Z"}"#;
        assert_eq!(dated(own), "2025-08-08T12:00:00Z");
    }
}
