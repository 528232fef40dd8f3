//! An erasure as it is stored.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ids::DispatchId, time::millis};

/// Object versions that an erasure names. All are counted.
const MAX_VERSIONS: usize = 5000;
/// Problems that an erasure lists. All of its calls are tried again.
const MAX_PROBLEMS: usize = 500;
/// Traces that are kept of erased calls. A call usually has up to eight.
const MAX_TRACES: usize = 1500;

/// A signed receipt. The signature is of the JSON of `receipt` without white space, with the names of each object in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ErasureReceipt))]
pub struct Receipt {
    /// What was erased, and what remains until when.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub receipt: Value,
    /// The signature.
    pub signature: Signature,
}

/// An Ed25519 signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ReceiptSignature))]
pub struct Signature {
    /// `ed25519`.
    pub algorithm: String,
    /// The deployment's public key in Base64.
    pub public_key: String,
    /// The signature in Base64.
    pub value: String,
}

/// The id of an erasure: 32 hexadecimal digits, or `retention-` and a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ErasureId(String);

impl ErasureId {
    /// A new id.
    pub fn random() -> Self {
        Self(format!("{:032x}", fastrand::u128(..)))
    }

    /// The erasure of what is past its time on this day.
    pub fn of_retention(day: jiff::civil::Date) -> Self {
        Self(format!("retention-{day}"))
    }

    /// Parses an id; `None` if the text is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let day = text
            .strip_prefix("retention-")
            .and_then(|day| day.parse::<jiff::civil::Date>().ok());
        (hex || day.is_some()).then(|| Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn item(&self) -> String {
        format!("erasure#{}", self.0)
    }
}

impl fmt::Display for ErasureId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The calls to erase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// All calls of a phone number, digits only.
    Phone(String),
    /// The call of an interaction.
    Interaction(String),
    /// One call, by its dispatch id or Twilio's SID of the call or the recording.
    Call(DispatchId),
    /// All calls that are past the time of the deployment or their own.
    Expired {
        /// Calls that began before this time are erased; `None`: only those with a time of their own.
        calls_before: Option<Timestamp>,
        /// The transcripts of calls that began before this time are erased.
        transcripts_before: Option<Timestamp>,
    },
}

/// What is erased of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErasureScope {
    /// Everything.
    Everything,
    /// Its transcripts only.
    Transcripts,
}

/// The kinds of things that are erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ErasedKind))]
pub enum Kind {
    /// Recordings in the bucket, in all versions.
    Recordings,
    /// Copies of Twilio's recordings in the bucket, in all versions.
    Copies,
    /// Recordings at Twilio.
    TwilioRecordings,
    /// Transcripts with their parts, dropped text and waveforms.
    Transcripts,
    /// Shares and their openings.
    Shares,
    /// Items of the audit, from which the call is removed. Their time, action and key id remain.
    AuditItems,
    /// Calls in the index, with their names, numbers and results.
    Calls,
}

impl Kind {
    /// All kinds, in the order in which they are erased.
    pub const ALL: [Self; 7] = [
        Self::Recordings,
        Self::Copies,
        Self::TwilioRecordings,
        Self::Transcripts,
        Self::Shares,
        Self::AuditItems,
        Self::Calls,
    ];
}

/// How many things were erased, by kind.
pub type Counts = BTreeMap<Kind, u64>;

/// Why a part of a call is not erased yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The call's item, which the answer does not show.
    pub(super) item: String,
    /// What is not erased; `None` for a hold, which keeps everything.
    pub(super) kind: Option<Kind>,
    /// The reason, as a stable code for programs.
    pub code: String,
    /// The reason, as a sentence.
    pub reason: String,
    /// Until when it can't be erased, if that is known.
    #[serde(with = "millis::option", default)]
    pub until: Option<Timestamp>,
}

impl Problem {
    /// Whether a hold keeps the whole call.
    pub fn is_hold(&self) -> bool {
        self.kind.is_none()
    }
}

/// The state of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ErasureStepState))]
pub enum StepState {
    /// Nothing of this kind is left.
    Done,
    /// It has not been tried yet, or waits for a time.
    Pending,
    /// The last attempt failed; it is tried again.
    Failed,
    /// A hold keeps it.
    Held,
}

/// One kind of things in an erasure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ErasureStep))]
pub struct Step {
    /// What is erased.
    pub kind: Kind,
    /// How far it is.
    pub state: StepState,
    /// How many were erased.
    pub erased: u64,
    /// Why not all are erased, as a stable code for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub code: Option<String>,
    /// Why not all are erased, as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub reason: Option<String>,
    /// Until when it can't be erased.
    #[serde(skip_serializing_if = "Option::is_none", with = "millis::option")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub until: Option<Timestamp>,
}

/// What erased calls were known by. Requests and rounds of the reconciler that began before a call was erased may write it once more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traces {
    /// The names that reports can have.
    #[serde(default)]
    pub(super) reported: BTreeSet<String>,
    /// The subjects that items of the audit can have.
    #[serde(default)]
    pub(super) audited: BTreeSet<String>,
}

impl Traces {
    pub(super) fn is_empty(&self) -> bool {
        self.reported.is_empty() && self.audited.is_empty()
    }

    /// Whether there is no room for those of another page of calls.
    pub(super) fn is_full(&self) -> bool {
        self.reported.len() + self.audited.len() > MAX_TRACES
    }
}

/// A requested erasure.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Erasure {
    /// Its id.
    pub id: ErasureId,
    /// When it was requested.
    pub requested_at: Timestamp,
    /// The id of the API key that requested it; `None` for the deployment's own time.
    pub requested_by: Option<String>,
    /// The calls; `None` when the erasure is done, because they are personal data.
    pub target: Option<Target>,
    /// Only calls that began before this time.
    pub before: Option<Timestamp>,
    /// Why, in the words of the request; `None` when the erasure is done.
    pub reason: Option<String>,
    /// How many calls were erased.
    #[serde(default)]
    pub calls: u64,
    /// What was erased.
    #[serde(default)]
    pub counts: Counts,
    /// The versions of objects that were erased.
    #[serde(default)]
    pub versions: Vec<String>,
    /// The number of these versions, which may be more than are named.
    #[serde(default)]
    pub versions_total: u64,
    /// What is not erased yet.
    #[serde(default)]
    pub problems: Vec<Problem>,
    /// The traces of the calls that were erased last, until the erasure is done. They are stored before the index loses the calls.
    #[serde(default, skip_serializing_if = "Traces::is_empty")]
    pub traces: Traces,
    /// Attempts that left problems.
    #[serde(default)]
    pub attempts: u32,
    /// When the last call was erased; `None` if the erasure is not done.
    pub completed_at: Option<Timestamp>,
    /// The receipt of an erasure that is done.
    pub receipt: Option<Receipt>,
}

impl Erasure {
    /// A new erasure.
    pub fn new(id: ErasureId, target: Target, requested_at: Timestamp) -> Self {
        Self {
            id,
            requested_at,
            requested_by: None,
            target: Some(target),
            before: None,
            reason: None,
            calls: 0,
            counts: Counts::new(),
            versions: Vec::new(),
            versions_total: 0,
            problems: Vec::new(),
            traces: Traces::default(),
            attempts: 0,
            completed_at: None,
            receipt: None,
        }
    }

    /// Whether nothing more is tried. What problems are left of what was past its time, the erasure of the next day has.
    pub fn is_done(&self) -> bool {
        self.completed_at.is_some()
    }

    /// The number of calls that are held, or of which something is left.
    pub fn calls_left(&self) -> u64 {
        let items: BTreeSet<&str> = self.problems.iter().map(|problem| problem.item.as_str()).collect();
        items.len() as u64
    }

    pub(super) fn add(&mut self, counts: &Counts, versions: Vec<String>) {
        for (kind, count) in counts {
            *self.counts.entry(*kind).or_default() += count;
        }
        self.versions_total += versions.len() as u64;
        let room = MAX_VERSIONS.saturating_sub(self.versions.len());
        self.versions.extend(versions.into_iter().take(room));
    }

    pub(super) fn add_problem(&mut self, problem: Problem) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        }
    }

    /// The state of each kind.
    pub fn steps(&self) -> Vec<Step> {
        let step = |kind: Kind| {
            let problem = self.problems.iter().find(|it| it.kind.is_none_or(|it| it == kind));
            let state = match problem {
                None if self.is_done() => StepState::Done,
                None if self.attempts == 0 => StepState::Pending,
                // What the index has of a call is erased when everything else is.
                None if kind == Kind::Calls && !self.problems.is_empty() => StepState::Pending,
                None => StepState::Done,
                Some(problem) if problem.kind.is_none() => StepState::Held,
                Some(problem) if problem.until.is_some() => StepState::Pending,
                Some(_) => StepState::Failed,
            };
            Step {
                kind,
                state,
                erased: self.counts.get(&kind).copied().unwrap_or_default(),
                code: problem.map(|problem| problem.code.clone()),
                reason: problem.map(|problem| problem.reason.clone()),
                until: problem.and_then(|problem| problem.until),
            }
        };
        Kind::ALL.map(step).into()
    }
}
