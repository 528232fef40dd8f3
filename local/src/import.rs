//! `cargo run -- import`: interactions from a CSV or JSON Lines file, through `POST /interactions`.

use std::{
    error::Error,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    time::Duration,
};

use clap::Args;
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use reqwest::{Client, StatusCode};
use serde_json::{Map, Value};
use shared::{calls::Interaction, retry::backoff};

/// Lines that are sent at once.
const CONCURRENCY: usize = 8;
/// Tries of one line while the API is busy or away.
const TRIES: u32 = 8;
/// Lines between two messages on progress.
const PROGRESS: u64 = 1000;
/// Lines that are refused are told one by one up to here.
const TOLD: usize = 100;

/// What to import, and where to.
#[derive(Args)]
pub struct Import {
    /// `.csv` with a header line, or one JSON object on each line: interaction_id or dispatch_id, and any of customer_name, phone, status, outcome,
    /// duration, start_time, end_time and updated_at
    file: PathBuf,
    /// Where the API is
    #[arg(long, default_value = "http://localhost:8000")]
    api: String,
    /// A key with the scope recordings:write
    #[arg(long, env = "CALL_RECORDINGS_API_KEY", hide_env_values = true)]
    api_key: String,
}

/// What became of the lines.
#[derive(Debug, Default)]
pub struct Imported {
    /// Taken down.
    pub taken: u64,
    /// Refused: line and reason.
    pub refused: Vec<(u64, String)>,
}

type Fault = Box<dyn Error + Send + Sync>;
type Line = (u64, Result<Map<String, Value>, String>);

impl Import {
    /// Sends every line, telling `progress` about it now and then. An error means that the file or the API could not be used at all.
    pub async fn run(self, mut progress: impl FnMut(&Imported)) -> Result<Imported, Fault> {
        let file = File::open(&self.file).map_err(|error| format!("{} can't be read: {error}", self.file.display()))?;
        let is_csv = self
            .file
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
        let lines: Box<dyn Iterator<Item = Line> + Send> = match is_csv {
            true => Box::new(csv_lines(file)?),
            false => Box::new(json_lines(file)),
        };
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(40)).build()?;
        let url = format!("{}/interactions", self.api.trim_end_matches('/'));
        let (client, url, key) = (&client, url.as_str(), self.api_key.as_str());
        let mut sent = stream::iter(lines)
            .map(|(line, object)| async move {
                let sent = match object.and_then(checked) {
                    Ok(object) => send(client, url, key, &object).await?,
                    Err(reason) => Err(reason),
                };
                Ok::<_, Fault>((line, sent))
            })
            .buffered(CONCURRENCY);
        let mut imported = Imported::default();
        while let Some(sent) = sent.next().await {
            match sent? {
                (_, Ok(())) => imported.taken += 1,
                (line, Err(reason)) => imported.refused.push((line, reason)),
            }
            if (imported.taken + imported.refused.len() as u64).is_multiple_of(PROGRESS) {
                progress(&imported);
            }
        }
        Ok(imported)
    }
}

impl Imported {
    /// The report: counts, and what was wrong with the lines that were refused.
    pub fn report(&self) -> String {
        let mut text = format!("{} taken down, {} refused", self.taken, self.refused.len());
        for (line, reason) in self.refused.iter().take(TOLD) {
            text.push_str(&format!("\n  line {line}: {reason}"));
        }
        if self.refused.len() > TOLD {
            text.push_str(&format!("\n  and {} more", self.refused.len() - TOLD));
        }
        text
    }
}

/// What the API would refuse needs not be sent.
fn checked(object: Map<String, Value>) -> Result<Map<String, Value>, String> {
    if let Some(name) = Interaction::unknown(&object) {
        return Err(format!("{name:?} is not a field of an interaction."));
    }
    Interaction::from_json(&object, Timestamp::now()).map(|_| object)
}

/// Sends one object. The inner error is why the API refuses it.
async fn send(client: &Client, url: &str, key: &str, object: &Map<String, Value>) -> Result<Result<(), String>, Fault> {
    let mut tries = 1;
    loop {
        let answer = client.post(url).header("x-api-key", key).json(object).send().await;
        let status = answer.as_ref().map(|answer| answer.status()).ok();
        let busy = status.is_none_or(|status| status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error());
        if busy && tries < TRIES {
            tokio::time::sleep(backoff(tries)).await;
            tries += 1;
            continue;
        }
        let answer = answer.map_err(|error| format!("the API does not answer: {}", error.without_url()))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(Ok(()));
        }
        let body: Value = answer.json().await.unwrap_or_default();
        let detail = body["detail"].as_str().unwrap_or("no reason given").to_owned();
        return match status {
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Ok(Err(detail)),
            _ => Err(format!("the API answers {status}: {detail}").into()),
        };
    }
}

fn json_lines(file: impl Read + Send) -> impl Iterator<Item = Line> + Send {
    let lines = (1..).zip(BufReader::new(file).lines());
    lines.filter_map(|(number, line)| {
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

/// An empty cell is a field that is not told of.
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
    fn lines_of_both_kinds_are_read_and_bad_ones_are_named() {
        let csv = "interaction_id,status,duration,customer_name\ni-1,COMPLETED,180,\"Smith, Louis\"\ni-2,,,\ni-3,a,b\n";
        let lines: Vec<Line> = csv_lines(csv.as_bytes()).unwrap().collect();
        assert_eq!(lines[0].1.as_ref().unwrap()["customer_name"], "Smith, Louis");
        assert_eq!(lines[1].1.as_ref().unwrap().len(), 1);
        assert_eq!((lines[2].0, lines[2].1.is_err()), (4, true), "a cell too few");
        let json = "{\"interaction_id\": \"i-1\"}\n\n[1]\n{\"dispatch_id\": \"d\", \"state\": 1}\n";
        let lines: Vec<Line> = json_lines(json.as_bytes()).collect();
        assert_eq!(lines.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 3, 4]);
        assert!(lines[1].1.is_err());
        assert!(checked(lines[2].1.clone().unwrap()).unwrap_err().contains("state"));
    }
}
