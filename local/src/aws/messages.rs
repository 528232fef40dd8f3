//! The messages of the queues on disk: the embedded SQS stores queues and loses their messages with its process.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::Error;

/// A message that was sent and not deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredMessage {
    /// The name of its queue.
    pub queue: String,
    /// Its text.
    pub body: String,
    /// From when on it can be received.
    pub due: Timestamp,
    /// How often it was received.
    #[serde(default)]
    pub receives: u32,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Sent(String, StoredMessage),
    Received(String),
    Deleted(String),
}

/// Messages by id, and a file with a line for each change, so that a killed process loses none.
pub(super) struct Messages {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    file: File,
    open: BTreeMap<String, StoredMessage>,
    /// Message ids by receipt handle.
    receipts: HashMap<String, String>,
}

impl Messages {
    pub(super) fn open(path: PathBuf) -> Result<Self, Error> {
        let mut open = BTreeMap::new();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Error::new("read its messages from", &path, error)),
        };
        // The process may have been killed while it wrote the last line.
        for line in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
            apply(&mut open, line);
        }
        let file = rewritten(&path, &open).map_err(|error| Error::new("write its messages to", &path, error))?;
        let state = State {
            file,
            open,
            receipts: HashMap::new(),
        };
        Ok(Self {
            path,
            state: Mutex::new(state),
        })
    }

    /// Takes the messages of the process before, which its successor sends again.
    pub(super) fn take(&self) -> Vec<StoredMessage> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut state.open).into_values().collect()
    }

    /// Removes from the file what is neither in a queue nor new.
    pub(super) fn compact(&self) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.file = rewritten(&self.path, &state.open)
            .map_err(|error| Error::new("write its messages to", &self.path, error))?;
        Ok(())
    }

    /// Stores what a successful request changed.
    pub(super) fn record(&self, operation: &str, request: &[u8], response: &[u8]) -> io::Result<()> {
        let (request, response): (Value, Value) = (json(request), json(response));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let url = request["QueueUrl"].as_str().unwrap_or_default();
        let queue = url.rsplit('/').next().unwrap_or_default();
        let sent = |sent: &Value, answer: &Value| {
            let delay = SignedDuration::from_secs(sent["DelaySeconds"].as_i64().unwrap_or_default());
            let message = StoredMessage {
                queue: queue.to_owned(),
                body: sent["MessageBody"].as_str()?.to_owned(),
                due: Timestamp::now() + delay,
                receives: 0,
            };
            Some(Line::Sent(answer["MessageId"].as_str()?.to_owned(), message))
        };
        let deleted =
            |state: &mut State, receipt: &Value| Some(Line::Deleted(state.receipts.remove(receipt.as_str()?)?));
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let lines: Vec<Line> = match operation {
            "SendMessage" => sent(&request, &response).into_iter().collect(),
            "SendMessageBatch" => {
                let entries = list(&request["Entries"]);
                let answers = list(&response["Successful"]).into_iter();
                let lines = answers.filter_map(|answer| {
                    let entry = entries.iter().find(|entry| entry["Id"] == answer["Id"])?;
                    sent(entry, &answer)
                });
                lines.collect()
            }
            "ReceiveMessage" => {
                let received = list(&response["Messages"]).into_iter();
                let lines = received.filter_map(|message| {
                    let id = message["MessageId"].as_str()?.to_owned();
                    let receipt = message["ReceiptHandle"].as_str()?.to_owned();
                    state.receipts.insert(receipt, id.clone());
                    Some(Line::Received(id))
                });
                lines.collect()
            }
            "DeleteMessage" => deleted(&mut state, &request["ReceiptHandle"]).into_iter().collect(),
            "DeleteMessageBatch" => {
                let entries = list(&request["Entries"]).into_iter();
                let lines = entries.filter_map(|entry| deleted(&mut state, &entry["ReceiptHandle"]));
                lines.collect()
            }
            "PurgeQueue" | "DeleteQueue" => {
                let gone = state.open.iter().filter(|(_, message)| message.queue == queue);
                gone.map(|(id, _)| Line::Deleted(id.clone())).collect()
            }
            _ => return Ok(()),
        };
        for line in lines {
            write(&mut state.file, &line)?;
            apply(&mut state.open, line);
        }
        Ok(())
    }
}

fn json(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap_or_default()
}

fn apply(open: &mut BTreeMap<String, StoredMessage>, line: Line) {
    match line {
        Line::Sent(id, message) => drop(open.insert(id, message)),
        Line::Received(id) => {
            if let Some(message) = open.get_mut(&id) {
                message.receives += 1;
            }
        }
        Line::Deleted(id) => drop(open.remove(&id)),
    }
}

fn write(file: &mut File, line: &Line) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    file.write_all(&text)
}

/// Replaces the file by one with these messages, and opens it for more. Only its owner can read it.
fn rewritten(path: &Path, open: &BTreeMap<String, StoredMessage>) -> io::Result<File> {
    let new = path.with_extension("jsonl.new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    for (id, message) in open {
        write(&mut file, &Line::Sent(id.clone(), message.clone()))?;
    }
    std::fs::rename(&new, path)?;
    Ok(file)
}
