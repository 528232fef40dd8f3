//! Every route and every source of events, with every upstream that it uses, meets every kind of fault: the answer is one of the contract and
//! comes in time, nothing is half stored, nothing is paid for twice, and the next request works.
//!
//! `cargo test` runs a part of the matrix, in which every route meets each of its upstreams and every kind; with `FAULTS=all` it is the whole one.

mod call;
mod lane;
mod routes;
mod sources;
mod stored;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use local::{
    fault_proxy::{Fault, Kind, Moment, Upstream},
    template::{self, TEMPLATE},
};
use serde_json::json;
use shared::transcripts::LEASE_OVER;

use call::Call;
use lane::{Lane, Reply, TIME, TOLERANCE};
use routes::Prepared;
use sources::{SOURCES, deliver, end_leases, margin};
use stored::{Stored, stored};

/// Stacks on which cases run at the same time.
const LANES: usize = 12;
/// How often a message is delivered again.
const DELIVERIES: u32 = 5;

/// What meets a fault.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Route(String),
    Source(&'static str, &'static str),
}

impl Subject {
    /// The time that it has.
    fn time(&self) -> Duration {
        match self {
            Self::Route(_) => TIME,
            Self::Source(function, _) => margin(function) + TIME,
        }
    }

    fn is_transcription(&self) -> bool {
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
    fn is_one_step(&self) -> bool {
        match self {
            Self::Route(route) => {
                !self.is_transcription() && !route.contains("/webhooks") && !route.starts_with("POST /s/")
            }
            Self::Source(..) => false,
        }
    }

    /// Whether each request makes another item.
    fn makes_another(&self) -> bool {
        let makes = [
            "POST /recordings/{dispatch_id}/shares",
            "DELETE /recordings/{dispatch_id}",
            "POST /erasures",
        ];
        matches!(self, Self::Route(route) if makes.contains(&route.as_str()))
    }
}

/// Whether the same is stored, once or, where each request makes another item, more often.
fn is_same(subject: &Subject, one: &Stored, other: &Stored) -> bool {
    match subject.makes_another() {
        true => one.keys().eq(other.keys()),
        false => one == other,
    }
}

/// What was prepared for it.
enum Ready {
    Request(Prepared),
    Message(String),
}

async fn prepare(lane: &Lane, call: &Call, subject: &Subject) -> Ready {
    match subject {
        Subject::Route(route) => Ready::Request(routes::prepare(lane, call, route).await.expect("a known route")),
        Subject::Source(function, kind) => Ready::Message(sources::prepare(lane, call, (function, kind)).await),
    }
}

async fn run(lane: &Lane, call: &Call, subject: &Subject, ready: &Ready, time: u32) -> Reply {
    match (subject, ready) {
        (Subject::Route(route), Ready::Request(prepared)) => {
            lane.send(routes::request(lane, call, route, prepared)).await
        }
        (Subject::Source(function, _), Ready::Message(message)) => deliver(lane, function, message, time).await,
        _ => unreachable!("requests are for routes"),
    }
}

/// What happens without a fault.
#[derive(Clone, Debug)]
struct Clean {
    status: u16,
    requests: BTreeMap<Upstream, usize>,
    stored: Stored,
    /// The same before the request.
    before: Stored,
    /// Messages that it sends.
    sent: i64,
}

async fn clean(lane: &Lane, call: &Call, subject: &Subject) -> Result<Clean, String> {
    let ready = prepare(lane, call, subject).await;
    let before = stored(lane, call).await;
    let messages = lane.messages().await;
    lane.proxy.take_log();
    let reply = run(lane, call, subject, &ready, 1).await;
    if !reply.is_success() {
        return Err(format!("{subject:?} without a fault: {reply:?}"));
    }
    let mut requests = BTreeMap::new();
    for exchange in lane.proxy.take_log() {
        *requests.entry(exchange.asked.upstream).or_default() += 1;
    }
    Ok(Clean {
        status: reply.status,
        requests,
        stored: stored(lane, call).await,
        before,
        sent: lane.messages().await - messages,
    })
}

/// A case: who meets which fault, at all requests to the upstream or at one of them.
#[derive(Clone, Debug)]
struct Case {
    subject: Subject,
    upstream: Upstream,
    only: Option<usize>,
    fault: Fault,
}

/// Runs a case, and returns what is wrong.
async fn problems(lane: &Lane, call: &Call, case: &Case, clean: &Clean) -> Vec<String> {
    let mut wrong = Vec::new();
    let subject = &case.subject;
    let ready = prepare(lane, call, subject).await;
    let messages = match clean.requests.contains_key(&Upstream::Sqs) {
        true => Some(lane.messages().await),
        false => None,
    };
    lane.proxy.take_log();
    let calls = lane.stack.stack.whisper.calls();
    lane.inject(case.upstream, case.only, case.fault);
    let met = run(lane, call, subject, &ready, 1).await;
    lane.proxy.clear();
    let time = subject.time();
    if met.took > time + TOLERANCE {
        wrong.push(format!("answered after {:?} of {time:?}", met.took));
    }
    if let Some(problem) = undocumented(&met) {
        wrong.push(problem);
    }
    let mut now = stored(lane, call).await;
    if subject.is_one_step() {
        let is_whole = now == clean.before || is_same(subject, &now, &clean.stored);
        if !is_whole {
            wrong.push(format!("half stored: {}", difference(&clean.before, &now)));
        }
        if met.is_success() && now != clean.stored {
            wrong.push(format!("a success, and stored is {}", difference(&clean.stored, &now)));
        }
    }
    let is_done = met.is_success() && now == clean.stored;
    let mut last = met.clone();
    for delivery in 2..=DELIVERIES {
        if subject.is_transcription() {
            let left = end_leases(lane, call).await;
            if left > time + LEASE_OVER + LEASE_OVER {
                wrong.push(format!("a lease of {left:?}"));
            }
        }
        last = run(lane, call, subject, &ready, delivery).await;
        if is_done {
            break;
        }
        if let (Subject::Route(_), 202, 200) = (subject, last.status, clean.status) {
            // The request has handed over to the worker.
            for job in [
                json!({"recording_sid": call.sid()}),
                json!({"dispatch_id": call.dispatch()}),
            ] {
                deliver(lane, "transcription-worker", &job.to_string(), 1).await;
            }
            continue;
        }
        now = stored(lane, call).await;
        if last.is_success() && is_same(subject, &now, &clean.stored) || subject.is_one_step() {
            break;
        }
    }
    if !last.is_success() {
        wrong.push(format!("the next request fails: {} {}", last.status, last.body));
    }
    if !is_same(subject, &now, &clean.stored) {
        wrong.push(format!("stored afterwards: {}", difference(&clean.stored, &now)));
    }
    if let Some(before) = messages {
        let sent = lane.messages().await - before;
        if clean.sent > 0 && sent <= 0 {
            wrong.push("no message was sent".to_owned());
        }
    }
    // The answer is written to the log after it was sent.
    tokio::task::yield_now().await;
    let log = lane.proxy.take_log();
    for (file, times, delivered) in lane.paid(&log, calls) {
        if delivered > 1 || (case.upstream != Upstream::Whisper && times > 1) {
            wrong.push(format!(
                "{file} was paid for {times} times, {delivered} of which arrived"
            ));
        }
    }
    wrong
}

/// Why an answer is none of the contract, or none to a fault of an upstream.
fn undocumented(reply: &Reply) -> Option<String> {
    let body = reply.json();
    let is_gateways = body["message"].is_string() && body.get("code").is_none();
    let is_fault = reply.status < 400 || reply.status >= 500 || reply.status == 429;
    (reply.status == 501 || is_gateways || !is_fault).then(|| format!("{} {}", reply.status, reply.body))
}

fn difference(expected: &Stored, found: &Stored) -> String {
    let minus = |one: &Stored, other: &Stored| {
        let more = one.iter().filter(|(shape, count)| other.get(*shape) != Some(count));
        more.map(|(shape, count)| format!("{count}x {shape}"))
            .collect::<Vec<_>>()
    };
    format!(
        "without {:#?}, with {:#?}",
        minus(expected, found),
        minus(found, expected)
    )
}

fn kinds(upstream: Upstream) -> Vec<Fault> {
    let before = |kind| Fault {
        kind,
        moment: Moment::Before,
    };
    let after = |kind| Fault {
        kind,
        moment: Moment::After,
    };
    let mut faults = vec![
        before(Kind::Latency(Duration::from_secs(2))),
        after(Kind::Latency(Duration::from_secs(5))),
        before(Kind::Reset),
        after(Kind::Reset),
        after(Kind::Truncated),
        before(Kind::Throttled { retry_after: None }),
        before(Kind::ServerError),
        after(Kind::ServerError),
        after(Kind::SlowDrip),
        after(Kind::Endless),
    ];
    if matches!(upstream, Upstream::Twilio | Upstream::Whisper) {
        faults.push(before(Kind::Throttled { retry_after: Some(1) }));
        faults.push(before(Kind::Throttled { retry_after: Some(600) }));
    }
    faults
}

/// All routes of the template and all sources of events.
fn subjects() -> Vec<Subject> {
    let routes = template::routes(TEMPLATE).unwrap();
    let routes = routes.iter().map(|route| Subject::Route(route.key()));
    routes
        .chain(SOURCES.map(|(function, kind)| Subject::Source(function, kind)))
        .collect()
}

/// Runs `work` on each of `items`, on a few stacks at the same time.
async fn on_lanes<T, R, F>(
    lanes: &[Arc<Lane>],
    items: Vec<T>,
    work: impl Fn(Arc<Lane>, T) -> F + Clone + Send + 'static,
) -> Vec<R>
where
    T: Send + 'static,
    R: Send + 'static,
    F: Future<Output = R> + Send,
{
    let queue = Arc::new(Mutex::new(VecDeque::from(items)));
    let tasks: Vec<_> = lanes
        .iter()
        .map(|lane| {
            let (lane, queue, work) = (lane.clone(), queue.clone(), work.clone());
            tokio::spawn(async move {
                let mut results = Vec::new();
                loop {
                    let next = queue.lock().unwrap().pop_front();
                    let Some(item) = next else { return results };
                    results.push(work(lane.clone(), item).await);
                }
            })
        })
        .collect();
    let mut results = Vec::new();
    for task in tasks {
        results.extend(task.await.expect("no case panics"));
    }
    results
}

/// A call that no other case has.
fn another_call() -> Call {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    Call::new(NUMBER.fetch_add(1, Ordering::Relaxed))
}

async fn lanes() -> Vec<Arc<Lane>> {
    let mut lanes = Vec::new();
    for _ in 0..LANES {
        lanes.push(tokio::spawn(Lane::start(None)));
    }
    let mut started = Vec::new();
    for lane in lanes {
        started.push(Arc::new(lane.await.expect("a lane starts")));
    }
    started
}

/// The cases of a subject: each kind at all requests to each upstream, and each request whose answer alone is lost.
fn cases(subject: &Subject, clean: &Clean) -> Vec<Case> {
    let mut cases = Vec::new();
    for (upstream, requests) in &clean.requests {
        let of = |only, fault| Case {
            subject: subject.clone(),
            upstream: *upstream,
            only,
            fault,
        };
        cases.extend(kinds(*upstream).into_iter().map(|fault| of(None, fault)));
        let lost = Fault {
            kind: Kind::Reset,
            moment: Moment::After,
        };
        cases.extend((0..*requests).map(|number| of(Some(number), lost)));
    }
    cases
}

/// The part of the cases that `cargo test` runs: of each subject and upstream one kind and one lost answer, other ones for the next subject.
fn part(cases: Vec<Case>, turn: &mut usize) -> Vec<Case> {
    let mut upstreams: BTreeMap<(Upstream, bool), Vec<Case>> = BTreeMap::new();
    for case in cases {
        upstreams
            .entry((case.upstream, case.only.is_some()))
            .or_default()
            .push(case);
    }
    let chosen = upstreams.into_values().map(|mut cases| {
        *turn += 1;
        cases.swap_remove(*turn % cases.len())
    });
    chosen.collect()
}

#[test]
fn every_route_and_source_of_the_template_has_a_row() {
    let queues = template::queues(TEMPLATE)
        .unwrap()
        .into_iter()
        .map(|source| source.function);
    let schedules = template::schedules(TEMPLATE)
        .unwrap()
        .into_iter()
        .map(|source| source.function);
    let sources: BTreeSet<String> = queues.chain(schedules).collect();
    let known: BTreeSet<String> = SOURCES.iter().map(|(function, _)| (*function).to_owned()).collect();
    assert_eq!(sources, known);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_an_upstream_has_a_documented_answer_in_time_and_leaves_nothing_half_done() {
    let is_whole = std::env::var("FAULTS").is_ok_and(|which| which == "all");
    let only = std::env::var("FAULTS_OF").unwrap_or_default();
    let lanes = lanes().await;
    let mut subjects = subjects();
    subjects.retain(|subject| format!("{subject:?}").contains(&only));
    let run = |lane: Arc<Lane>, subject: Subject| async move {
        let clean = clean(&lane, &another_call(), &subject).await;
        (subject, clean)
    };
    let mut cleans: Vec<_> = on_lanes(&lanes, subjects, run).await;
    cleans.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut turn = 0;
    let (mut all, mut wrong) = (Vec::new(), Vec::new());
    for (subject, clean) in cleans {
        let clean = match clean {
            Ok(clean) => Arc::new(clean),
            Err(problem) => {
                wrong.push(problem);
                continue;
            }
        };
        let cases = cases(&subject, &clean);
        let cases = if is_whole { cases } else { part(cases, &mut turn) };
        all.extend(cases.into_iter().map(|case| (case, clean.clone())));
    }
    let number = all.len();
    // The slow ones do not wait until the end.
    all.sort_by_key(|(case, _)| std::cmp::Reverse(case.subject.time()));
    let run = |lane: Arc<Lane>, (case, clean): (Case, Arc<Clean>)| async move {
        let wrong = problems(&lane, &another_call(), &case, &clean).await;
        wrong
            .into_iter()
            .map(|wrong| format!("{case:?}: {wrong}"))
            .collect::<Vec<_>>()
    };
    wrong.extend(on_lanes(&lanes, all, run).await.into_iter().flatten());
    println!("{number} cases");
    assert!(
        wrong.is_empty(),
        "{} of {number} cases:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Functions that started without their secrets meet each kind of fault of Secrets Manager.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_without_their_secrets_answer_in_time_and_work_when_secrets_manager_does() {
    let mut functions = BTreeSet::new();
    let routes = template::routes(TEMPLATE).unwrap().into_iter();
    // One route of each function that needs no call before, because the functions can't make one.
    let routes = routes.filter(|route| route.method != "HEAD" && !route.path.contains("{proxy+}"));
    let routes: Vec<_> = routes
        .filter(|route| {
            let makes_first = ["{share_id}", "{erasure_id}", "{token}", "/console/session"];
            let key = route.key();
            let makes_first = makes_first.iter().any(|part| route.path.contains(part))
                || matches!(
                    key.as_str(),
                    "GET /recordings"
                        | "GET /reports/completeness"
                        | "GET /recordings/{dispatch_id}/transcript"
                        | "GET /recordings/{dispatch_id}/shares"
                        | "GET /api/twilio/transcript/{recording_sid}"
                        | "DELETE /recordings/{dispatch_id}"
                        | "POST /erasures"
                );
            !makes_first && functions.insert(route.function.clone())
        })
        .map(|route| route.key())
        .collect();
    assert!(routes.len() > 10, "{routes:?}");
    let is_whole = std::env::var("FAULTS").is_ok_and(|which| which == "all");
    let kinds = kinds(Upstream::SecretsManager)
        .into_iter()
        .enumerate()
        .map(|(turn, fault)| {
            let mut number = turn;
            let mut routes = routes.clone();
            routes.retain(|_| {
                number += 1;
                is_whole || number % 5 == 0
            });
            tokio::spawn(async move {
                let denied = Fault {
                    kind: Kind::Denied,
                    moment: Moment::Before,
                };
                let lane = Lane::start(Some((Upstream::SecretsManager, denied))).await;
                let mut wrong = Vec::new();
                for route in routes {
                    let call = another_call();
                    let prepared = routes::prepare(&lane, &call, &route).await.expect("a known route");
                    lane.inject(Upstream::SecretsManager, None, fault);
                    let met = lane.send(routes::request(&lane, &call, &route, &prepared)).await;
                    lane.proxy.clear();
                    if met.took > TIME + TOLERANCE {
                        wrong.push(format!("{route} {fault:?}: answered after {:?}", met.took));
                    }
                    wrong.extend(undocumented(&met).map(|problem| format!("{route} {fault:?}: {problem}")));
                    let next = lane.send(routes::request(&lane, &call, &route, &prepared)).await;
                    if !next.is_success() {
                        wrong.push(format!(
                            "{route} {fault:?}: the next request fails: {} {}",
                            next.status, next.body
                        ));
                    }
                }
                wrong
            })
        });
    let mut wrong = Vec::new();
    for kind in kinds.collect::<Vec<_>>() {
        wrong.extend(kind.await.expect("no case panics"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
