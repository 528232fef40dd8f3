//! The worker: what it is refused, where it is killed, and what it costs.

use shared::audit::{Action, Actor, AuditLog, Event, Origin};

use super::*;
use crate::logs::invoked;

fn status(status: u16) -> Fault {
    Fault::Status {
        status,
        retry_after: None,
        body: None,
    }
}

#[tokio::test]
async fn what_twilio_refuses_is_told_and_erased_later() {
    let stack = TestStack::with_environment([("ARCHIVE_TWILIO", "copy")]).await;
    let planted = plant(&stack).await;
    stack
        .stack
        .twilio
        .fault(format!("Recordings/{SID}.json"), status(401), None);
    let requested = delete(&stack, &format!("/recordings/{}", planted.dispatch)).await;
    let pending = left(&stack, &requested).await;
    let failed = step(&pending, "twilio_recordings");
    assert_eq!(
        (&failed["state"], &failed["code"]),
        (&json!("failed"), &json!("twilio_unauthorized"))
    );
    assert_eq!(step(&pending, "recordings")["state"], "done");
    assert_eq!(step(&pending, "calls")["state"], "pending");
    // From now on it can't be held any more, and late events add nothing.
    let hold = patch(&stack, &format!("/recordings/{SID}"), &json!({"hold": {"reason": "x"}})).await;
    hold.recordings_error(409, "recording_erased");
    // It is gone at Twilio meanwhile, which is as good.
    stack.stack.twilio.clear_faults();
    stack.stack.twilio.remove(SID);
    resend(&stack, &requested).await;
    let erased = done(&stack, &requested).await;
    assert_eq!(step(&erased, "twilio_recordings")["erased"], 0);
    assert_eq!(erased["receipt"]["receipt"]["calls"], 1);
}

/// A bucket with versions, one of which Object Lock protects.
async fn versions(State(locked_until): State<String>, request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let is_recording = query.contains("outbound-") || request.uri().path().contains("outbound-");
    if request.method() == Method::GET
        && query.split('&').any(|it| it == "versions" || it == "versions=")
        && is_recording
    {
        let key = query.split('&').find_map(|pair| pair.strip_prefix("prefix="));
        let key = percent_encoding::percent_decode_str(key.unwrap())
            .decode_utf8()
            .unwrap()
            .into_owned();
        let version = |name: &str, id: &str| {
            format!("<Version><Key>{name}</Key><VersionId>{id}</VersionId><IsLatest>false</IsLatest></Version>")
        };
        let body = format!(
            "<ListVersionsResult><IsTruncated>false</IsTruncated>{}{}{}<DeleteMarker><Key>{key}</Key><VersionId>v3</VersionId></DeleteMarker></ListVersionsResult>",
            version(&key, "v1"),
            version(&key, "v2"),
            version(&format!("{key}.old"), "v9"),
        );
        return ([("content-type", "application/xml")], body).into_response();
    }
    let is_locked = query.contains("versionId=v2");
    if request.method() == Method::DELETE && is_locked {
        let body = "<Error><Code>AccessDenied</Code><Message>Access Denied because object protected by object lock.</Message></Error>";
        return (StatusCode::FORBIDDEN, [("content-type", "application/xml")], body).into_response();
    }
    if request.method() == Method::HEAD && is_locked {
        let response = Response::builder().header("x-amz-object-lock-mode", "COMPLIANCE");
        return response
            .header("x-amz-object-lock-retain-until-date", locked_until)
            .body(Body::empty())
            .unwrap();
    }
    assert!(
        !query.contains("versionId=v9"),
        "a version of another object is deleted"
    );
    if request.method() == Method::DELETE && query.contains("versionId=v") {
        return StatusCode::NO_CONTENT.into_response();
    }
    next.run(request).await
}

#[tokio::test]
async fn all_versions_of_a_recording_are_deleted_and_one_that_is_locked_is_told_with_its_time() {
    let until = Timestamp::now() + SignedDuration::from_hours(48);
    let until = until.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string();
    let state = until.clone();
    let (_backing, stack) = behind(
        move |router: Router| router.layer(from_fn_with_state(state, versions)),
        &[],
    )
    .await;
    let began = Timestamp::now() - SignedDuration::from_hours(1);
    let key = format!(
        "egress-recordings/{}/outbound-{PHONE}_{}.wav",
        began.strftime("%Y/%m/%d"),
        began.as_second()
    );
    _backing.put_object(&key, &sound(1).bytes());
    let id = format!("dispatch_{}_{PHONE}", began.as_second());
    assert_eq!(stack.get(&format!("/recordings/{id}")).await.status, 200);
    let pending = left(&stack, &delete(&stack, &format!("/recordings/{id}")).await).await;
    let locked = step(&pending, "recordings");
    assert_eq!(
        (&locked["state"], &locked["code"], &locked["until"]),
        (&json!("pending"), &json!("object_locked"), &json!(until))
    );
}

async fn claim(
    transcripts: &shared::transcripts::Transcripts,
    id: &shared::transcripts::TranscriptId,
    time: SignedDuration,
) -> shared::transcripts::Lease {
    let policy = shared::transcripts::ClaimPolicy {
        queued: true,
        completed: true,
    };
    match transcripts.claim(id, policy, Timestamp::now() + time).await.unwrap() {
        shared::transcripts::ClaimResult::Granted(lease) => lease,
        other => panic!("{other:?}"),
    }
}

/// A call with a recording, an interaction and a transcript, without a running API.
async fn plant_quietly(stack: &TestStack, number: u64) -> (String, String) {
    let began = Timestamp::now() - SignedDuration::from_mins(90);
    let phone = 15_550_007_000 + number;
    let dispatch = format!("dispatch_{}_{phone}", began.as_second());
    let key = format!(
        "egress-recordings/{}/outbound-{phone}_{}.wav",
        began.strftime("%Y/%m/%d"),
        began.as_second()
    );
    stack.put_object(&key, &sound(1).bytes());
    let calls = stack.calls();
    let bucket = shared::clients::bucket::RecordingsBucket::from_env(&stack.stack.environment, &stack.aws());
    let bucket = bucket.unwrap().unwrap();
    shared::calls::index_object(&calls, &bucket, &key, None).await.unwrap();
    let reported = shared::calls::Interaction {
        interaction_id: Some(format!("i-{number}")),
        dispatch_id: shared::ids::DispatchId::parse(&dispatch),
        fields: Default::default(),
        at: began,
    };
    calls.record_interaction(&reported).await.unwrap();
    let etag = bucket.head(&key).await.unwrap().unwrap().etag;
    let recording = shared::clients::bucket::RecordingRef {
        key: key.clone(),
        etag,
        size: None,
        recording_sid: None,
    };
    let transcripts = shared::transcripts::Transcripts::from_env(&stack.stack.environment, &stack.aws()).unwrap();
    let audio = shared::transcripts::AudioId::Object(recording.clone());
    let variant = shared::transcripts::Variant::parse("default").unwrap();
    let id = shared::transcripts::TranscriptId::new(&audio, &variant);
    let lease = claim(&transcripts, &id, SignedDuration::from_secs(60)).await;
    let transcript = shared::transcripts::Transcript {
        completed_at: Timestamp::now(),
        ..Default::default()
    };
    assert!(transcripts.complete(&lease, &transcript).await.unwrap());
    calls.mark_object_transcribed(&recording).await.unwrap();
    (dispatch, key)
}

/// An erasure in the table, whose message nobody has sent.
async fn store(stack: &TestStack, target: shared::erasure::Target) -> String {
    let erasure = shared::erasure::Erasure::new(shared::erasure::ErasureId::random(), target, Timestamp::now());
    let put = stack.aws().dynamodb().put_item().table_name(account::LIFECYCLE_TABLE);
    let put = put.item("id", AttributeValue::S(format!("erasure#{}", erasure.id)));
    let put = put.item("value", AttributeValue::S(serde_json::to_string(&erasure).unwrap()));
    put.item("version", AttributeValue::N("1".into())).send().await.unwrap();
    erasure.id.to_string()
}

/// What a request writes that had found the call before.
async fn write_late(stack: &TestStack, dispatch: &str, request_id: &str) {
    let log = AuditLog::from_env(&stack.stack.environment, &stack.aws()).unwrap();
    let origin = Origin {
        actor: Actor::Key("ops".into()),
        request_id: request_id.to_owned(),
        address: None,
    };
    let play = Event::new(Action::Play).about(dispatch);
    invoked(log.write(&play, &origin)).await.unwrap();
}

async fn deliver(worker: &erase_recording::State, id: &str) -> Value {
    let message = json!({"erasure_id": id}).to_string();
    let batch = serde_json::from_value(json!({"Records": [{"messageId": "m", "body": message}]})).unwrap();
    let deadline = std::time::SystemTime::now() + Duration::from_secs(900);
    serde_json::to_value(invoked(erase_recording::handle(worker, batch, deadline)).await).unwrap()
}

#[tokio::test]
async fn wherever_the_worker_is_killed_the_call_is_erased_whole() {
    let stack = TestStack::with(|settings| settings.aws_only = true).await;
    let queue = shared::erasure::ErasureQueue::from_env(&stack.stack.environment, &stack.aws()).unwrap();
    for waits in (1..).step_by(2) {
        let worker = erase_recording::State::from_env(&stack.stack.environment)
            .await
            .unwrap();
        let (dispatch, key) = plant_quietly(&stack, waits as u64).await;
        let target = shared::erasure::Target::Call(shared::ids::DispatchId::parse(&dispatch).unwrap());
        let id = store(&stack, target).await;
        write_late(&stack, &dispatch, &format!("before-{waits}")).await;
        let finished = killed_after(waits, deliver(&worker, &id)).await.is_some();
        let parsed = shared::erasure::ErasureId::parse(&id).unwrap();
        if !queue.get(&parsed).await.unwrap().unwrap().is_done() {
            write_late(&stack, &dispatch, &format!("during-{waits}")).await;
        }
        for _ in 0..3 {
            assert_eq!(deliver(&worker, &id).await, json!({"batchItemFailures": []}));
        }
        let erasure = queue.get(&parsed).await.unwrap().unwrap();
        assert!(erasure.is_done(), "not done after a kill at wait {waits}: {erasure:?}");
        assert!(
            !serde_json::to_string(&erasure).unwrap().contains(&dispatch),
            "{erasure:?}"
        );
        let left = everything(&stack)
            .await
            .into_iter()
            .filter(|text| text.contains(&dispatch) || text.contains(&key));
        assert_eq!(left.collect::<Vec<_>>(), Vec::<String>::new(), "a kill at wait {waits}");
        let transcripts = everything(&stack)
            .await
            .into_iter()
            .filter(|text| text.starts_with("transcripts:"));
        assert_eq!(transcripts.count(), 0, "a kill at wait {waits}");
        if finished {
            assert!(waits > 20, "the worker finished after {waits} waits");
            return;
        }
    }
}

/// Counts the items that requests to DynamoDB write.
async fn count_writes(State(writes): State<Arc<AtomicUsize>>, request: Request, next: Next) -> Response {
    let target = request
        .headers()
        .get("x-amz-target")
        .and_then(|it| it.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let json: Value = serde_json::from_slice(&body).unwrap_or_default();
    let written = match target.rsplit('.').next().unwrap_or_default() {
        "PutItem" | "UpdateItem" | "DeleteItem" => 1,
        "BatchWriteItem" => {
            let tables = json["RequestItems"].as_object().unwrap().values();
            tables.map(|requests| requests.as_array().unwrap().len()).sum()
        }
        "TransactWriteItems" => {
            let parts = json["TransactItems"].as_array().unwrap().iter();
            parts.filter(|part| part.get("ConditionCheck").is_none()).count()
        }
        _ => 0,
    };
    writes.fetch_add(written, Ordering::Relaxed);
    next.run(Request::from_parts(parts, Body::from(body))).await
}

#[tokio::test]
async fn an_erasure_by_phone_needs_at_most_twelve_writes_a_call() {
    let stack = TestStack::with(|settings| settings.aws_only = true).await;
    let calls = stack.calls();
    let number = 40_u64;
    for call in 0..number {
        let (dispatch, _) = plant_quietly(&stack, call).await;
        let reported = shared::calls::Interaction {
            interaction_id: Some(format!("i-{call}")),
            dispatch_id: shared::ids::DispatchId::parse(&dispatch),
            fields: [(shared::calls::Field::Phone, Some("+15550008000".into()))].into(),
            at: Timestamp::now(),
        };
        calls.record_interaction(&reported).await.unwrap();
    }
    let writes = Arc::<AtomicUsize>::default();
    let proxy = serve(
        stack
            .stack
            .aws
            .router()
            .layer(from_fn_with_state(writes.clone(), count_writes)),
    )
    .await;
    let environment = stack
        .stack
        .environment
        .iter()
        .chain([("AWS_ENDPOINT_URL", proxy.as_str())])
        .collect();
    let worker = erase_recording::State::from_env(&environment).await.unwrap();
    let id = store(&stack, shared::erasure::Target::Phone("15550008000".into())).await;
    deliver(&worker, &id).await;
    let writes = writes.load(Ordering::Relaxed);
    let queue = shared::erasure::ErasureQueue::from_env(&stack.stack.environment, &stack.aws()).unwrap();
    let erasure = queue
        .get(&shared::erasure::ErasureId::parse(&id).unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((erasure.is_done(), erasure.calls), (true, number));
    assert!(writes <= 12 * number as usize, "{writes} writes");
}

/// madkongo/CallVault 35: a call is deleted while it is transcribed, and the job goes on.
#[tokio::test]
async fn an_erasure_is_not_done_while_a_worker_may_still_store_words() {
    let stack = TestStack::with(|settings| settings.aws_only = true).await;
    let worker = erase_recording::State::from_env(&stack.stack.environment)
        .await
        .unwrap();
    let queue = shared::erasure::ErasureQueue::from_env(&stack.stack.environment, &stack.aws()).unwrap();
    let transcripts = shared::transcripts::Transcripts::from_env(&stack.stack.environment, &stack.aws()).unwrap();
    let (dispatch, key) = plant_quietly(&stack, 1).await;
    let bucket = shared::clients::bucket::RecordingsBucket::from_env(&stack.stack.environment, &stack.aws());
    let audio = shared::transcripts::AudioId::Object(shared::clients::bucket::RecordingRef {
        etag: bucket.unwrap().unwrap().head(&key).await.unwrap().unwrap().etag,
        key,
        size: None,
        recording_sid: None,
    });
    let variant = shared::transcripts::Variant::parse("default").unwrap();
    let id = shared::transcripts::TranscriptId::new(&audio, &variant);
    let _lease = claim(&transcripts, &id, SignedDuration::from_secs(3)).await;
    let target = shared::erasure::Target::Call(shared::ids::DispatchId::parse(&dispatch).unwrap());
    let erasure = shared::erasure::ErasureId::parse(&store(&stack, target).await).unwrap();
    // The second attempt no longer finds the transcript, and must know of the worker nevertheless.
    for attempt in 1..=2 {
        deliver(&worker, erasure.as_str()).await;
        let pending = queue.get(&erasure).await.unwrap().unwrap();
        let codes: Vec<_> = pending.problems.iter().map(|it| it.code.as_str()).collect();
        assert_eq!(
            (pending.is_done(), &codes[..]),
            (false, &["transcription_in_progress"][..]),
            "attempt {attempt}"
        );
    }
    tokio::time::sleep(Duration::from_millis(3100)).await;
    deliver(&worker, erasure.as_str()).await;
    assert!(queue.get(&erasure).await.unwrap().unwrap().is_done());
}
