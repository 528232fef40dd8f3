//! Many concurrent writers, with faults of the table.

use super::*;

/// Returns the items of the first half of the keys and reports the other keys as unprocessed.
async fn half_of_the_keys(request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let mut wanted: Value = serde_json::from_slice(&body).unwrap();
    if wanted["RequestItems"].get(account::CALLS_TABLE).is_none() {
        return next.run(Request::from_parts(parts, Body::from(body))).await;
    }
    let table = wanted["RequestItems"][account::CALLS_TABLE].clone();
    let keys = table["Keys"].as_array().unwrap();
    let (now, later) = keys.split_at(keys.len().div_ceil(2));
    let (now, later) = (now.to_vec(), later.to_vec());
    wanted["RequestItems"][account::CALLS_TABLE]["Keys"] = now.into();
    let body = wanted.to_string();
    parts.headers.insert("content-length", body.len().into());
    let (mut parts, body) = next
        .run(Request::from_parts(parts, Body::from(body)))
        .await
        .into_parts();
    let mut answer: Value = serde_json::from_slice(&to_bytes(body, usize::MAX).await.unwrap()).unwrap();
    if !later.is_empty() {
        answer["UnprocessedKeys"] =
            json!({ account::CALLS_TABLE: {"Keys": later, "ConsistentRead": table["ConsistentRead"]} });
    }
    let answer = answer.to_string();
    parts.headers.remove("x-amz-crc32");
    parts.headers.insert("content-length", answer.len().into());
    Response::from_parts(parts, Body::from(answer))
}

/// A DynamoDB that fails or throttles requests, and loses the responses of successful ones.
async fn inject_faults(State(requests): State<Arc<AtomicUsize>>, request: Request, next: Next) -> Response {
    let target = request
        .headers()
        .get("x-amz-target")
        .and_then(|target| target.to_str().ok())
        .unwrap_or_default();
    let transaction = target.ends_with("TransactWriteItems");
    if target.ends_with("BatchGetItem") {
        return half_of_the_keys(request, next).await;
    }
    if !transaction && !target.ends_with("PutItem") {
        return next.run(request).await;
    }
    let fail = |status: StatusCode, body: Value| {
        (
            status,
            [("content-type", "application/x-amz-json-1.0")],
            Body::from(body.to_string()),
        )
            .into_response()
    };
    match requests.fetch_add(1, Ordering::Relaxed) % 7 {
        1 if transaction => fail(
            StatusCode::BAD_REQUEST,
            json!({"__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException", "Message": "Transaction cancelled",
                "CancellationReasons": [{"Code": "ConditionalCheckFailed"}, {"Code": "None"}]}),
        ),
        3 if transaction => fail(
            StatusCode::BAD_REQUEST,
            json!({"__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException", "Message": "Transaction cancelled",
                "CancellationReasons": [{"Code": "None"}, {"Code": "TransactionConflict"}]}),
        ),
        // Another transaction holds the item.
        1 => fail(
            StatusCode::BAD_REQUEST,
            json!({"__type": "com.amazonaws.dynamodb.v20120810#TransactionConflictException", "message": "ongoing"}),
        ),
        4 => fail(
            StatusCode::BAD_REQUEST,
            json!({"__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException", "message": "slower"}),
        ),
        6 => {
            next.run(request).await;
            fail(
                StatusCode::INTERNAL_SERVER_ERROR,
                json!({"__type": "InternalServerError", "message": "lost"}),
            )
        }
        _ => next.run(request).await,
    }
}

/// The environment of functions whose DynamoDB has faults.
async fn with_faults(stack: &TestStack) -> Env {
    let router: Router = stack.stack.aws.router();
    let bad = serve(router.layer(from_fn_with_state(Arc::new(AtomicUsize::new(0)), inject_faults))).await;
    let through = |(name, value): (&str, &str)| match name {
        "AWS_ENDPOINT_URL" => (name.to_owned(), bad.clone()),
        _ => (name.to_owned(), value.to_owned()),
    };
    stack.stack.environment.iter().map(through).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_writers_on_a_table_with_faults_list_each_call_once() {
    const WRITERS: usize = 16;
    const CALLS: usize = 12;
    let stack = TestStack::with(|settings| settings.aws_only = true).await;
    let environment = with_faults(&stack).await;
    let start: Timestamp = "2025-08-08T11:44:00Z".parse().unwrap();
    let writer = |writer: usize| {
        let calls = Calls::from_env(
            &environment,
            &shared::clients::aws::Aws::from_env(&environment).unwrap(),
        )
        .unwrap();
        tokio::spawn(async move {
            for step in 0..2 * CALLS {
                // All writers change the same calls, each in a different order: record, move to another minute, and delete.
                let call = (step + writer * 5) % CALLS;
                let id = format!("call-{call}");
                let time = start + SignedDuration::from_secs(40 * (call as i64 % 7 + (writer + step) as i64 % 3));
                let reported = Interaction {
                    interaction_id: None,
                    dispatch_id: DispatchId::parse(&id),
                    fields: [(Field::StartTime, Some(to_millis(time).into()))].into(),
                    at: start + SignedDuration::from_millis((step * WRITERS + writer) as i64),
                };
                calls.record_interaction(&reported).await.unwrap();
                let recording = TwilioRecording {
                    status: RecordingStatus::new(match (call + step).is_multiple_of(5) {
                        true => "deleted",
                        false => "completed",
                    }),
                    sid: recording_sid(call),
                    ..TwilioRecording::default()
                };
                let sid = call_sid(call);
                calls
                    .record_twilio_recording(&sid, &recording, None, DispatchId::parse(&id).as_ref())
                    .await
                    .unwrap();
            }
        })
    };
    for writer in (0..WRITERS).map(writer).collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let calls = stack.calls();
    let mut all = 0;
    for missing in [false, true] {
        let rows = listed(&calls, missing, ListOrder::Newest, 100).await;
        assert_eq!(calls.total(missing).await.unwrap().rows, Some(rows.len() as u64));
        let filter = ListFilter {
            missing,
            ..ListFilter::default()
        };
        for offset in 0..rows.len() {
            let page = calls
                .list(&filter, ListOrder::Newest, ListStart::Offset(offset as u64), 1)
                .await
                .unwrap();
            assert_eq!(
                page.calls.into_iter().map(row_of).collect::<Vec<_>>(),
                rows[offset..=offset]
            );
        }
        all += rows.len();
    }
    assert_eq!(all, CALLS);
    // The marks of the closed days went through the same faults, and the ledger must still equal the lists.
    let playable = listed(&calls, false, ListOrder::Newest, 100).await.len() as u64;
    let now = Timestamp::now();
    count_ledger(&calls, now).await;
    let days = calls.ledger_days("2025-08-08".parse().unwrap(), "2025-08-08".parse().unwrap());
    let days = days.await.unwrap();
    assert_eq!((days[0].playable, days[0].missing), (playable, CALLS as u64 - playable));
    assert_eq!(calls.total(false).await.unwrap().rows, Some(playable));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_writers_pair_each_call_of_a_number_with_its_own_recording() {
    const WRITERS: usize = 16;
    const CALLS: usize = 8;
    let stack = TestStack::with(|settings| settings.aws_only = true).await;
    let environment = with_faults(&stack).await;
    let unix = |call: usize| 1_754_653_479 + 100 * call as i64;
    let id = move |call: usize| format!("dispatch_{}_{}", unix(call), PHONES[0]);
    let key = move |call: usize| {
        format!(
            "egress-recordings/2025/08/08/outbound-{}_{}.mp4",
            PHONES[0],
            unix(call) + 3
        )
    };
    let writer = |writer: usize| {
        let calls = Calls::from_env(
            &environment,
            &shared::clients::aws::Aws::from_env(&environment).unwrap(),
        )
        .unwrap();
        tokio::spawn(async move {
            for step in 0..CALLS {
                let call = (step + 3 * writer) % CALLS;
                // Half of the writers report the dispatch first, the others the recording.
                for what in [writer % 2, (writer + 1) % 2] {
                    if what == 0 {
                        let reported = Interaction {
                            interaction_id: None,
                            dispatch_id: DispatchId::parse(&id(call)),
                            fields: BTreeMap::new(),
                            at: Timestamp::from_second(unix(call)).unwrap(),
                        };
                        calls.record_interaction(&reported).await.unwrap();
                    } else {
                        let info = ObjectInfo {
                            size: 1,
                            etag: None,
                            modified: None,
                            is_archived: false,
                        };
                        let found = || async { Ok::<_, CallsError>(Some(info.clone())) };
                        let recording = RecordingKey {
                            name: RecordingName::documented(&key(call)).unwrap(),
                            key: key(call),
                            egress_at: None,
                        };
                        calls.observe(&recording, None, found).await.unwrap();
                    }
                }
            }
        })
    };
    for writer in (0..WRITERS).map(writer).collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let calls = stack.calls();
    let rows = listed(&calls, false, ListOrder::Oldest, 100).await;
    let found: Vec<_> = rows.into_iter().map(|row| (row.dispatch_id, row.s3_key)).collect();
    let expected: Vec<_> = (0..CALLS).map(|call| (id(call), Some(key(call)))).collect();
    assert_eq!(found, expected);
    assert_eq!(calls.total(false).await.unwrap().rows, Some(CALLS as u64));
    assert_eq!(calls.total(true).await.unwrap().rows, Some(0));
}
