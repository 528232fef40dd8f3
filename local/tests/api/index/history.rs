//! The index after any history equals the model.

use super::*;
use crate::logs::invoked;

pub(super) fn row_of(call: Call) -> Row {
    let start_time = call.start_time.map(to_millis).unwrap_or_default();
    Row {
        item: call.item.clone(),
        playable: call.is_playable(),
        reported: call.is_reported(),
        dispatch_id: call.dispatch_id,
        interaction_id: call.interaction_id,
        status: call.status,
        start_time,
        phone: call.phone,
        s3_key: call.s3_key,
        transcribed: call.has_transcript,
        twilio: call.twilio.into_iter().map(|recording| recording.sid).collect(),
        reason: call.recording_error,
    }
}

/// The whole list, page by page.
pub(super) async fn listed(calls: &Calls, missing: bool, order: ListOrder, limit: usize) -> Vec<Row> {
    let filter = ListFilter {
        missing,
        ..ListFilter::default()
    };
    let (mut rows, mut start) = (Vec::new(), ListStart::Offset(0));
    loop {
        let page = calls.list(&filter, order, start, limit).await.unwrap();
        rows.extend(page.calls.into_iter().map(row_of));
        match page.next {
            Some(next) => start = ListStart::After(next),
            None => return rows,
        }
    }
}

/// What the S3 of a history denies at the moment.
#[derive(Default)]
struct Denied {
    /// Reading objects whose path ends with one of these keys.
    keys: BTreeSet<String>,
    lists: bool,
}

/// An S3 that answers 403 to what is denied. As the real one, it says of an object that does not exist that it is not there.
async fn deny(State(denied): State<Arc<Mutex<Denied>>>, request: Request, next: Next) -> Response {
    let is_denied = {
        let denied = denied.lock().unwrap();
        match *request.method() {
            Method::HEAD => denied.keys.iter().any(|key| request.uri().path().ends_with(key)),
            Method::GET => denied.lists && request.uri().query().is_some_and(|query| query.contains("list-type")),
            _ => false,
        }
    };
    let response = next.run(request).await;
    match is_denied && response.status().is_success() {
        true => StatusCode::FORBIDDEN.into_response(),
        false => response,
    }
}

struct Case {
    stack: TestStack,
    denied: Arc<Mutex<Denied>>,
    /// The keys that exist in the bucket.
    existing: BTreeSet<String>,
    /// Keys that a round could not read and that were never indexed.
    failing: BTreeSet<String>,
    calls: Calls,
    bucket: RecordingsBucket,
    index: index_recording::State,
    reconcile: reconcile_recordings::State,
    model: Model,
    names: Names,
}

impl Case {
    async fn new(world: World) -> Self {
        let stack = TestStack::with(|settings| settings.aws_only = true).await;
        let denied = Arc::new(Mutex::new(Denied::default()));
        let router = stack.stack.aws.router();
        let proxy = serve(router.layer(from_fn_with_state(denied.clone(), deny))).await;
        let through = |(name, value): (&str, &str)| match name {
            "AWS_ENDPOINT_URL" => (name.to_owned(), proxy.clone()),
            _ => (name.to_owned(), value.to_owned()),
        };
        let environment = &stack.stack.environment.iter().map(through).collect();
        // Two days ago, around midnight, so that each round reads both days.
        let midnight = day(Timestamp::now().as_second() - 2 * 86_400);
        let base = TimeZone::UTC.to_timestamp(midnight.at(0, 0, 0, 0)).unwrap().as_second() - 350;
        let names = Names { world, base };
        if let Some(file) = names.world.unreadable {
            denied.lock().unwrap().keys.insert(names.key(file).2);
        }
        Self {
            denied,
            existing: BTreeSet::new(),
            failing: BTreeSet::new(),
            calls: stack.calls(),
            bucket: RecordingsBucket::from_env(environment, &stack.aws()).unwrap().unwrap(),
            index: index_recording::State::from_env(environment).await.unwrap(),
            reconcile: reconcile_recordings::State::from_env(environment).await.unwrap(),
            model: Model::default(),
            names,
            stack,
        }
    }

    /// Whether the key can never be read.
    fn is_unreadable(&self, key: &str) -> bool {
        let unreadable = self.names.world.unreadable.map(|file| self.names.key(file).2);
        unreadable.as_deref() == Some(key)
    }

    fn is_denied(&self, key: &str) -> bool {
        self.existing.contains(key) && self.denied.lock().unwrap().keys.contains(key)
    }

    /// Applies a change to the world.
    fn change(&mut self, change: &Change) {
        match change {
            Change::File(file, content) => {
                let (.., key) = self.names.key(*file);
                match content {
                    Some(content) => {
                        self.stack.put_object(&key, &sound(*content));
                        self.existing.insert(key.clone());
                    }
                    None => {
                        self.stack.remove_object(&key);
                        self.existing.remove(&key);
                    }
                }
                if !self.is_unreadable(&key) {
                    self.model.files.insert(key, *content);
                }
            }
            Change::Readable(file, readable) => {
                let (.., key) = self.names.key(*file);
                if !self.is_unreadable(&key) {
                    let keys = &mut self.denied.lock().unwrap().keys;
                    let _ = if *readable { keys.remove(&key) } else { keys.insert(key) };
                }
            }
            Change::Twilio(call, completed) if *call < self.names.world.calls.len() => {
                let known = self.model.twilio.entry(*call).or_default();
                *known |= completed;
                self.stack.stack.twilio.add(at_twilio(&self.names, *call, *known));
                if let Some(phone) = self.names.world.calls[*call].phone {
                    self.stack
                        .stack
                        .twilio
                        .add_call(call_sid(*call), format!("+{}", PHONES[phone]));
                }
            }
            _ => {}
        }
    }

    /// Reports a change to the index.
    async fn report(&mut self, change: &Change, sequence: usize) {
        let is_denied = match change {
            Change::File(file, _) | Change::FileTranscribed(file) => self.is_denied(&self.names.key(*file).2),
            _ => false,
        };
        if let Change::Erased(index) = change {
            return self.erase(*index).await;
        }
        let (names, model) = (&self.names, &mut self.model);
        match change {
            Change::Reported {
                dispatch,
                interaction,
                field,
                value,
                at,
            } => {
                let dispatch = dispatch.map(|index| names.dispatch(index).2);
                let interaction = interaction.and_then(|index| names.interaction(index));
                let Some(target) = dispatch
                    .clone()
                    .or(interaction.map(|index| format!("interaction#i-{index}")))
                else {
                    return;
                };
                let place = interaction.map(|index| names.world.interactions[index]);
                let (field, value) = match (field, place) {
                    // A later report may have another number or time, so that the interaction is paired with another dispatch.
                    (0, Some((phone, _))) => {
                        let phone = |value: u8| PHONES[(phone + usize::from(value / 2)) % 2];
                        (Field::Phone, value.map(|value| format!("+{}", phone(value)).into()))
                    }
                    (1, Some((_, time))) => {
                        let start = |value: u8| names.base + time + 150 * i64::from(value);
                        let start = |value: u8| to_millis(Timestamp::from_second(start(value)).unwrap());
                        (Field::StartTime, value.map(|value| start(value).into()))
                    }
                    _ => (Field::Status, value.map(|value| Value::from(format!("STATUS_{value}")))),
                };
                let interaction_id = interaction.map(|index| format!("i-{index}"));
                let named = dispatch.clone().into_iter();
                let mut named = named.chain(interaction_id.iter().map(|id| format!("interaction#{id}")));
                if named.any(|item| model.erased.contains(&item)) {
                    let reported = Interaction {
                        interaction_id,
                        dispatch_id: dispatch.as_deref().and_then(DispatchId::parse),
                        fields: [(field, value)].into(),
                        at: Timestamp::from_second(names.base + at).unwrap(),
                    };
                    return self.calls.record_interaction(&reported).await.unwrap();
                }
                if let Some(id) = &interaction_id {
                    model.report(&target, "interaction_id", *at, id.as_str().into());
                    if let Some(dispatch) = &dispatch {
                        let known = model.of.entry(id.clone()).or_insert((*at, dispatch.clone()));
                        let quoted = |text: &String| Value::from(text.as_str()).to_string();
                        if (*at, quoted(dispatch)) > (known.0, quoted(&known.1)) {
                            *known = (*at, dispatch.clone());
                        }
                    }
                }
                model.report(&target, field.name(), *at, value.clone().unwrap_or(Value::Null));
                model.dispatches.extend(dispatch.clone());
                let reported = Interaction {
                    interaction_id,
                    dispatch_id: dispatch.as_deref().and_then(DispatchId::parse),
                    fields: [(field, value)].into(),
                    at: Timestamp::from_second(names.base + at).unwrap(),
                };
                self.calls.record_interaction(&reported).await.unwrap();
            }
            Change::File(file, content) => {
                let (.., key) = names.key(*file);
                let event = json!({
                    "detail-type": if content.is_some() { "Object Created" } else { "Object Deleted" },
                    "detail": {"bucket": {"name": account::BUCKET}, "object": {"key": key, "sequencer": format!("{sequence:016X}")}},
                });
                let indexed = invoked(index_recording::index(&self.index, &event.to_string())).await;
                // A second delivery of an event reads nothing.
                let is_repeated = indexed.is_ok() && model.seen.contains(&key);
                assert!(is_repeated || indexed.is_err() == is_denied, "{indexed:?}");
                if indexed.is_ok() {
                    model.seen.insert(key);
                }
            }
            Change::FileTranscribed(file) if !is_denied => {
                let (.., key) = names.key(*file);
                let Some(content) = model.files.get(&key).copied().flatten() else {
                    return;
                };
                // As a request for a transcript does: the index is told first what the bucket has.
                index_object(&self.calls, &self.bucket, &key, None).await.unwrap();
                let object = self.bucket.head(&key).await.unwrap().unwrap();
                let recording = RecordingRef {
                    key: key.clone(),
                    etag: object.etag,
                    size: Some(object.size),
                    recording_sid: None,
                };
                self.calls.mark_object_transcribed(&recording).await.unwrap();
                if !model.erased.contains(&format!("object#{key}")) {
                    model.seen.insert(key.clone());
                    model.transcribed_files.insert((key, content));
                }
            }
            Change::TwilioTranscribed(call) if model.twilio.contains_key(call) => {
                let (call_sid, recording_sid) = (call_sid(*call), recording_sid(*call));
                let marked = self.calls.mark_twilio_transcribed(&call_sid, &recording_sid);
                marked.await.unwrap();
                if !model.erased.contains(&format!("twilio#{call_sid}")) {
                    model.transcribed_calls.insert(*call);
                }
            }
            Change::Failed(failure) if *failure < names.world.failures.len() => {
                if !model.erased.contains(&format!("egress#EG_{failure}")) {
                    model.failures.insert(*failure);
                }
                let (phone, time) = names.world.failures[*failure];
                let failed = FailedEgress {
                    egress_id: format!("EG_{failure}"),
                    key: None,
                    phone: Some(PHONES[phone].into()),
                    started: Timestamp::from_second(names.base + time).ok(),
                    reason: "no space".into(),
                    at: Timestamp::from_second(names.base).unwrap(),
                };
                assert!(self.calls.record_failed_egress(&failed, None).await.unwrap());
            }
            Change::Twilio(call, completed) if *call < names.world.calls.len() => {
                let reported = &names.world.calls[*call];
                let dispatch = reported.dispatch.map(|index| names.dispatch(index).2);
                let is_erased = model.erased.contains(&format!("twilio#{}", call_sid(*call)));
                if let Some(dispatch) = dispatch.as_ref().filter(|it| !is_erased && !model.erased.contains(*it)) {
                    model.linked.insert(*call);
                    model.dispatches.insert(dispatch.clone());
                }
                let recording = TwilioRecording {
                    status: RecordingStatus::new(if *completed { "completed" } else { "in-progress" }),
                    sid: recording_sid(*call),
                    account_sid: Some(demo::ACCOUNT_SID.into()),
                    duration: completed.then_some(30),
                    start_time: Timestamp::from_second(names.base + reported.time).ok(),
                    error_code: None,
                    copy: None,
                };
                let phone = reported.phone.map(|phone| PHONES[phone]);
                let dispatch = dispatch.as_deref().and_then(DispatchId::parse);
                let sid = call_sid(*call);
                let reported = self
                    .calls
                    .record_twilio_recording(&sid, &recording, phone, dispatch.as_ref());
                reported.await.unwrap();
            }
            _ => {}
        }
    }

    /// Erases what the index has of the call of a dispatch. What belongs to the call, the index says: that this is right, the rows show.
    async fn erase(&mut self, index: usize) {
        let id = DispatchId::parse(&self.names.dispatch(index).2).unwrap();
        let Some(contents) = self.calls.contents(id.as_str()).await.unwrap() else {
            return;
        };
        assert!(self.calls.bury(&contents).await.unwrap());
        assert!(self.calls.remove(&contents).await.unwrap());
        self.model.erase(contents.item_ids().map(str::to_owned).collect());
    }

    /// A round of the reconciler, while these lists are denied.
    async fn round(&mut self, bucket_denied: bool, twilio_denied: bool) -> Value {
        self.denied.lock().unwrap().lists = bucket_denied;
        if twilio_denied {
            let refused = twilio::Fault::Status {
                status: 401,
                retry_after: None,
                body: None,
            };
            self.stack.stack.twilio.fault("/Recordings", refused, None);
        }
        let report = self.reconcile().await;
        self.denied.lock().unwrap().lists = false;
        self.stack.stack.twilio.clear_faults();
        for key in std::mem::take(&mut self.failing) {
            match self.is_denied(&key) {
                true => self.failing.insert(key),
                false => self.model.seen.insert(key),
            };
        }
        if !bucket_denied {
            for key in self.existing.clone() {
                match self.is_denied(&key) {
                    true if self.model.seen.contains(&key) => false,
                    true => self.failing.insert(key),
                    false => self.model.seen.insert(key),
                };
            }
        }
        report
    }

    async fn reconcile(&self) -> Value {
        let deadline = SystemTime::now() + Duration::from_secs(900);
        assert!(
            invoked(reconcile_recordings::handle(&self.reconcile, deadline))
                .await
                .unwrap()
                .finished
        );
        let report: Option<Value> = self
            .calls
            .reconciler_state(shared::calls::ReconcilerState::Report)
            .await
            .unwrap();
        report.unwrap()
    }
}

/// A recording with this content. Its length tells it from the others, as audio of other words has another length.
fn sound(content: u8) -> Vec<u8> {
    b"sound".repeat(usize::from(content) + 1)
}

fn at_twilio(names: &Names, call: usize, completed: bool) -> twilio::Recording {
    let start = Timestamp::from_second(names.base + names.world.calls[call].time).unwrap();
    let like = demo::twilio_recordings(demo::DOCUMENTED_TIME)
        .into_iter()
        .next()
        .unwrap();
    twilio::Recording {
        media: twilio::Media::Generated { bytes: 400 },
        sid: recording_sid(call),
        call_sid: call_sid(call),
        status: if completed { "completed" } else { "in-progress" }.into(),
        duration: completed.then_some(30),
        error_code: None,
        date_created: start,
        date_updated: start,
        start_time: start,
        ..like
    }
}

#[test]
fn after_any_history_the_index_equals_the_model() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut runner = TestRunner::new(Config {
        cases: std::env::var("PROPTEST_CASES")
            .ok()
            .and_then(|cases| cases.parse().ok())
            .unwrap_or(8),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/api/index/history.proptest-regressions"
        )))),
        max_shrink_iters: 300,
        ..Config::default()
    });
    let result = runner.run(&(world(), steps(), 1..7_usize), |(world, steps, limit)| {
        runtime.block_on(async {
            let mut case = Case::new(world).await;
            let mut arrivals = Vec::new();
            for (number, (change, delay, times)) in steps.iter().enumerate() {
                let lossy = matches!(change, Change::File(..) | Change::Twilio(..));
                let times = if lossy { *times } else { (*times).max(1) };
                arrivals.extend((0..times).map(|copy| (number + delay * (copy + 1), number)));
            }
            arrivals.sort_unstable();
            let mut arrivals = arrivals.into_iter().peekable();
            // What fails in more rounds than three is tried again only after hours.
            let mut rounds = 0;
            for (number, (change, ..)) in steps.iter().enumerate() {
                case.change(change);
                if let Change::Round {
                    bucket_denied,
                    twilio_denied,
                } = change
                    && rounds < 2
                {
                    rounds += 1;
                    case.round(*bucket_denied, *twilio_denied).await;
                }
                while let Some((_, reported)) = arrivals.next_if(|(when, _)| *when <= number) {
                    case.report(&steps[reported].0, reported).await;
                }
            }
            for (_, reported) in arrivals {
                case.report(&steps[reported].0, reported).await;
            }
            let unreadable = case.names.world.unreadable.map(|file| case.names.key(file).2);
            case.denied.lock().unwrap().keys = unreadable.iter().cloned().collect();
            case.round(false, false).await;
            let report = case.round(false, false).await;
            let failures = report["failures"].as_array().unwrap();
            let failures: Vec<&str> = failures
                .iter()
                .filter_map(|failure| failure["s3_key"].as_str())
                .collect();
            let unreadable = unreadable.as_deref().filter(|key| case.existing.contains(*key));
            prop_assert_eq!(
                failures,
                Vec::from_iter(unreadable),
                "the report names what can't be read"
            );

            let rows = case.model.rows(&case.names);
            let mut days: BTreeMap<String, (u64, u64)> = BTreeMap::new();
            for (order, row) in &rows {
                let counts = days.entry(order[..10].to_owned()).or_default();
                match row.playable {
                    true => counts.0 += 1,
                    false => counts.1 += 1,
                }
            }
            let rows = rows.into_iter().map(|(_, row)| row);
            let (playable, missing): (Vec<Row>, Vec<Row>) = rows.partition(|row| row.playable);
            for (missing, mut expected) in [(false, playable.clone()), (true, missing.clone())] {
                let newest = listed(&case.calls, missing, ListOrder::Newest, limit).await;
                prop_assert_eq!(&newest, &expected);
                let total = case.calls.total(missing).await.unwrap();
                prop_assert_eq!(total.rows, Some(expected.len() as u64), "before the ledger is counted");
                let filter = ListFilter {
                    missing,
                    ..ListFilter::default()
                };
                for order in [ListOrder::Newest, ListOrder::Oldest] {
                    for offset in 0..=expected.len() {
                        let page = case
                            .calls
                            .list(&filter, order, ListStart::Offset(offset as u64), limit)
                            .await
                            .unwrap();
                        let page: Vec<Row> = page.calls.into_iter().map(row_of).collect();
                        prop_assert_eq!(&page[..], &expected[offset..expected.len().min(offset + limit)]);
                    }
                    expected.reverse();
                }
                expected.reverse();
                let oldest = listed(&case.calls, missing, ListOrder::Oldest, limit).await;
                prop_assert_eq!(oldest, expected);
            }
            for rounds in 1..=2 {
                count_ledger(&case.calls, Timestamp::now()).await;
                for (missing, expected) in [(false, playable.len()), (true, missing.len())] {
                    let total = case.calls.total(missing).await.unwrap();
                    prop_assert_eq!(
                        total.rows,
                        Some(expected as u64),
                        "after {} rounds of the ledger",
                        rounds
                    );
                }
            }
            let (first, last) = (day(case.names.base - 86_400), day(case.names.base + 2 * 86_400));
            let ledger = case.calls.ledger_days(first, last).await.unwrap();
            let ledger: BTreeMap<String, (u64, u64)> = ledger
                .iter()
                .map(|day| (day.day.to_string(), (day.playable, day.missing)))
                .filter(|(_, counts)| *counts != (0, 0))
                .collect();
            prop_assert_eq!(ledger, days, "the ledger");
            let alone = playable.iter().filter(|row| !row.reported).count();
            prop_assert_eq!(&report["playable"], &json!(playable.len()));
            prop_assert_eq!(&report["calls_without_recording"]["total"], &json!(missing.len()));
            prop_assert_eq!(&report["recordings_without_call"]["total"], &json!(alone));
            prop_assert_eq!(&report["problems"], &json!([]));
            let reported: BTreeMap<String, String> = report["calls_without_recording"]["entries"]
                .as_array()
                .unwrap()
                .iter()
                .map(|entry| {
                    (
                        entry["start_time"].to_string() + &entry["dispatch_id"].to_string(),
                        entry["reason"].as_str().unwrap().to_owned(),
                    )
                })
                .collect();
            for row in &missing {
                let id = match row.dispatch_id.as_str() {
                    "" => Value::Null,
                    id => id.into(),
                };
                let reason = row
                    .reason
                    .clone()
                    .unwrap_or_else(|| "Nothing is known of a recording.".into());
                let start = match row.start_time.as_str() {
                    "" => Value::Null,
                    start => start.into(),
                };
                let reported = reported.get(&(start.to_string() + &id.to_string()));
                prop_assert!(reported == Some(&reason) || id.is_null(), "{:?} {:?}", reported, row);
            }
            Ok(())
        })
    });
    result.unwrap();
}
