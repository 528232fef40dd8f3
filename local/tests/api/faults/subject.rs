//! What meets a fault: a route or a source of events.

use std::time::Duration;

use local::template::{self, TEMPLATE};

use super::{
    call::Call,
    lane::{Lane, Reply, TIME},
    routes::{self, Prepared},
    sources::{self, SOURCES, deliver, margin},
    stored::Stored,
};

/// What meets a fault.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    Route(String),
    Source(&'static str, &'static str),
}

impl Subject {
    /// The time that it has.
    pub(super) fn time(&self) -> Duration {
        match self {
            Self::Route(_) => TIME,
            Self::Source(function, _) => margin(function) + TIME,
        }
    }

    pub(super) fn is_transcription(&self) -> bool {
        match self {
            Self::Route(route) => {
                route.starts_with("POST")
                    && (route.ends_with("/transcript")
                        || route.contains("twilio/{proxy+}")
                        || route == "POST /recordings/{proxy+}")
            }
            Self::Source(function, _) => *function == "transcription-worker",
        }
    }
}

impl Subject {
    /// Whether each of its requests leaves all or nothing. Transcriptions and reports are continued by the next one or by the reconciler, and a
    /// passcode is counted before the share opens.
    pub(super) fn is_one_step(&self) -> bool {
        match self {
            Self::Route(route) => {
                !self.is_transcription() && !route.contains("/webhooks") && !route.starts_with("POST /s/")
            }
            Self::Source(..) => false,
        }
    }

    /// Whether it changes the index only by what it finds in the bucket. That is written if it is quick, and otherwise by the next request.
    pub(super) fn only_finds(&self) -> bool {
        match self {
            Self::Route(route) => route.starts_with("GET") || route.starts_with("HEAD") || route.ends_with("/waveform"),
            Self::Source(..) => false,
        }
    }

    /// Whether each request makes another item.
    pub(super) fn makes_another(&self) -> bool {
        let makes = [
            "POST /recordings/{dispatch_id}/shares",
            "DELETE /recordings/{dispatch_id}",
            "POST /erasures",
        ];
        matches!(self, Self::Route(route) if makes.contains(&route.as_str()))
    }
}

/// Whether the same is stored, once or, where each request makes another item, more often.
pub(super) fn is_same(subject: &Subject, one: &Stored, other: &Stored) -> bool {
    match subject.makes_another() {
        true => one.keys().eq(other.keys()),
        false => one == other,
    }
}

/// What was prepared for it.
pub(super) enum Ready {
    Request(Prepared),
    Message(String),
}

pub(super) async fn prepare(lane: &Lane, call: &Call, subject: &Subject) -> Ready {
    match subject {
        Subject::Route(route) => Ready::Request(
            routes::prepare(lane, call, route)
                .await
                .unwrap_or_else(|| panic!("{route} of template.yaml has no row in faults/routes.rs")),
        ),
        Subject::Source(function, kind) => Ready::Message(sources::prepare(lane, call, (function, kind)).await),
    }
}

pub(super) async fn run(lane: &Lane, call: &Call, subject: &Subject, ready: &Ready, time: u32) -> Reply {
    match (subject, ready) {
        (Subject::Route(route), Ready::Request(prepared)) => {
            lane.send(routes::request(lane, call, route, prepared)).await
        }
        (Subject::Source(function, _), Ready::Message(message)) => deliver(lane, function, message, time).await,
        _ => unreachable!("requests are for routes"),
    }
}

/// All routes of the template and all sources of events.
pub(super) fn subjects() -> Vec<Subject> {
    let routes = template::routes(TEMPLATE).unwrap();
    let routes = routes.iter().map(|route| Subject::Route(route.key()));
    routes
        .chain(SOURCES.map(|(function, kind)| Subject::Source(function, kind)))
        .collect()
}
