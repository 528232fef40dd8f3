//! Measures how many new calls several writers can report per second: `cargo bench -p local --bench writers`.
//!
//! The current index is compared with the write path of version 0.1, in which each new call is one transaction with the counters of all calls,
//! its month, its day and its hour, which every writer changes. DynamoDB rejects a transaction that conflicts with another on an item. The local
//! database serializes them, so it has no conflicts and its rate shows only the work. The proxy counts how many writes conflict on an item.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    sync::{Arc, Mutex},
    time::Instant,
};

use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue, Put, TransactWriteItem, Update},
};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use futures_util::future::try_join_all;
use jiff::{SignedDuration, Timestamp};
use local::{
    aws::{Aws, DatabaseKind, Storage},
    serve::{Reach, bind, serve},
    stack::account,
};
use serde_json::Value;
use shared::{
    calls::{Calls, Field, Interaction},
    config::Env,
    ids::DispatchId,
    time::to_millis,
};

const WRITERS: [usize; 4] = [1, 4, 16, 64];
/// The number of calls in each measurement, reported by all writers together.
const CALLS: usize = 1920;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The observations of the proxy.
#[derive(Default)]
struct Observed {
    writes: u64,
    rejected: u64,
    /// The number of writes to an item during another write to it.
    conflicts: u64,
    /// Writes in progress, by item.
    in_progress: HashMap<String, u32>,
}

type Meter = Arc<Mutex<Observed>>;

/// The ids of the items that a write changes.
fn items(target: &str, body: &Value) -> Vec<String> {
    let id = |item: &Value| item["id"]["S"].as_str().map(str::to_owned);
    match target {
        "PutItem" => id(&body["Item"]).into_iter().collect(),
        _ => body["TransactItems"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|write| id(&write["Put"]["Item"]).or_else(|| id(&write["Update"]["Key"])))
            .collect(),
    }
}

async fn metered(State(meter): State<Meter>, request: Request, next: Next) -> Response {
    let target = request
        .headers()
        .get("x-amz-target")
        .and_then(|target| target.to_str().ok());
    let target = target
        .and_then(|target| target.rsplit('.').next())
        .unwrap_or_default()
        .to_owned();
    if !matches!(&target[..], "PutItem" | "TransactWriteItems") {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let changed = items(&target, &serde_json::from_slice(&body).unwrap_or_default());
    if let Ok(mut seen) = meter.lock() {
        seen.writes += 1;
        let mut conflicts = false;
        for id in &changed {
            let writes = seen.in_progress.entry(id.clone()).or_default();
            *writes += 1;
            conflicts |= *writes > 1;
        }
        seen.conflicts += u64::from(conflicts);
    }
    let answer = next.run(Request::from_parts(parts, Body::from(body))).await;
    if let Ok(mut seen) = meter.lock() {
        seen.rejected += u64::from(!answer.status().is_success());
        for id in &changed {
            if let Some(writes) = seen.in_progress.get_mut(id) {
                *writes -= 1;
            }
        }
        seen.in_progress.retain(|_, writes| *writes > 0);
    }
    answer
}

/// A new call, now, to a number that no other call has.
fn call(number: usize) -> Result<Interaction> {
    let start = Timestamp::now() + SignedDuration::from_millis(number as i64);
    Ok(Interaction {
        interaction_id: None,
        dispatch_id: DispatchId::parse(&format!("dispatch_{}_{}", start.as_second(), 15_550_000_000 + number)),
        fields: BTreeMap::from([
            (Field::CustomerName, Some("Louis Smith".into())),
            (Field::Status, Some("COMPLETED".into())),
            (Field::StartTime, Some(to_millis(start).into())),
        ]),
        at: start,
    })
}

/// Writes a row together with its counters, as version 0.1 did.
async fn write_with_counters(client: &Client, call: &Interaction) -> Result<()> {
    let id = call.dispatch_id.as_ref().map(DispatchId::to_string).unwrap_or_default();
    let text = |value: &str| AttributeValue::S(value.to_owned());
    let phone = id.rsplit('_').next().unwrap_or_default();
    // Version 0.1 also read the item and its neighbors before a write and once more after it.
    let read = async || {
        let get = client.get_item().table_name(account::CALLS_TABLE).key("id", text(&id));
        get.consistent_read(true).send().await?;
        let near = client.query().table_name(account::CALLS_TABLE).index_name("by-number");
        let near = near.key_condition_expression("near_number = :phone AND near_time BETWEEN :first AND :last");
        near.expression_attribute_values(":phone", text(phone))
            .expression_attribute_values(":first", AttributeValue::N("0".to_owned()))
            .expression_attribute_values(":last", AttributeValue::N("9999999999".to_owned()))
            .send()
            .await?;
        Ok::<_, Box<dyn Error + Send + Sync>>(())
    };
    read().await?;
    let start = to_millis(call.at);
    let put = Put::builder()
        .table_name(account::CALLS_TABLE)
        .item("id", text(&id))
        .item("facts", text(&"x".repeat(600)))
        .item("list_order", text(&format!("{start}#{id}")))
        .item("list_kind", text("missing"))
        .item("start_time", text(&start))
        .item("near_number", text(phone))
        .item("near_time", AttributeValue::N(call.at.as_second().to_string()))
        .condition_expression("attribute_not_exists(id)");
    let mut writes = vec![TransactWriteItem::builder().put(put.build()?).build()];
    for (from, to) in [(0, 7), (7, 10), (10, 13), (13, 16)] {
        let update = Update::builder()
            .table_name(account::CALLS_TABLE)
            .key("id", text(&format!("counts#missing#{}", &start[..from])))
            .update_expression("ADD #part :one")
            .expression_attribute_names("#part", &start[from..to])
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()));
        writes.push(TransactWriteItem::builder().update(update.build()?).build());
    }
    client
        .transact_write_items()
        .set_transact_items(Some(writes))
        .send()
        .await?;
    read().await
}

#[tokio::main]
async fn main() -> Result<()> {
    println!(
        "| write path | writers | calls a second | writes | rejected, and retried | met another write on an item |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    for with_counters in [true, false] {
        for writers in WRITERS {
            let state = tempfile::tempdir()?;
            let storage = Storage {
                dir: state.path().to_owned(),
                database: DatabaseKind::Memory,
            };
            let aws = Aws::open(&storage).await?;
            let meter = Meter::default();
            let listener = bind(0, Reach::Machine).await?;
            let url = listener.url();
            let router: Router = aws.router().layer(from_fn_with_state(meter.clone(), metered));
            let server = tokio::spawn(serve(listener, router, std::future::pending()));
            let environment = Env::from_iter([
                ("AWS_REGION", local::aws::REGION),
                ("AWS_ACCESS_KEY_ID", local::aws::ACCESS_KEY_ID),
                ("AWS_SECRET_ACCESS_KEY", local::aws::SECRET_ACCESS_KEY),
                ("AWS_ENDPOINT_URL", &url),
                ("CALLS_TABLE", account::CALLS_TABLE),
            ]);
            let clients = shared::clients::aws::Aws::from_env(&environment)?;
            account::create_tables(&clients.dynamodb()).await?;
            let (calls, client) = (Arc::new(Calls::from_env(&environment, &clients)?), clients.dynamodb());
            let began = Instant::now();
            let work = (0..writers).map(|writer| (writer, calls.clone(), client.clone()));
            let work = work.map(|(writer, calls, client)| async move {
                for number in (writer..CALLS).step_by(writers) {
                    let call = call(number)?;
                    match with_counters {
                        true => write_with_counters(&client, &call).await?,
                        false => calls.record_interaction(&call).await?,
                    }
                }
                Ok::<_, Box<dyn Error + Send + Sync>>(())
            });
            for done in try_join_all(work.map(tokio::spawn)).await? {
                done?;
            }
            let seconds = Instant::now().duration_since(began).as_secs_f64();
            let seen = meter.lock().map_err(|_| "poisoned")?;
            println!(
                "| {} | {writers} | {:.0} | {} | {} | {} |",
                if with_counters {
                    "version 0.1, with counters"
                } else {
                    "this version"
                },
                CALLS as f64 / seconds,
                seen.writes,
                seen.rejected,
                seen.conflicts
            );
            server.abort();
        }
    }
    Ok(())
}
