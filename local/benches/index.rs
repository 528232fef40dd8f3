//! What a page of the list costs in an index of a million calls: `cargo bench --profile dev -p local --bench index`, some minutes.
//!
//! It needs some 8 GB for the database, in the folder for temporary files (`TMPDIR`).
//!
//! Rows are copies of one that the index itself made, loaded into a database file past its API; their counts are loaded with them. Then the pages
//! are read as `list-recordings` reads them, through a proxy that has DynamoDB say what each request consumed.

use std::{
    collections::BTreeMap,
    error::Error,
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
    seed,
    serve::{Reach, bind, serve},
};
use serde_json::{Value, json};
use shared::{
    calls::{Call, Calls, Cursor, ListFilter, ListOrder, ListStart},
    config::Env,
    time::to_millis,
};

/// Calls in the index.
const CALLS: i64 = 1_000_000;
/// Days that they are spread over, ten hours of each.
const DAYS: i64 = 365;
const PER_DAY: i64 = CALLS / DAYS;
/// Times that each page is read; the median is told.
const RUNS: usize = 9;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Capacity units and requests since the last look.
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

/// Call number `number` of the sample's kind.
struct Like {
    number: i64,
    start: Timestamp,
    phone: String,
}

impl Like {
    fn new(number: i64) -> Self {
        let (day, of_day) = (number / PER_DAY, number % PER_DAY);
        let start: Timestamp = "2024-08-09T08:00:00Z".parse().unwrap_or_default();
        Self {
            number,
            start: start
                + SignedDuration::from_hours(24 * day)
                + SignedDuration::from_millis(of_day * 36_000_000 / PER_DAY),
            phone: format!("1510{:07}", number % 50_000),
        }
    }

    fn names(&self) -> [String; 4] {
        let unix = self.start.as_second();
        [
            format!("{unix}_{}_{}", self.phone, self.number),
            to_millis(self.start),
            self.phone.clone(),
            format!("interaction_{:07}", self.number),
        ]
    }

    fn call(&self) -> Call {
        let [id, start, phone, interaction] = self.names();
        Call {
            dispatch_id: format!("dispatch_{id}"),
            s3_key: Some(format!("egress-recordings/{}/outbound-{phone}_{id}.mp4", &start[..10])),
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

    /// The sample's item with this call's names in place of its own; now and then something rarer than the usual.
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

fn load(database: &Database, sample: Call, sample_item: Item) -> Result<()> {
    let names = Like::new(0).names();
    assert_eq!(sample.dispatch_id, format!("dispatch_{}", names[0]));
    let options = dynoxide::ImportOptions::default();
    let mut counts: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    let mut batch = Vec::new();
    database.enable_bulk_loading()?;
    for number in 1..CALLS {
        let like = Like::new(number);
        batch.push(like.item(&sample_item, &names));
        let start = to_millis(like.start);
        let mut from = 0;
        for to in [7, 10, 13, 16] {
            let node = counts.entry(format!("counts#{}", &start[..from])).or_default();
            *node.entry(start[from..to].to_owned()).or_default() += 1;
            from = to;
        }
        if batch.len() == 20_000 || number == CALLS - 1 {
            database.import_items(seed::CALLS_TABLE, std::mem::take(&mut batch), options.clone())?;
        }
    }
    let nodes = counts.into_iter().map(|(id, parts)| {
        let mut item = Item::from([("id".to_owned(), AttributeValue::S(id))]);
        item.extend(
            parts
                .into_iter()
                .map(|(part, count)| (part, AttributeValue::N(count.to_string()))),
        );
        item
    });
    database.import_items(seed::CALLS_TABLE, nodes.collect(), options)?;
    database.disable_bulk_loading()?;
    Ok(())
}

struct Bench {
    calls: Calls,
    meter: Meter,
    first: f64,
}

impl Bench {
    async fn page(
        &mut self,
        name: &str,
        filter: ListFilter,
        order: ListOrder,
        start: ListStart,
        limit: usize,
    ) -> Result<Option<Cursor>> {
        let mut times = Vec::new();
        let mut found = None;
        for _ in 0..RUNS {
            *self.meter.lock().map_err(|_| "poisoned")? = (0.0, 0);
            let began = Instant::now();
            found = Some(self.calls.list(&filter, order, start.clone(), limit).await?);
            times.push(began.elapsed());
        }
        let page = found.ok_or("no run")?;
        self.print(name, page.calls.len(), &mut times)?;
        Ok(page.next)
    }

    fn print(&mut self, name: &str, rows: usize, times: &mut [Duration]) -> Result<()> {
        times.sort();
        let (units, requests) = *self.meter.lock().map_err(|_| "poisoned")?;
        if self.first == 0.0 {
            self.first = units;
        }
        println!(
            "| {name} | {rows} | {units:.1} | {:.1} | {requests} | {:.1} |",
            units / self.first,
            times[times.len() / 2].as_secs_f64() * 1e3,
        );
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
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
    tokio::spawn(serve(listener, router, std::future::pending()));
    let environment = Env::from_iter([
        ("AWS_REGION", local::aws::REGION),
        ("AWS_ACCESS_KEY_ID", local::aws::ACCESS_KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", local::aws::SECRET_ACCESS_KEY),
        ("AWS_ENDPOINT_URL", &url),
        ("CALLS_TABLE", seed::CALLS_TABLE),
    ]);
    let clients = shared::clients::aws::Aws::from_env(&environment)?;
    seed::calls_table(&clients.dynamodb()).await?;
    let calls = Calls::from_env(&environment, &clients)?;
    let sample = Like::new(0).call();
    calls.put(&sample).await?;

    let database = Database::new(
        state
            .path()
            .join("dynamodb.sqlite")
            .to_str()
            .ok_or("a path that is not UTF-8")?,
    )?;
    let get = json!({"TableName": seed::CALLS_TABLE, "Key": {"id": {"S": sample.dispatch_id}}});
    let item = database
        .get_item(serde_json::from_value(get)?)?
        .item
        .ok_or("no sample")?;
    let began = Instant::now();
    load(&database, sample, item)?;
    drop(database);
    println!(
        "{CALLS} calls on {DAYS} days loaded in {:.0} s\n",
        began.elapsed().as_secs_f64()
    );

    println!("| page | rows | read units | times the first | requests | ms |\n| --- | --- | --- | --- | --- | --- |");
    let mut bench = Bench {
        calls,
        meter,
        first: 0.0,
    };
    let all = ListFilter::default;
    let newest = ListOrder::Newest;
    let mut next = bench
        .page("first, `limit=10`", all(), newest, ListStart::Offset(0), 10)
        .await?;
    bench
        .page("first, `limit=100`", all(), newest, ListStart::Offset(0), 100)
        .await?;
    bench
        .page("first, `order=asc`", all(), ListOrder::Oldest, ListStart::Offset(0), 10)
        .await?;
    for _ in 0..998 {
        let start = next.map_or(ListStart::Offset(0), ListStart::After);
        next = bench.calls.list(&all(), newest, start, 10).await?.next;
    }
    let start = next.map_or(ListStart::Offset(0), ListStart::After);
    bench.page("number 1000, by `cursor`", all(), newest, start, 10).await?;
    for offset in [10, 10_000, 100_000, 500_000, 999_990] {
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
    let middle = Like::new(CALLS / 2);
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
            "`phone`, 20 calls",
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
    let mut times = Vec::new();
    for _ in 0..RUNS {
        *bench.meter.lock().map_err(|_| "poisoned")? = (0.0, 0);
        let began = Instant::now();
        bench.calls.total(false).await?;
        times.push(began.elapsed());
    }
    bench.print("`include_total=true`, in addition", 0, &mut times)?;

    // 1000 rows in a row tell what a row takes.
    *bench.meter.lock().map_err(|_| "poisoned")? = (0.0, 0);
    bench.calls.list(&all(), newest, ListStart::Offset(0), 1000).await?;
    let per_row = bench.meter.lock().map_err(|_| "poisoned")?.0 / 1000.0;
    println!(
        "\nReading and dropping: {per_row:.3} units for each row; offset 10000 {:.0}, 100000 {:.0}, 500000 {:.0}.",
        1e4 * per_row,
        1e5 * per_row,
        5e5 * per_row
    );
    Ok(())
}
