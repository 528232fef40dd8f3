//! How the recording of a call is found by its dispatch id.

use super::*;

#[tokio::test]
async fn an_id_without_a_pattern_is_looked_up_in_the_index_only() {
    let stack = TestStack::empty().await;
    for id in [
        "AD_x7Fq",
        "dispatch_1754653479",
        "dispatch_x_15103455686",
        "dispatch_999999999999_1",
    ] {
        assert_not_found(&stack.get(&format!("/recordings/{id}")).await);
    }
    assert_eq!(stack.stack.aws.calls_of(Service::S3, "ListObjectsV2"), 0);
    // A LiveKit name for a SIP room with a space, which the download's file name must keep.
    let name = format!("call-_{PHONE}_any name_{NOON}.mp4");
    let key = format!("egress-recordings/2025/08/08/{name}");
    stack.put_object(&key, b"sound");
    let call = Call {
        dispatch_id: "AD_x7Fq".into(),
        phone: Some(format!("+{PHONE}")),
        start_time: Timestamp::from_second(NOON).ok(),
        ..Call::default()
    };
    demo_data::index_call(&stack.calls(), &call).await.unwrap();
    let bucket = RecordingsBucket::from_env(&stack.stack.environment, &stack.aws()).unwrap();
    index_object(&stack.calls(), &bucket.unwrap(), &key, None)
        .await
        .unwrap();
    let answer = stack.get("/recordings/AD_x7Fq").await;
    assert_found(&answer, &key);
    let file = stack
        .fetch(answer.body["download_url"].as_str().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(
        file.headers()["content-disposition"],
        format!("attachment; filename=\"{name}\"; filename*=UTF-8''call-_{PHONE}_any%20name_{NOON}.mp4").as_str()
    );
    assert_eq!(file.text().await.unwrap(), "sound");
}

#[tokio::test]
async fn a_call_without_a_recording_is_the_documented_404() {
    let stack = TestStack::demo().await;
    let answer = stack
        .get_without_key("/recordings/dispatch_1754653479_19998887777")
        .await;
    assert_not_found(&answer);
    assert_eq!(answer.body.get("retryable"), None);
}

#[tokio::test]
async fn calls_to_one_number_on_one_day_each_have_their_own_recording() {
    let stack = TestStack::empty().await;
    let calls = [NOON - 3600, NOON, NOON + 400, NOON + 7200];
    for start in calls {
        stack.put_object(&key(PHONE, start + 4), b"sound");
    }
    for start in calls {
        assert_found(&stack.get(&path(start, PHONE)).await, &key(PHONE, start + 4));
    }
}

#[tokio::test]
async fn a_recording_in_the_folder_of_an_adjacent_day_is_found() {
    let stack = TestStack::empty().await;
    let today = day(NOON);
    let folder = |days: i64| today.checked_add(days.days()).unwrap();
    // (dispatched, began, folder)
    let found = [
        (MIDNIGHT - 3, MIDNIGHT + 4, folder(0)),
        (NOON, NOON + 2, folder(-1)),
        (NOON + 1000, NOON + 1002, folder(1)),
        (MIDNIGHT + 2, MIDNIGHT - 1, folder(-1)),
        (MIDNIGHT + 600, MIDNIGHT + 604, folder(-1)),
    ];
    let lost = [
        (NOON + 2000, NOON + 2002, folder(-2)),
        (NOON + 3000, NOON + 3002, folder(2)),
    ];
    for (n, (dispatched, began, folder)) in found.into_iter().chain(lost).enumerate() {
        let phone = format!("1510000000{n}");
        let key = key_in(folder, &phone, began);
        stack.put_object(&key, b"sound");
        let answer = stack.get(&path(dispatched, &phone)).await;
        match n < found.len() {
            true => assert_found(&answer, &key),
            false => assert_not_found(&answer),
        }
    }
}

#[tokio::test]
async fn a_number_with_the_same_prefix_is_a_different_number() {
    let stack = TestStack::empty().await;
    let (short, long) = ("1510345568", "15103455686");
    stack.put_object(&key(long, NOON + 1), b"long");
    assert_not_found(&stack.get(&path(NOON, short)).await);
    stack.put_object(&key(short, NOON + 2), b"short");
    assert_found(&stack.get(&path(NOON, short)).await, &key(short, NOON + 2));
    assert_found(&stack.get(&path(NOON, long)).await, &key(long, NOON + 1));
    assert_not_found(&stack.get(&path(NOON, "5103455686")).await);
}

#[tokio::test]
async fn a_folder_with_more_than_a_thousand_objects_is_listed_completely() {
    let stack = TestStack::empty().await;
    let folder = day(NOON);
    for n in 0..1050 {
        stack.put_object(&key_in(folder, PHONE, NOON - 20_000 + n), b"s");
    }
    stack.put_object(&key(PHONE, NOON + 3), b"sound");
    assert_found(&stack.get(&path(NOON, PHONE)).await, &key(PHONE, NOON + 3));
    assert_eq!(
        stack.stack.aws.calls_of(Service::S3, "ListObjectsV2"),
        4,
        "three folders, one of them in two pages"
    );
}

#[tokio::test]
async fn a_recording_begins_between_5_seconds_before_and_5_minutes_after_its_dispatch() {
    let stack = TestStack::empty().await;
    for (n, (offset, found)) in [(-6, false), (-5, true), (0, true), (300, true), (301, false)]
        .into_iter()
        .enumerate()
    {
        let phone = format!("1510000000{n}");
        stack.put_object(&key(&phone, NOON + offset), b"sound");
        let answer = stack.get(&path(NOON, &phone)).await;
        match found {
            true => assert_found(&answer, &key(&phone, NOON + offset)),
            false => assert_not_found(&answer),
        }
    }
    for offset in [-900, -5, 40, 300] {
        stack.put_object(&key(PHONE, NOON + offset), b"sound");
    }
    assert_found(&stack.get(&path(NOON, PHONE)).await, &key(PHONE, NOON - 5));
}

#[tokio::test]
async fn objects_that_are_not_recordings_are_ignored() {
    let stack = TestStack::empty().await;
    stack.put_object(&key(PHONE, NOON), b"");
    stack.put_object(&key(PHONE, NOON + 1).replace(".mp4", ".json"), b"{}");
    stack.put_object(&key(PHONE, NOON + 2).replace(".mp4", ".mp4.json"), b"{}");
    stack.put_object(
        &format!("egress-recordings/2025/08/08/outbound-{PHONE}_{NOON}_1.mp4"),
        b"sound",
    );
    stack.put_object("egress-recordings/2025/08/08/EG_demo.json", b"{}");
    assert_not_found(&stack.get(&path(NOON, PHONE)).await);
    stack.put_object(&key(PHONE, NOON + 3), b"sound");
    assert_found(&stack.get(&path(NOON, PHONE)).await, &key(PHONE, NOON + 3));
}

#[tokio::test]
async fn a_recording_that_fits_a_later_known_call_better_is_not_assigned_to_the_earlier_one() {
    let later = Call {
        dispatch_id: format!("dispatch_{}_{PHONE}", NOON + 120),
        start_time: Timestamp::from_second(NOON + 120).ok(),
        ..Call::default()
    };
    for later_first in [false, true] {
        let stack = TestStack::empty().await;
        demo_data::index_call(&stack.calls(), &later).await.unwrap();
        stack.put_object(&key(PHONE, NOON + 123), b"sound");
        let mut order = [NOON, NOON + 120];
        if later_first {
            order.reverse();
        }
        for dispatched in order {
            let answer = stack.get(&path(dispatched, PHONE)).await;
            match dispatched == NOON {
                true => assert_not_found(&answer),
                false => assert_found(&answer, &key(PHONE, NOON + 123)),
            }
        }
    }
}

#[tokio::test]
async fn the_earlier_call_keeps_its_recording_although_a_later_call_is_known() {
    let stack = TestStack::empty().await;
    let later = Call {
        dispatch_id: format!("dispatch_{}_{PHONE}", NOON + 120),
        ..Call::default()
    };
    demo_data::index_call(&stack.calls(), &later).await.unwrap();
    stack.put_object(&key(PHONE, NOON + 100), b"sound");
    stack.put_object(&key(PHONE, NOON + 123), b"sound");
    assert_found(&stack.get(&path(NOON, PHONE)).await, &key(PHONE, NOON + 100));
    assert_found(&stack.get(&path(NOON + 120, PHONE)).await, &key(PHONE, NOON + 123));
}

#[tokio::test]
async fn one_recording_is_never_assigned_to_two_known_calls() {
    for order in [[NOON, NOON + 4], [NOON + 4, NOON]] {
        let stack = TestStack::empty().await;
        for dispatched in order {
            let call = Call {
                dispatch_id: format!("dispatch_{dispatched}_{PHONE}"),
                ..Call::default()
            };
            demo_data::index_call(&stack.calls(), &call).await.unwrap();
        }
        // Equally far from both dispatches; a recording begins after its dispatch.
        stack.put_object(&key(PHONE, NOON + 2), b"sound");
        for dispatched in order {
            let answer = stack.get(&path(dispatched, PHONE)).await;
            match dispatched == NOON {
                true => assert_found(&answer, &key(PHONE, NOON + 2)),
                false => assert_not_found(&answer),
            }
        }
    }
}

#[tokio::test]
async fn a_redial_within_seconds_keeps_the_recordings_of_both_calls() {
    let dispatched = [NOON, NOON + 8];
    for order in [[0, 1], [1, 0]] {
        let stack = TestStack::empty().await;
        // The first recording is closer to the second dispatch.
        let keys = [key(PHONE, NOON + 5), key(PHONE, NOON + 12)];
        for key in &keys {
            stack.put_object(key, b"sound");
        }
        for unix in dispatched {
            let call = Call {
                dispatch_id: format!("dispatch_{unix}_{PHONE}"),
                ..Call::default()
            };
            demo_data::index_call(&stack.calls(), &call).await.unwrap();
        }
        for _ in 0..2 {
            for call in order {
                assert_found(&stack.get(&path(dispatched[call], PHONE)).await, &keys[call]);
            }
        }
        assert_eq!(
            stack.get("/recordings").await.body["recordings"]
                .as_array()
                .unwrap()
                .len(),
            2
        );
    }
}

#[tokio::test]
async fn a_found_recording_is_written_to_the_index_and_listed() {
    let stack = TestStack::demo().await;
    for (searches, object) in demo::unindexed_objects().into_iter().enumerate() {
        let Some(id) = object.dispatch_id else { continue };
        for _ in 0..2 {
            assert_found(&stack.get(&format!("/recordings/{id}")).await, &object.key);
            let listings = stack.stack.aws.calls_of(Service::S3, "ListObjectsV2");
            assert_eq!(listings, 3 * (searches + 1), "the second response comes from the table");
        }
        let list = stack.get("/recordings?limit=100").await.body;
        let row = list["recordings"]
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["dispatch_id"] == *id)
            .unwrap();
        let (_, phone) = id.rsplit_once('_').unwrap();
        assert_eq!(row["phone"], format!("+{phone}"));
        assert_eq!(row["customer_name"], Value::Null);
        let played = stack
            .fetch(row["recording_url"].as_str().unwrap())
            .send()
            .await
            .unwrap();
        assert_eq!(played.bytes().await.unwrap(), object.bytes);
    }
}

#[tokio::test]
async fn a_request_for_an_unknown_call_takes_no_recording_from_a_known_one() {
    let stack = TestStack::empty().await;
    let key = key(PHONE, NOON + 7);
    stack.put_object(&key, b"sound");
    let made = format!("dispatch_{NOON}_{PHONE}");
    let reported = stack.post("/interactions", &json!({"dispatch_id": made})).await;
    assert_eq!(reported.status, 200);
    assert_found(&stack.get(&path(NOON, PHONE)).await, &key);
    let before = stack.get("/recordings").await.body["recordings"][0]["dispatch_id"].clone();
    assert_eq!(before, made);
    for other in [NOON + 3, NOON + 6] {
        stack.get(&path(other, PHONE)).await;
        assert_found(&stack.get(&path(NOON, PHONE)).await, &key);
        let list = stack.get("/recordings").await.body;
        assert_eq!(list["recordings"].as_array().unwrap().len(), 1);
        assert_eq!(list["recordings"][0]["dispatch_id"], made);
    }
}

#[tokio::test]
async fn more_recordings_of_a_number_than_fit_into_a_transaction_are_all_listed() {
    let stack = TestStack::empty().await;
    let keys: Vec<String> = (0..120).map(|number| key("15550001111", NOON + 15 * number)).collect();
    for key in &keys {
        stack.put_object(key, b"sound");
    }
    let path = path(NOON - 2, "15550001111");
    assert_found(&stack.get(&path).await, &keys[0]);
    let list = stack.get("/recordings?limit=1&include_total=true").await;
    assert_eq!(list.body["total"], keys.len());
}

#[tokio::test]
async fn a_known_call_keeps_its_fields_when_its_recording_is_found() {
    let stack = TestStack::empty().await;
    let call = Call {
        dispatch_id: ID.into(),
        interaction_id: Some("i-1".into()),
        customer_name: Some("Louis Smith".into()),
        phone: Some("+1 (510) 345-5686".into()),
        status: Some("COMPLETED".into()),
        outcome: Some("PAYMENT_PROMISED".into()),
        duration: Some(180),
        start_time: Timestamp::from_second(NOON).ok(),
        end_time: Timestamp::from_second(NOON + 180).ok(),
        ..Call::default()
    };
    demo_data::index_call(&stack.calls(), &call).await.unwrap();
    assert_eq!(stack.get("/recordings").await.body["recordings"], json!([]));
    assert_not_found(&stack.get(&format!("/recordings/{ID}")).await);
    stack.put_object(KEY, b"sound");
    assert_found(&stack.get(&format!("/recordings/{ID}")).await, KEY);
    let mut row = stack.get("/recordings").await.body["recordings"][0].take();
    for (name, value) in [
        ("interaction_id", json!("i-1")),
        ("customer_name", json!("Louis Smith")),
        ("phone", json!("+1 (510) 345-5686")),
        ("status", json!("COMPLETED")),
        ("outcome", json!("PAYMENT_PROMISED")),
        ("duration", json!(180)),
        ("start_time", json!("2025-08-08T11:44:39.000Z")),
        ("end_time", json!("2025-08-08T11:47:39.000Z")),
        ("dispatch_id", json!(ID)),
    ] {
        assert_eq!(row[name].take(), value, "{name}");
    }
}

#[tokio::test]
async fn concurrent_requests_find_the_same_recording_and_list_it_once() {
    let stack = TestStack::empty().await;
    stack.put_object(KEY, b"sound");
    let path = path(NOON, PHONE);
    for answer in futures_util::future::join_all((0..8).map(|_| stack.get(&path))).await {
        assert_found(&answer, KEY);
    }
    let list = stack.get("/recordings").await.body;
    assert_eq!(list["recordings"].as_array().unwrap().len(), 1);
}
