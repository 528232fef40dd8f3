//! Mixed traffic with random faults of every upstream and functions that are killed, and then an account of every accepted request:
//! `cargo bench --profile dev -p local --bench soak -- --minutes 10 --seed 1`.
//!
//! After the traffic the faults stop and the queues drain; leases and messages that are lost become due at once, as if the time had passed, and
//! the reconciler runs. The program ends with an error if something is not accounted for. `--break message`, `--break row`, `--break copy` and
//! `--break transcript` break one thing on purpose, to show that the checker notices.

mod checker;
mod ledger;
mod system;
mod traffic;

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::types::AttributeValue;
use local::stack::account;

use checker::Checker;
use system::{Result, System};
use traffic::Actor;

/// Clients of the API at the same time.
const ACTORS: u64 = 6;
/// How often what is lost becomes due.
const DRAINS: usize = 14;

/// An argument with a value.
fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args();
    arguments.find(|argument| argument == name)?;
    arguments.next()
}

/// Makes everything due that waits for time to pass: leases, queued jobs, copies and erasures.
async fn let_time_pass(system: &System) -> Result<usize> {
    let client = system.aws()?.dynamodb();
    let mut open = 0;
    for (table, marks) in [
        (account::TRANSCRIPTS_TABLE, &["lease_until", "noted_at"][..]),
        (account::LIFECYCLE_TABLE, &["due_at"][..]),
    ] {
        let mut items = client.scan().table_name(table).into_paginator().items().send();
        while let Some(item) = items.next().await {
            let item = item?;
            let text = |name: &str| {
                item.get(name)
                    .and_then(|value| value.as_s().ok())
                    .cloned()
                    .unwrap_or_default()
            };
            let is_open = match table {
                account::TRANSCRIPTS_TABLE => {
                    ["in_progress", "queued"].contains(&text("state").as_str()) || item.contains_key("job_list")
                }
                _ => ["copy", "erasure"].iter().any(|list| text("due_list").contains(list)),
            };
            if !is_open {
                continue;
            }
            open += 1;
            for mark in marks.iter().filter(|mark| item.contains_key(**mark)) {
                // It must not come back if the item has been deleted meanwhile.
                let update = client
                    .update_item()
                    .table_name(table)
                    .key("id", AttributeValue::S(text("id")));
                let update = update
                    .update_expression("SET #mark = :past")
                    .condition_expression("attribute_exists(#mark)")
                    .expression_attribute_names("#mark", *mark)
                    .expression_attribute_values(":past", AttributeValue::N("1700000000000".into()));
                let _ = update.send().await;
            }
        }
    }
    Ok(open)
}

/// Waits until no message can be received.
async fn drain(system: &System) -> Result<(u64, u64, u64)> {
    let began = Instant::now();
    loop {
        let messages = system.messages().await?;
        if messages.0 == 0 || began.elapsed() > Duration::from_secs(120) {
            return Ok(messages);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// Breaks one thing that was accepted.
async fn break_on_purpose(system: &System, what: &str) -> Result<()> {
    let calls = system.ledger.all();
    let mut kept = calls.iter().filter(|call| !call.is_erasure_tried);
    let dynamodb = system.aws()?.dynamodb();
    match what {
        "row" => {
            let call = kept
                .find(|call| call.status.is_some() && !call.is_uploaded)
                .ok_or("no such call")?;
            let id = format!("interaction#{}", call.interaction());
            let delete = dynamodb
                .delete_item()
                .table_name(account::CALLS_TABLE)
                .key("id", AttributeValue::S(id));
            delete.send().await?;
        }
        "copy" => {
            let s3 = aws_sdk_s3::Client::from_conf(system.aws()?.s3_config());
            let call = kept
                .find(|call| call.is_copy_accepted || call.is_called_back)
                .ok_or("no such call")?;
            let mut bytes = call.sound(true).bytes();
            bytes[100] ^= 1;
            let put = s3
                .put_object()
                .bucket(account::BUCKET)
                .key(call.copy_key())
                .body(bytes.into());
            put.send().await?;
        }
        "transcript" => {
            let call = kept
                .find(|call| call.transcripts.values().any(|accepted| *accepted))
                .ok_or("no such call")?;
            let mut items = dynamodb
                .scan()
                .table_name(account::TRANSCRIPTS_TABLE)
                .into_paginator()
                .items()
                .send();
            while let Some(item) = items.next().await {
                let item = item?;
                let id = item
                    .get("id")
                    .and_then(|id| id.as_s().ok())
                    .cloned()
                    .unwrap_or_default();
                if call.is_named_in(&id) {
                    let delete = dynamodb.delete_item().table_name(account::TRANSCRIPTS_TABLE);
                    delete.key("id", AttributeValue::S(id)).send().await?;
                }
            }
        }
        _ => {}
    }
    Ok(())
}

fn main() -> Result<()> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    // Without optimization the futures of all functions are large.
    let runtime = runtime
        .worker_threads(2)
        .thread_stack_size(32 << 20)
        .enable_all()
        .build()?;
    runtime.block_on(soak())
}

async fn soak() -> Result<()> {
    let minutes: f64 = argument("--minutes").map_or(Ok(10.0), |text| text.parse())?;
    let seed = argument("--seed").map_or(Ok(fastrand::u64(..)), |text| text.parse())?;
    let breaks = argument("--break").unwrap_or_default();
    println!("seed {seed}, {minutes} minutes");
    let dir = tempfile::tempdir()?;
    let system = Arc::new(System::start(dir.path(), seed).await?);
    let deliveries = tokio::spawn(system.clone().deliver_messages());
    system.be_rough(seed);
    system
        .loses
        .store(if breaks == "message" { 5 } else { 0 }, Ordering::Relaxed);
    let mut actors = Vec::new();
    for actor in 0..ACTORS {
        actors.push(tokio::spawn(
            Actor::new(system.clone(), seed.wrapping_add(actor))?.make_calls(),
        ));
    }
    let end = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_secs(20).min(end.saturating_duration_since(Instant::now()))).await;
        system.reconcile().await?;
    }
    system.is_over.store(true, Ordering::Relaxed);
    for actor in actors {
        actor.await?;
    }
    system.be_calm();
    // Answers that were late, slow or without end are over by then.
    tokio::time::sleep(Duration::from_secs(12)).await;
    for turn in 0..DRAINS {
        drain(&system).await?;
        let open = let_time_pass(&system).await?;
        system.reconcile().await?;
        let (now, later, dead) = drain(&system).await?;
        println!("drain {turn}: {open} items were open; {now} messages, {later} later, {dead} dead letters");
        if open == 0 && now == 0 {
            break;
        }
    }
    deliveries.abort();
    break_on_purpose(&system, &breaks).await?;
    let mut checker = Checker::new(system.clone())?;
    let log = system.proxy.take_log();
    checker.check_all().await?;
    let (paid, extra) = checker.check_payments(&log);
    for (what, count) in system.ledger.counts() {
        println!("{count:>8}  {what}");
    }
    println!("{:>8}  requests to upstreams", log.len());
    println!("{paid:>8}  transcriptions paid, {extra} of them once more after an interruption");
    println!("checked:");
    for (what, count) in &checker.checked {
        println!("{count:>8}  {what}");
    }
    println!("{:>8}  calls", system.ledger.all().len());
    if checker.wrong.is_empty() {
        println!("everything is accounted for");
        return Ok(());
    }
    println!("not accounted for:");
    for wrong in &checker.wrong {
        println!("  {wrong}");
    }
    Err(format!("{} are not accounted for", checker.wrong.len()).into())
}
