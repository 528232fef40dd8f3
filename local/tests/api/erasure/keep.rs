//! Holds, and how long calls and their transcripts are kept.

use super::*;
use crate::logs::invoked;

#[tokio::test]
async fn a_hold_stops_every_erasure_until_it_is_lifted() {
    let stack = TestStack::with_environment([("ARCHIVE_TWILIO", "copy"), ("RETENTION_DAYS", "1")]).await;
    let planted = plant(&stack).await;
    let path = format!("/recordings/{}", planted.dispatch);
    let held = patch(&stack, &path, &json!({"hold": {"reason": "Complaint 17"}})).await;
    assert_eq!(held.status, 200, "{}", held.body);
    assert_eq!(
        (&held.body["hold"]["reason"], &held.body["hold"]["by"]),
        (&json!("Complaint 17"), &json!("demo"))
    );
    assert_eq!(stack.get(&path).await.body["call"]["hold"]["reason"], "Complaint 17");
    for id in [planted.dispatch.as_str(), SID, CALL] {
        let refused = delete(&stack, &format!("/recordings/{id}")).await;
        let detail = refused.recordings_error(409, "recording_held");
        // The reason may name people, and a refused request is not in the audit.
        assert!(!detail.contains("Complaint 17"), "{detail}");
    }
    for target in [
        json!({"phone": format!("+{PHONE}")}),
        json!({"interaction_id": "i-planted"}),
        json!({"recording_sid": SID}),
    ] {
        stack
            .post("/erasures", &target)
            .await
            .recordings_error(409, "recording_held");
    }
    // Among several calls the held one stays.
    let other = json!({"interaction_id": "i-2", "phone": format!("+{PHONE}"), "start_time": (planted.began - SignedDuration::from_hours(9)).to_string()});
    assert!(stack.post("/interactions", &other).await.status.is_success());
    let both = stack.post("/erasures", &json!({"phone": format!("+{PHONE}")})).await;
    let kept = left(&stack, &both).await;
    assert_eq!((&kept["calls"], &kept["calls_left"]), (&json!(1), &json!(1)));
    assert_eq!(step(&kept, "recordings")["state"], "held");
    assert_eq!(step(&kept, "recordings")["reason"], "Complaint 17");
    assert_eq!(stack.get(&path).await.status, 200);

    assert_eq!(
        patch(&stack, &path, &json!({"hold": null})).await.body["hold"],
        Value::Null
    );
    done(&stack, &delete(&stack, &path).await).await;
    assert_eq!(stack.get(&path).await.status, 404);
    let late = patch(&stack, &path, &json!({"hold": {"reason": "too late"}})).await;
    assert_eq!(late.status, 404, "{}", late.body);
}

#[tokio::test]
async fn calls_past_their_time_are_erased_and_those_with_another_time_are_not() {
    let stack = TestStack::with_environment([("RETENTION_DAYS", "30")]).await;
    let now = Timestamp::now();
    let days = |days: i64| now - SignedDuration::from_hours(24 * days);
    let mut ids = Vec::new();
    for (number, began) in [(0, days(40)), (1, days(40)), (2, days(40)), (3, days(5)), (4, days(5))] {
        let phone = 15_550_001_000_u64 + number;
        let key = format!(
            "egress-recordings/{}/outbound-{phone}_{}.wav",
            began.strftime("%Y/%m/%d"),
            began.as_second()
        );
        put_object(&stack, &key, sound(number).bytes()).await;
        let id = format!("dispatch_{}_{phone}", began.as_second());
        wait_until(async || stack.get(&format!("/recordings/{id}")).await.status == 200).await;
        ids.push(format!("/recordings/{id}"));
    }
    let missing = json!({"interaction_id": "i-old", "phone": "+15550001009", "customer_name": NAME, "start_time": days(40).to_string()});
    assert!(stack.post("/interactions", &missing).await.status.is_success());
    assert_eq!(
        patch(&stack, &ids[1], &json!({"hold": {"reason": "a dispute"}}))
            .await
            .status,
        200
    );
    let later = json!({"retain_until": (now + SignedDuration::from_hours(24)).to_string()});
    assert_eq!(patch(&stack, &ids[2], &later).await.status, 200);
    let soon = json!({"retain_until": (Timestamp::now() + SignedDuration::from_secs(2)).to_string()});
    assert_eq!(patch(&stack, &ids[4], &soon).await.status, 200);
    tokio::time::sleep(Duration::from_millis(2100)).await;
    webhooks::round(&stack).await;
    wait_until(async || stack.get(&ids[0]).await.status == 404 && stack.get(&ids[4]).await.status == 404).await;
    let kept = [&ids[1], &ids[2], &ids[3]];
    for path in kept {
        assert_eq!(stack.get(path).await.status, 200, "{path}");
    }
    wait_until(async || stack.get("/recordings?has_recording=false").await.body["recordings"] == json!([])).await;
    let today = now.strftime("%Y-%m-%d").to_string();
    wait_until(async || stack.get(&format!("/erasures/retention-{today}")).await.body["calls_left"] == 1).await;
    webhooks::round(&stack).await;
    let report = stack.get("/reports/completeness").await.body["retention"].clone();
    assert_eq!(
        (&report["erased"], &report["held"], &report["not_erased"]),
        (&json!(3), &json!(1), &json!(0)),
        "{report}"
    );
}

#[tokio::test]
async fn without_a_setting_nothing_is_ever_erased() {
    let stack = TestStack::empty().await;
    let old = json!({"interaction_id": "i-old", "phone": "+15550001009", "start_time": "2015-01-01T00:00:00Z"});
    assert!(stack.post("/interactions", &old).await.status.is_success());
    for _ in 0..2 {
        webhooks::round(&stack).await;
    }
    assert_eq!(
        stack.get("/recordings?has_recording=false").await.body["recordings"][0]["interaction_id"],
        "i-old"
    );
}

#[tokio::test]
async fn transcripts_end_before_their_calls_if_the_deployment_says_so() {
    let stack = TestStack::with_environment([("TRANSCRIPT_RETENTION_DAYS", "10")]).await;
    let began = Timestamp::now() - SignedDuration::from_hours(24 * 20);
    let key = format!(
        "egress-recordings/{}/outbound-{PHONE}_{}.wav",
        began.strftime("%Y/%m/%d"),
        began.as_second()
    );
    put_object(&stack, &key, sound(1).bytes()).await;
    let id = format!("dispatch_{}_{PHONE}", began.as_second());
    wait_until(async || stack.get(&format!("/recordings/{id}")).await.status == 200).await;
    let path = format!("/recordings/{id}/transcript");
    assert!(stack.post(&path, &json!({})).await.status.is_success());
    crate::jobs::finished(&stack, &path).await;
    // The first round counts the day, and only then the sweep reads it.
    let days = stack.stack.environment.clone();
    let reconcile = reconcile_recordings::State::from_env(&days).await.unwrap();
    for _ in 0..2 {
        let later = std::time::SystemTime::now() + Duration::from_secs(900);
        let round = invoked(reconcile_recordings::handle(&reconcile, later)).await;
        assert!(round.unwrap().finished);
    }
    let today = Timestamp::now().strftime("%Y-%m-%d").to_string();
    let resent = Answer {
        body: json!({"erasure_id": format!("retention-{today}")}),
        status: StatusCode::ACCEPTED,
        headers: Default::default(),
    };
    wait_until(async || stack.get(&format!("/erasures/retention-{today}")).await.body["status"] == "done").await;
    let counted = stack
        .get(&format!("/reports/daily?from={0}&to={0}", began.strftime("%Y-%m-%d")))
        .await;
    if counted.body["days"][0]["transcripts"] == 1 && stack.get(&path).await.body["status"] == "completed" {
        // The sweep of the first round came before the count: the one of the next day follows.
        let client = stack.aws().dynamodb();
        let delete = client.delete_item().table_name(account::LIFECYCLE_TABLE);
        let item = format!("erasure#retention-{today}");
        delete.key("id", AttributeValue::S(item)).send().await.unwrap();
        let retention = shared::erasure::Retention {
            days: None,
            transcript_days: Some(10),
        };
        let queue = shared::erasure::ErasureQueue::from_env(&stack.stack.environment, &stack.aws()).unwrap();
        assert!(queue.request(&retention.erasure(Timestamp::now())).await.unwrap());
        resend(&stack, &resent).await;
    }
    wait_until(async || stack.get(&path).await.body["code"] == "transcript_not_found").await;
    assert_eq!(stack.get(&format!("/recordings/{id}")).await.status, 200);
}

/// Runs the daily erasure of what is past its time.
async fn expire(stack: &TestStack, requested_at: Timestamp) -> Value {
    let retention = shared::erasure::Retention {
        days: None,
        transcript_days: None,
    };
    let erasure = shared::erasure::Erasure {
        requested_at,
        ..retention.erasure(Timestamp::now())
    };
    let queue = shared::erasure::ErasureQueue::from_env(&stack.stack.environment, &stack.aws()).unwrap();
    let id = erasure.id.to_string();
    assert!(queue.request(&erasure).await.unwrap());
    let path = format!("/erasures/{id}");
    wait_until(async || {
        let body = stack.get(&path).await.body;
        body["status"] == "done" || body["calls_left"] != 0
    })
    .await;
    stack.get(&path).await.body
}

#[tokio::test]
async fn a_time_of_its_own_that_is_lifted_or_moved_erases_nothing() {
    let stack = TestStack::empty().await;
    let mut paths = Vec::new();
    for number in 0..3 {
        let began = Timestamp::now() - SignedDuration::from_hours(number + 1);
        let phone = 15_550_001_000 + number;
        let id = format!("dispatch_{}_{phone}", began.as_second());
        let interaction =
            json!({"interaction_id": format!("i-{number}"), "dispatch_id": id, "start_time": began.to_string()});
        assert!(stack.post("/interactions", &interaction).await.status.is_success());
        paths.push(format!("/recordings/{id}"));
    }
    let soon = json!({"retain_until": (Timestamp::now() + SignedDuration::from_secs(2)).to_string()});
    for path in &paths {
        assert_eq!(patch(&stack, path, &soon).await.status, 200);
    }
    assert_eq!(
        patch(&stack, &paths[0], &json!({"retain_until": null})).await.status,
        200
    );
    let later = json!({"retain_until": (Timestamp::now() + SignedDuration::from_hours(24)).to_string()});
    assert_eq!(patch(&stack, &paths[1], &later).await.status, 200);
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let erased = expire(&stack, Timestamp::now()).await;
    assert_eq!(
        (&erased["status"], &erased["calls"]),
        (&json!("done"), &json!(1)),
        "{erased}"
    );
    let left = stack.get("/recordings?has_recording=false").await.body;
    let left = left["recordings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["interaction_id"].clone());
    assert_eq!(left.collect::<Vec<_>>(), ["i-0", "i-1"]);
}

/// attevon-llc/OpenTranscribe 442: a hold of years must not leave an open erasure for each of its days, none of which has a receipt.
#[tokio::test]
async fn the_erasure_of_a_day_ends_with_a_receipt_when_the_next_day_has_taken_over() {
    let stack = TestStack::empty().await;
    let mut paths = Vec::new();
    for number in 0..2 {
        let began = Timestamp::now() - SignedDuration::from_hours(number + 1);
        let id = format!("dispatch_{}_{}", began.as_second(), 15_550_001_000 + number);
        let interaction =
            json!({"interaction_id": format!("i-{number}"), "dispatch_id": id, "start_time": began.to_string()});
        assert!(stack.post("/interactions", &interaction).await.status.is_success());
        paths.push(format!("/recordings/{id}"));
    }
    let soon = (Timestamp::now() + SignedDuration::from_secs(2)).to_string();
    let held = json!({"retain_until": soon, "hold": {"reason": "Complaint 17"}});
    assert_eq!(patch(&stack, &paths[0], &held).await.status, 200);
    assert_eq!(
        patch(&stack, &paths[1], &json!({"retain_until": soon})).await.status,
        200
    );
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let yesterday = Timestamp::now() - SignedDuration::from_hours(21);
    let erased = expire(&stack, yesterday).await;
    wait_until(async || stack.get(erased["status_url"].as_str().unwrap()).await.body["status"] == "done").await;
    let erased = stack.get(erased["status_url"].as_str().unwrap()).await.body;
    assert_eq!(
        (&erased["calls"], &erased["calls_left"]),
        (&json!(1), &json!(1)),
        "{erased}"
    );
    assert_eq!(
        (&step(&erased, "calls")["state"], &step(&erased, "calls")["reason"]),
        (&json!("held"), &json!("Complaint 17"))
    );
    assert_eq!(erased["receipt"]["receipt"]["calls"], 1);
    assert_eq!(
        stack.get("/recordings?has_recording=false").await.body["recordings"][0]["interaction_id"],
        "i-0"
    );
}

#[tokio::test]
async fn a_call_is_held_and_erased_without_a_bucket() {
    let stack = TestStack::with_environment([("RECORDINGS_BUCKET", "")]).await;
    let interaction =
        json!({"interaction_id": "i-1", "dispatch_id": "room-1", "start_time": Timestamp::now().to_string()});
    assert!(stack.post("/interactions", &interaction).await.status.is_success());
    let path = "/recordings/room-1";
    assert_eq!(
        patch(&stack, path, &json!({"hold": {"reason": "Complaint 17"}}))
            .await
            .status,
        200
    );
    delete(&stack, path).await.recordings_error(409, "recording_held");
    assert_eq!(patch(&stack, path, &json!({"hold": null})).await.status, 200);
    done(&stack, &delete(&stack, path).await).await;
}
