//! The one function that erases a call.

use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    error::ErasureError,
    model::{Counts, ErasureScope, Kind, Problem},
};
use crate::{
    audit::AuditLog,
    calls::{CallContents, Calls, Hold},
    clients::{
        aws::Aws,
        bucket::{RecordingRef, RecordingsBucket},
        twilio::{RecordingSid, Twilio},
    },
    config::{ConfigError, Env},
    lifecycle::Lifecycle,
    shares::Shares,
    time::to_millis,
    transcription::Vocabulary,
    transcripts::{AudioId, TranscriptId, Transcripts},
};

/// Attempts while other writers keep changing the call.
pub(super) const TRIES: u32 = 5;

/// Erases calls.
pub(super) struct Eraser {
    pub(super) calls: Calls,
    pub(super) lifecycle: Lifecycle,
    transcripts: Transcripts,
    shares: Shares,
    pub(super) audit: AuditLog,
    bucket: Option<RecordingsBucket>,
    twilio: Twilio,
    vocabulary: Vocabulary,
}

/// What became of a call.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Everything is erased but what the index has, which leads to the rest until then: see [`Eraser::remove`].
    Ready(Box<CallContents>),
    /// Everything is erased.
    Erased,
    /// Something is left, for these reasons. The index still has the call, so that the next attempt finds it.
    Incomplete(Vec<Problem>),
    /// A hold keeps everything.
    Held(Hold),
    /// The call has a time of its own, which has not come.
    Kept,
    /// There is no such call.
    Absent,
}

/// What was erased.
#[derive(Debug, Default)]
pub(super) struct Erased {
    /// How many things, by kind.
    pub(super) counts: Counts,
    /// The versions of objects.
    pub(super) versions: Vec<String>,
}

impl Erased {
    pub(super) fn add(&mut self, kind: Kind, count: u64) {
        if count > 0 {
            *self.counts.entry(kind).or_default() += count;
        }
    }
}

/// Which calls are erased by an erasure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) scope: ErasureScope,
    pub(super) time: CallTime,
}

/// How the own time of a call matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallTime {
    /// Not: the call is erased because somebody asks.
    Ignored,
    /// If it has one that has not come, it is kept, although the deployment's time has passed.
    Later,
    /// It is erased only if it has one that has passed.
    Passed,
}

impl CallTime {
    fn keeps(self, until: Option<Timestamp>) -> bool {
        let now = Timestamp::now();
        match self {
            Self::Ignored => false,
            Self::Later => until.is_some_and(|until| until > now),
            Self::Passed => until.is_none_or(|until| until > now),
        }
    }
}

impl Eraser {
    /// Reads the environment.
    pub(super) fn from_env(env: &Env, aws: &Aws) -> Result<Self, ConfigError> {
        Ok(Self {
            calls: Calls::from_env(env, aws)?,
            lifecycle: Lifecycle::from_env(env, aws)?,
            transcripts: Transcripts::from_env(env, aws)?,
            shares: Shares::from_env(env, aws)?,
            audit: AuditLog::from_env(env, aws)?,
            bucket: RecordingsBucket::from_env(env, aws)?,
            twilio: Twilio::from_env(env, aws)?,
            vocabulary: Vocabulary::from_env(env)?,
        })
    }

    /// Reads the secrets before the first erasure.
    pub(super) async fn preload(&self) {
        tokio::join!(self.twilio.preload(), self.calls.preload());
    }

    /// Erases the call that this item of the index belongs to, unless it is held, except for what the index has, and says what was erased now. It can
    /// be called again after any failure or interruption.
    pub(super) async fn erase(&self, item: &str, rule: Rule, deadline: Instant) -> (Erased, Outcome) {
        let mut erased = Erased::default();
        let outcome = self.erase_into(&mut erased, item, rule, deadline).await;
        let outcome =
            outcome.unwrap_or_else(|error| Outcome::Incomplete(vec![problem_from(item, Kind::Calls, &error)]));
        (erased, outcome)
    }

    async fn erase_into(
        &self,
        erased: &mut Erased,
        item: &str,
        rule: Rule,
        deadline: Instant,
    ) -> Result<Outcome, ErasureError> {
        for _ in 0..TRIES {
            let Some(contents) = self.calls.contents(item).await? else {
                return Ok(match erased.counts.is_empty() {
                    true => Outcome::Absent,
                    false => Outcome::Erased,
                });
            };
            if let Some(hold) = contents.call.hold.clone() {
                return Ok(Outcome::Held(hold));
            }
            if rule.time.keeps(contents.call.retain_until) {
                return Ok(Outcome::Kept);
            }
            if rule.scope == ErasureScope::Transcripts {
                let problems = self.erase_transcripts(&contents, erased).await;
                if !problems.is_empty() {
                    return Ok(Outcome::Incomplete(problems));
                }
                match self.calls.forget_transcripts(&contents).await? {
                    true => return Ok(Outcome::Erased),
                    false => continue,
                }
            }
            // From here on a hold is refused, and nothing new is stored of the call.
            if !self.calls.bury(&contents).await? {
                continue;
            }
            let mut problems = self.erase_objects(&contents, erased).await;
            problems.extend(self.erase_at_twilio(&contents, erased, deadline).await);
            problems.extend(self.erase_transcripts(&contents, erased).await);
            problems.extend(self.erase_shares(&contents, erased).await);
            problems.extend(self.erase_audited(&contents, erased).await);
            if !problems.is_empty() {
                return Ok(Outcome::Incomplete(problems));
            }
            return Ok(Outcome::Ready(Box::new(contents)));
        }
        Ok(Outcome::Incomplete(vec![call_changed(item)]))
    }

    /// Deletes what the index has of a call, of which everything else is erased. Returns `false` if a late event has changed the call: what it added
    /// must be erased as well.
    pub(super) async fn remove(&self, contents: &CallContents) -> Result<bool, Problem> {
        let removed = self.calls.remove(contents).await;
        removed.map_err(|error| problem_from(&contents.call.item, Kind::Calls, &error.into()))
    }

    /// The recordings in the bucket and the copies of Twilio's, in all versions.
    async fn erase_objects(&self, contents: &CallContents, erased: &mut Erased) -> Vec<Problem> {
        let Some(bucket) = &self.bucket else { return Vec::new() };
        let objects = contents.objects.iter().map(|(key, _)| (Kind::Recordings, key.clone()));
        let mut keys: Vec<(Kind, String)> = objects.collect();
        for recording in &contents.recordings {
            // The copy, and one whose worker was killed before the index had it.
            let known = recording.copied().map(|copy| copy.key.clone());
            let sid = RecordingSid::parse(&recording.sid);
            let began = recording.start_time.unwrap_or(Timestamp::UNIX_EPOCH);
            let calls = contents.call.call_sid.iter().cloned().chain([recording.sid.clone()]);
            let possible = calls.flat_map(|call| {
                let key = |extension| Some(bucket.copy_key(began, &call, sid.as_ref()?, extension));
                [key("wav"), key("mp3")]
            });
            for key in known.into_iter().chain(possible.flatten()) {
                if !keys.iter().any(|(_, it)| *it == key) {
                    keys.push((Kind::Copies, key));
                }
            }
        }
        let mut problems = Vec::new();
        // First the uploads, so that a worker that is copying can't complete one after the versions were listed.
        for recording in &contents.recordings {
            if let Err(error) = self.abort_upload(bucket, &recording.sid).await {
                problems.push(problem_from(&contents.call.item, Kind::Copies, &error));
            }
        }
        for (kind, key) in keys {
            match self.erase_object(bucket, &key, kind, contents, erased).await {
                Ok(problem) => problems.extend(problem),
                Err(error) => problems.push(problem_from(&contents.call.item, kind, &error)),
            }
        }
        problems
    }

    async fn erase_object(
        &self,
        bucket: &RecordingsBucket,
        key: &str,
        kind: Kind,
        contents: &CallContents,
        erased: &mut Erased,
    ) -> Result<Option<Problem>, ErasureError> {
        let (versions, mut problem) = (bucket.versions(key).await?, None);
        let mut deleted = 0;
        for version in versions {
            match bucket.delete_version(key, &version).await? {
                None => {
                    deleted += 1;
                    erased.versions.push(version.0);
                }
                Some(locked) => {
                    let reason = match (locked.by_legal_hold, locked.until) {
                        (true, _) => "S3 has a legal hold on the recording.".to_owned(),
                        (false, Some(until)) => format!("Object Lock keeps the recording until {}.", to_millis(until)),
                        (false, None) => "Object Lock keeps the recording.".to_owned(),
                    };
                    problem = Some(Problem {
                        until: locked.until,
                        ..problem_of(&contents.call.item, kind, "object_locked", &reason)
                    });
                }
            }
        }
        erased.add(kind, u64::from(deleted > 0));
        Ok(problem)
    }

    /// Ends the upload of a copy that an interrupted worker began.
    async fn abort_upload(&self, bucket: &RecordingsBucket, sid: &str) -> Result<(), ErasureError> {
        let Some(sid) = RecordingSid::parse(sid) else {
            return Ok(());
        };
        match self.lifecycle.copy_state(&sid).await?.upload {
            Some(upload) => Ok(bucket.abort_upload(&upload).await?),
            None => Ok(()),
        }
    }

    async fn erase_at_twilio(&self, contents: &CallContents, erased: &mut Erased, deadline: Instant) -> Vec<Problem> {
        let mut problems = Vec::new();
        for recording in &contents.recordings {
            let Some(sid) = RecordingSid::parse(&recording.sid) else {
                continue;
            };
            match self.twilio.delete_recording(&sid, deadline).await {
                Ok(was_there) => erased.add(Kind::TwilioRecordings, u64::from(was_there)),
                Err(error) => problems.push(problem_from(
                    &contents.call.item,
                    Kind::TwilioRecordings,
                    &ErasureError::from(error),
                )),
            }
        }
        problems
    }

    async fn erase_transcripts(&self, contents: &CallContents, erased: &mut Erased) -> Vec<Problem> {
        let variants = self.vocabulary.default_variants();
        let of_dispatch = |variant| {
            contents
                .ids
                .iter()
                .map(move |id| TranscriptId::of_dispatch(id, variant))
        };
        let older: Vec<TranscriptId> = variants.iter().flat_map(of_dispatch).collect();
        let objects = contents.objects.iter().flat_map(|(_, versions)| versions);
        let copies = contents
            .recordings
            .iter()
            .filter_map(|recording| RecordingSid::parse(&recording.sid));
        let audios: Vec<AudioId> = objects
            .map(|version: &RecordingRef| AudioId::Object(version.clone()))
            .chain(copies.map(AudioId::Twilio))
            .collect();
        let mut problems = Vec::new();
        for (number, audio) in audios.iter().enumerate() {
            let older = if number == 0 { &older[..] } else { &[] };
            match self.transcripts.erase(audio, &variants, older).await {
                Ok(done) => {
                    erased.add(Kind::Transcripts, done.transcripts);
                    if let Some(until) = done.busy_until {
                        let reason =
                            "The recording is being transcribed. What that stores is erased when it has ended.";
                        problems.push(Problem {
                            until: Some(until),
                            ..problem_of(
                                &contents.call.item,
                                Kind::Transcripts,
                                "transcription_in_progress",
                                reason,
                            )
                        });
                    }
                }
                Err(error) => problems.push(problem_from(&contents.call.item, Kind::Transcripts, &error.into())),
            }
        }
        problems
    }

    /// Removes the call from the audit, which keeps what was done by whom and when.
    async fn erase_audited(&self, contents: &CallContents, erased: &mut Erased) -> Option<Problem> {
        match self.audit.erase(&contents.audited).await {
            Ok(count) => {
                erased.add(Kind::AuditItems, count);
                None
            }
            Err(error) => Some(problem_from(&contents.call.item, Kind::AuditItems, &error.into())),
        }
    }

    async fn erase_shares(&self, contents: &CallContents, erased: &mut Erased) -> Vec<Problem> {
        let mut problems = Vec::new();
        for id in &contents.ids {
            match self.shares.erase(id).await {
                Ok(count) => erased.add(Kind::Shares, count),
                Err(error) => problems.push(problem_from(&contents.call.item, Kind::Shares, &error.into())),
            }
        }
        problems
    }
}

/// What a call is known by in reports.
pub(super) fn names(contents: &CallContents) -> Vec<String> {
    let ids = contents.ids.iter().map(|id| id.as_str().to_owned());
    // An interaction, a key or a SID is the id of its item without the kind.
    let items = contents
        .item_ids()
        .filter_map(|id| Some(id.split_once('#')?.1.to_owned()));
    ids.chain(items).chain(contents.call.interaction_id.clone()).collect()
}

pub(super) fn call_changed(item: &str) -> Problem {
    problem_of(item, Kind::Calls, "call_changed", "Events keep changing the call.")
}

fn problem_of(item: &str, kind: Kind, code: &str, reason: &str) -> Problem {
    Problem {
        item: item.to_owned(),
        kind: Some(kind),
        code: code.to_owned(),
        reason: reason.to_owned(),
        until: None,
    }
}

fn problem_from(item: &str, kind: Kind, error: &ErasureError) -> Problem {
    tracing::warn!(%error, ?kind, "not erased");
    let (code, reason) = error.explain();
    problem_of(item, kind, code, &reason)
}
