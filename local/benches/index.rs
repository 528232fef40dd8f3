//! Measures the cost of a page of the list in a large index: `cargo bench -p local --bench index`, with the number of calls after `--` (default
//! 100,000). A million calls take some minutes and 8 GB in the folder for temporary files (`TMPDIR`).
//!
//! The rows are copies of a row that the index wrote, loaded directly into the database file. The pages are then read as by `list-recordings`,
//! through a proxy that makes DynamoDB report the consumed capacity of each request. CPU time is that of the thread that reads the pages; the
//! database runs on other threads.

use std::{
    error::Error,
    fs,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::header,
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use dynoxide::{AttributeValue, Database, Item};
use jiff::{SignedDuration, Timestamp};
use local::{
    aws::{Aws, DatabaseKind, Storage},
    serve::{Reach, bind, serve},
    stack::{account, demo_data},
};
use serde_json::{Value, json};
use shared::{
    calls::{Call, Calls, Cursor, ListFilter, ListOrder, ListStart},
    config::Env,
    time::to_millis,
};

/// The default number of calls in the index.
const CALLS: i64 = 100_000;
/// The number of days over which the calls are distributed, within ten hours of each day.
const DAYS: i64 = 365;
/// The number of earlier days with one call each.
const QUIET_DAYS: i64 = 30;
/// How often each page is read; the median is printed.
const RUNS: usize = 41;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Capacity units and requests since the last reset.
type Meter = Arc<Mutex<(f64, u32)>>;

async fn metered(State(meter): State<Meter>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let mut asked: Value =
        serde_json::from_slice(&to_bytes(body, usize::MAX).await.unwrap_or_default()).unwrap_or_default();
    asked["ReturnConsumedCapacity"] = "TOTAL".into();
    let asked = asked.to_string();
    parts.headers.insert(header::CONTENT_LENGTH, asked.len().into());
    let (parts, body) = next
        .run(Request::from_parts(parts, Body::from(asked)))
        .await
        .into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    if let (Some(units), Ok(mut meter)) = (answer["ConsumedCapacity"]["CapacityUnits"].as_f64(), meter.lock()) {
        *meter = (meter.0 + units, meter.1 + 1);
    }
    Response::from_parts(parts, Body::from(body))
}

/// A call like the sample, with this number.
struct Like {
    number: i64,
    start: Timestamp,
    phone: String,
}

impl Like {
    /// The first calls are on the quiet days.
    fn new(number: i64, per_day: i64) -> Self {
        let (day, of_day) = match number < QUIET_DAYS {
            true => (number - QUIET_DAYS, 0),
            false => ((number - QUIET_DAYS) / per_day, (number - QUIET_DAYS) % per_day),
        };
        let start: Timestamp = "2024-08-09T08:00:00Z".parse().unwrap_or_default();
        Self {
            number,
            start: start
                + SignedDuration::from_hours(24 * day)
                + SignedDuration::from_millis(of_day * 36_000_000 / per_day),
            phone: format!("1510{:07}", number % 50_000),
        }
    }

    fn names(&self) -> [String; 4] {
        [
            self.start.as_second().to_string(),
            to_millis(self.start),
            self.phone.clone(),
            format!("interaction_{:07}", self.number),
        ]
    }

    fn call(&self) -> Call {
        let [unix, start, phone, interaction] = self.names();
        Call {
            dispatch_id: format!("dispatch_{unix}_{phone}"),
            s3_key: Some(format!(
                "egress-recordings/{}/outbound-{phone}_{unix}.mp4",
                &start[..10]
            )),
            size: Some(2_880_000),
            etag: Some("b1946ac92492d2347c6235b4d2611184".into()),
            interaction_id: Some(interaction),
            customer_name: Some("Louis Smith".into()),
            phone: Some(format!("+{phone}")),
            status: Some("COMPLETED".into()),
            outcome: Some("PAYMENT_PROMISED".into()),
            duration: Some(180),
            start_time: Some(self.start),
            end_time: Some(self.start + SignedDuration::from_secs(180)),
            ..Call::default()
        }
    }

    /// The sample's item with this call's names in place of its own, and with rare values for some of the calls.
    fn item(&self, sample: &Item, names: &[String; 4]) -> Item {
        let own = self.names();
        let renamed = |text: &str| {
            let day = (names[1][..10].to_owned(), own[1][..10].to_owned());
            let pairs = names.iter().cloned().zip(own.iter().cloned());
            pairs
                .chain([day])
                .fold(text.to_owned(), |text, (from, to)| text.replace(&from, &to))
        };
        let mut item: Item = sample
            .iter()
            .map(|(name, value)| {
                let value = match value {
                    AttributeValue::S(text) => AttributeValue::S(renamed(text)),
                    other => other.clone(),
                };
                (name.clone(), value)
            })
            .collect();
        let mut set = |name: &str, value: AttributeValue| drop(item.insert(name.to_owned(), value));
        if self.number % 100 == 0 {
            set("outcome", AttributeValue::S("WRONG_NUMBER".into()));
        }
        if self.number % 10 == 0 {
            set("status", AttributeValue::S("FAILED".into()));
            set("duration", AttributeValue::N("600".into()));
        }
        if self.number % 2 == 0 {
            set("has_transcript", AttributeValue::BOOL(true));
        }
        item
    }
}

fn load(database: &Database, calls: i64, sample: &Like, sample_item: &Item) -> Result<()> {
    let (names, per_day) = (sample.names(), calls / DAYS);
    let mut batch = Vec::new();
    database.enable_bulk_loading()?;
    for number in 1..calls {
        batch.push(Like::new(number, per_day).item(sample_item, &names));
        if batch.len() == 20_000 || number == calls - 1 {
            let options = dynoxide::ImportOptions::default();
            database.import_items(account::CALLS_TABLE, std::mem::take(&mut batch), options)?;
        }
    }
    database.disable_bulk_loading()?;
    Ok(())
}

/// The CPU time of this thread so far.
fn cpu() -> Result<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split(' ').next().ok_or("an empty schedstat")?.parse()?;
    Ok(Duration::from_nanos(nanoseconds))
}

struct Bench {
    calls: Calls,
    meter: Meter,
}

impl Bench {
    async fn page(
        &self,
        name: &str,
        filter: ListFilter,
        order: ListOrder,
        start: ListStart,
        limit: usize,
    ) -> Result<Option<Cursor>> {
        let mut times = Vec::new();
        let mut found = None;
        let is_deep = matches!(start, ListStart::Offset(offset) if offset > 1000);
        for _ in 0..if is_deep { 3 } else { RUNS } {
            *self.meter.lock().map_err(|_| "poisoned")? = (0.0, 0);
            let (began, used) = (Instant::now(), cpu()?);
            found = Some(self.calls.list(&filter, order, start.clone(), limit).await?);
            times.push((cpu()? - used, Instant::now().duration_since(began)));
        }
        let page = found.ok_or("no run")?;
        self.print(name, page.calls.len(), times)?;
        Ok(page.next)
    }

    fn print(&self, name: &str, rows: usize, times: Vec<(Duration, Duration)>) -> Result<()> {
        let (mut used, mut taken): (Vec<Duration>, Vec<Duration>) = times.into_iter().unzip();
        used.sort();
        taken.sort();
        let (units, requests) = *self.meter.lock().map_err(|_| "poisoned")?;
        let median = |times: &[Duration]| times[times.len() / 2].as_secs_f64() * 1e3;
        println!(
            "| {name} | {rows} | {units:.1} | {requests} | {:.2} | {:.1} |",
            median(&used),
            median(&taken)
        );
        Ok(())
    }
}

fn main() -> Result<()> {
    // The pages are read on this thread, and everything else runs on other threads.
    let others = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let this = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    this.block_on(bench(&others))
}

async fn bench(others: &tokio::runtime::Runtime) -> Result<()> {
    let given = std::env::args().find_map(|argument| argument.parse().ok());
    let count: i64 = given.unwrap_or(CALLS).max(100 * DAYS);
    let state = tempfile::tempdir()?;
    let aws = Aws::open(&Storage {
        dir: state.path().to_owned(),
        database: DatabaseKind::File,
    })
    .await?;
    let meter = Meter::default();
    let listener = bind(0, Reach::Machine).await?;
    let url = listener.url();
    let router: Router = aws.router().layer(from_fn_with_state(meter.clone(), metered));
    others.spawn(serve(listener, router, std::future::pending()));
    let environment = Env::from_iter([
        ("AWS_REGION", local::aws::REGION),
        ("AWS_ACCESS_KEY_ID", local::aws::ACCESS_KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", local::aws::SECRET_ACCESS_KEY),
        ("AWS_ENDPOINT_URL", &url),
        ("CALLS_TABLE", account::CALLS_TABLE),
    ]);
    let clients = shared::clients::aws::Aws::from_env(&environment)?;
    account::create_tables(&clients.dynamodb()).await?;
    let calls = Calls::from_env(&environment, &clients)?;
    let sample = Like::new(0, count / DAYS);
    demo_data::index_call(&calls, &sample.call()).await?;

    let database = Database::new(
        state
            .path()
            .join("dynamodb.sqlite")
            .to_str()
            .ok_or("a path that is not UTF-8")?,
    )?;
    let get = json!({"TableName": account::CALLS_TABLE, "Key": {"id": {"S": sample.call().dispatch_id}}});
    let item = database
        .get_item(serde_json::from_value(get)?)?
        .item
        .ok_or("no sample")?;
    let began = Instant::now();
    load(&database, count, &sample, &item)?;
    drop(database);
    println!(
        "{count} calls on {DAYS} days loaded in {:.0} s\n",
        Instant::now().duration_since(began).as_secs_f64()
    );

    println!("| page | rows | read units | requests | CPU ms | ms |\n| --- | --- | --- | --- | --- | --- |");
    let bench = Bench { calls, meter };
    let all = ListFilter::default;
    let newest = ListOrder::Newest;
    let mut next = bench
        .page("first, `limit=10`", all(), newest, ListStart::Offset(0), 10)
        .await?;
    bench
        .page("first, `limit=100`", all(), newest, ListStart::Offset(0), 100)
        .await?;
    bench
        .page("20 of one day", all(), newest, ListStart::Offset(0), 20)
        .await?;
    let oldest = ListOrder::Oldest;
    bench
        .page("20 of 20 days", all(), oldest, ListStart::Offset(0), 20)
        .await?;
    for _ in 0..998 {
        let start = next.map_or(ListStart::Offset(0), ListStart::After);
        next = bench.calls.list(&all(), newest, start, 10).await?.next;
    }
    let start = next.map_or(ListStart::Offset(0), ListStart::After);
    bench.page("number 1000, by `cursor`", all(), newest, start, 10).await?;
    for offset in [10, 1000, 10_000, 99_000.min(count as u64 - 1000)] {
        bench
            .page(
                &format!("`offset={offset}`"),
                all(),
                newest,
                ListStart::Offset(offset),
                10,
            )
            .await?;
    }
    let middle = Like::new(count / 2, count / DAYS);
    let hour = SignedDuration::from_hours(1);
    for (name, filter) in [
        (
            "`status=FAILED`, one in 10",
            ListFilter {
                status: Some("FAILED".into()),
                ..all()
            },
        ),
        (
            "`outcome=WRONG_NUMBER`, one in 100",
            ListFilter {
                outcome: Some("WRONG_NUMBER".into()),
                ..all()
            },
        ),
        (
            "`outcome=` of no call",
            ListFilter {
                outcome: Some("NONE".into()),
                ..all()
            },
        ),
        (
            "`phone`",
            ListFilter {
                phone: Some(middle.phone.clone()),
                ..all()
            },
        ),
        (
            "`interaction_id`",
            ListFilter {
                interaction_id: middle.call().interaction_id,
                ..all()
            },
        ),
        (
            "`started_before`, half a year ago",
            ListFilter {
                started_before: Some(middle.start),
                ..all()
            },
        ),
        (
            "`started_after` and `_before`, one hour",
            ListFilter {
                started_after: Some(middle.start - hour),
                started_before: Some(middle.start),
                ..all()
            },
        ),
        (
            "`min_duration=300`, one in 10",
            ListFilter {
                min_duration: Some(300),
                ..all()
            },
        ),
        (
            "`has_transcript=true`, one in 2",
            ListFilter {
                has_transcript: Some(true),
                ..all()
            },
        ),
        ("`has_recording=false`, none", ListFilter { missing: true, ..all() }),
    ] {
        bench.page(name, filter, newest, ListStart::Offset(0), 10).await?;
    }
    let total = async |name: &str| {
        let mut times = Vec::new();
        for _ in 0..3 {
            *bench.meter.lock().map_err(|_| "poisoned")? = (0.0, 0);
            let (began, used) = (Instant::now(), cpu()?);
            bench.calls.total(false).await?;
            times.push((cpu()? - used, Instant::now().duration_since(began)));
        }
        bench.print(name, 0, times)
    };
    total("`include_total=true` without a ledger, in addition").await?;
    let now = Timestamp::now();
    let began = Instant::now();
    *bench.meter.lock().map_err(|_| "poisoned")? = (0.0, 0);
    while let Some(due) = bench.calls.next_day_to_close(now).await? {
        bench.calls.count_day(&due, now, |_| {}).await?;
    }
    bench.calls.finish_ledger_round(now).await?;
    let (units, requests) = *bench.meter.lock().map_err(|_| "poisoned")?;
    let closed = Instant::now().duration_since(began);
    *bench.meter.lock().map_err(|_| "poisoned")? = (0.0, 0);
    for due in bench.calls.due_days(now).await? {
        bench.calls.count_day(&due, now, |_| {}).await?;
    }
    let idle = *bench.meter.lock().map_err(|_| "poisoned")?;
    total("`include_total=true`, in addition").await?;
    println!(
        "\nThe ledger of all days: {units:.0} units of reads and writes, {requests} requests, {:.0} s. A round on three days without calls: {:.1} units, {} requests.",
        closed.as_secs_f64(),
        idle.0,
        idle.1
    );
    Ok(())
}
