//! Every route and every source of events, with every upstream that it uses, meets every kind of fault: the answer is one of the contract and
//! comes in time, nothing is half stored, nothing is paid for twice, and the next request works.
//!
//! `cargo test` runs a part of the matrix, in which every route meets each of its upstreams and every kind; with `FAULTS=all` it is the whole one,
//! and with `FAULTS_OF=/shares` only what has that in its name.

mod call;
mod case;
mod lane;
mod routes;
mod sources;
mod stored;
mod subject;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use local::{
    fault_proxy::{Fault, Kind, Moment, Upstream},
    template::{self, TEMPLATE},
};

use call::Call;
use case::{Case, Clean, cases, clean, kinds, part, problems, undocumented};
use lane::{Lane, TIME, TOLERANCE};
use reqwest::Method;
use serde_json::json;
use sources::SOURCES;
use stored::stored;
use subject::{Subject, subjects};

/// Stacks on which cases run at the same time.
const LANES: usize = 12;

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

#[tokio::test]
async fn a_transcript_that_is_missing_in_the_index_is_there_after_the_next_request() {
    let lane = Lane::start(None).await;
    let call = another_call();
    call.twilio(&lane);
    let body = json!({"recording_sid": call.sid()});
    let is_indexed = async || {
        let stored = stored(&lane, &call).await;
        stored.keys().any(|shape| shape.starts_with("calls "))
    };
    lane.proxy.inject(|asked| {
        let fault = Fault {
            kind: Kind::ServerError,
            moment: Moment::Before,
        };
        // The index alone writes in transactions.
        (asked.operation == "TransactWriteItems").then_some(fault)
    });
    let made = lane.must(Method::POST, "/api/twilio/transcript", &body).await;
    assert_eq!((&made["status"], is_indexed().await), (&json!("completed"), false));
    lane.proxy.clear();
    let stored = lane.must(Method::POST, "/api/twilio/transcript", &body).await;
    assert_eq!((&stored["transcript"], is_indexed().await), (&made["transcript"], true));
    assert_eq!(lane.stack.stack.whisper.calls(), 1);
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
