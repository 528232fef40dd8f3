//! What the traffic sent, and what was accepted.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use local::standins::tones::{Script, Wav};

/// A call, and what happened to it.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) number: u64,
    pub(crate) began: Timestamp,
    /// LiveKit's file is in the bucket.
    pub(crate) is_uploaded: bool,
    /// Twilio has a recording.
    pub(crate) has_twilio: bool,
    /// The status of the interaction that was accepted last, and whether a later one has no known outcome.
    pub(crate) status: Option<String>,
    pub(crate) is_status_known: bool,
    /// Twilio's callback was accepted.
    pub(crate) is_called_back: bool,
    /// A copy was accepted.
    pub(crate) is_copy_accepted: bool,
    /// Paths of transcripts that were accepted, with 200 or 202, and of those whose request has no known outcome.
    pub(crate) transcripts: BTreeMap<String, bool>,
    /// Shares that were created, by id, with their tokens.
    pub(crate) shares: Vec<(String, String)>,
    /// A hold that was accepted.
    pub(crate) is_held: bool,
    /// An erasure that was accepted.
    pub(crate) erasure: Option<String>,
    /// Somebody has tried to erase the call.
    pub(crate) is_erasure_tried: bool,
    /// Invocations for the call that were killed, or that ended with an error.
    pub(crate) interruptions: usize,
}

impl Record {
    pub(crate) fn new(number: u64) -> Self {
        let began = Timestamp::now() - SignedDuration::from_hours(2);
        Self {
            number,
            began: Timestamp::from_second(began.as_second()).unwrap_or(began),
            is_uploaded: false,
            has_twilio: false,
            status: None,
            is_status_known: true,
            is_called_back: false,
            is_copy_accepted: false,
            transcripts: BTreeMap::new(),
            shares: Vec::new(),
            is_held: false,
            erasure: None,
            is_erasure_tried: false,
            interruptions: 0,
        }
    }

    pub(crate) fn phone(&self) -> String {
        (15_550_000_000 + self.number).to_string()
    }

    pub(crate) fn dispatch(&self) -> String {
        format!("dispatch_{}_{}", self.began.as_second(), self.phone())
    }

    pub(crate) fn key(&self) -> String {
        let day = self.began.strftime("%Y/%m/%d");
        let second = self.began.as_second() + 2;
        format!("egress-recordings/{day}/outbound-{}_{second}.wav", self.phone())
    }

    pub(crate) fn copy_key(&self) -> String {
        let day = self.began.strftime("%Y/%m/%d");
        format!("twilio-recordings/{day}/{}/{}.wav", self.call_sid(), self.sid())
    }

    pub(crate) fn sid(&self) -> String {
        format!("RE{:032x}", 0x50a0_0000 + self.number)
    }

    pub(crate) fn call_sid(&self) -> String {
        format!("CA{:032x}", 0x50a0_0000 + self.number)
    }

    pub(crate) fn interaction(&self) -> String {
        format!("soak-{}-", self.number)
    }

    /// Whether a text names the call.
    pub(crate) fn is_named_in(&self, text: &str) -> bool {
        [self.phone(), self.sid(), self.call_sid(), self.interaction()]
            .iter()
            .any(|name| text.contains(name.as_str()))
    }

    fn script(&self, seed: u64) -> Script {
        Script::spoken(2.0 + (self.number % 4) as f64, 2 * self.number + seed)
    }

    /// What is said in LiveKit's recording, and in Twilio's.
    pub(crate) fn words(&self, is_twilio: bool) -> String {
        self.script(u64::from(is_twilio)).text()
    }

    /// LiveKit's file, or Twilio's.
    pub(crate) fn sound(&self, is_twilio: bool) -> Wav {
        let rate = if is_twilio { 8_000 } else { 16_000 };
        Wav::new(rate, [self.script(u64::from(is_twilio))])
    }
}

/// All calls, and counts of what was asked.
#[derive(Default)]
pub(crate) struct Ledger {
    calls: Mutex<BTreeMap<u64, Record>>,
    counts: Mutex<BTreeMap<String, usize>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ledger {
    /// A new call.
    pub(crate) fn begin(&self) -> u64 {
        let mut calls = lock(&self.calls);
        let number = calls.len() as u64 + 1;
        calls.insert(number, Record::new(number));
        number
    }

    pub(crate) fn get(&self, number: u64) -> Record {
        lock(&self.calls)[&number].clone()
    }

    pub(crate) fn all(&self) -> Vec<Record> {
        lock(&self.calls).values().cloned().collect()
    }

    pub(crate) fn change(&self, number: u64, change: impl FnOnce(&mut Record)) {
        if let Some(record) = lock(&self.calls).get_mut(&number) {
            change(record);
        }
    }

    pub(crate) fn count(&self, what: impl Into<String>) {
        *lock(&self.counts).entry(what.into()).or_default() += 1;
    }

    pub(crate) fn counts(&self) -> BTreeMap<String, usize> {
        lock(&self.counts).clone()
    }

    /// An invocation for whatever the text names was killed or ended with an error.
    pub(crate) fn interrupted(&self, text: &str) {
        for record in lock(&self.calls).values_mut() {
            if record.is_named_in(text) {
                record.interruptions += 1;
            }
        }
    }
}
