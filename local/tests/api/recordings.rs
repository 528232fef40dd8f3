//! `GET /recordings/{dispatch_id}`: presigned URLs, and the search for a recording that is not in the index.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;
use aws_sdk_s3::{config::SharedCredentialsProvider, presigning::PresigningConfig};
use jiff::{SignedDuration, Timestamp, ToSpan, civil, tz::TimeZone};
use local::{
    aws::{self, Service},
    clips, demo,
    stack::{account, demo_data},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use reqwest::{Method, StatusCode, Url};
use serde_json::{Value, json};
use shared::{
    calls::{Call, index_object},
    clients::bucket::RecordingsBucket,
};

use crate::stack::{Answer, TestStack};

const ID: &str = "dispatch_1754653479_15103455686";
const KEY: &str = "egress-recordings/2025/08/08/outbound-15103455686_1754653479.mp4";
/// 2025-08-08T11:44:39Z
const NOON: i64 = 1_754_653_479;
/// 2025-08-08T00:00:00Z
const MIDNIGHT: i64 = 1_754_611_200;
const PHONE: &str = "15103455686";
const NOT_FOUND: &str = "Recording not found. Call may still be in progress or recording failed.";

fn day(unix: i64) -> civil::Date {
    TimeZone::UTC.to_datetime(Timestamp::from_second(unix).unwrap()).date()
}

fn key_in(day: civil::Date, phone: &str, unix: i64) -> String {
    format!(
        "egress-recordings/{}/outbound-{phone}_{unix}.mp4",
        day.strftime("%Y/%m/%d")
    )
}

/// The key that egress gives to a recording with this start time.
fn key(phone: &str, unix: i64) -> String {
    key_in(day(unix), phone, unix)
}

fn path(unix: i64, phone: &str) -> String {
    format!("/recordings/dispatch_{unix}_{phone}")
}

fn parameter(url: &Value, name: &str) -> Option<String> {
    let url = Url::parse(url.as_str().unwrap()).unwrap();
    url.query_pairs()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
}

/// When a presigned URL expires, according to its parameters.
fn end_of(url: &Value) -> Timestamp {
    let signed = civil::DateTime::strptime("%Y%m%dT%H%M%SZ", parameter(url, "X-Amz-Date").unwrap()).unwrap();
    let seconds = parameter(url, "X-Amz-Expires").unwrap().parse().unwrap();
    TimeZone::UTC.to_timestamp(signed).unwrap() + SignedDuration::from_secs(seconds)
}

#[track_caller]
fn assert_found(answer: &Answer, key: &str) {
    assert_eq!(
        (answer.status.as_u16(), &answer.body["s3_key"]),
        (200, &json!(key)),
        "{}",
        answer.body
    );
}

#[track_caller]
fn assert_not_found(answer: &Answer) {
    assert_eq!(answer.recordings_error(404, "recording_not_found"), NOT_FOUND);
}

#[tokio::test]
async fn the_documented_example_has_the_documented_fields() {
    let stack = TestStack::demo().await;
    let answer = stack.get_without_key(&format!("/recordings/{ID}")).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["content-type"], "application/json");
    let body = &answer.body;
    let fields: BTreeSet<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    let documented = [
        "dispatch_id",
        "download_url",
        "expires_at",
        "expires_in",
        "recording_url",
        "s3_key",
        "stable_url",
    ];
    assert_eq!(fields, BTreeSet::from(documented));
    assert_eq!(body["dispatch_id"], ID);
    assert_eq!(body["s3_key"], KEY);
    assert_eq!(body["expires_in"], 3600);
    for url in ["recording_url", "download_url"] {
        let url = Url::parse(body[url].as_str().unwrap()).unwrap();
        assert!(url.path().ends_with(KEY), "{url}");
    }
    assert_eq!(parameter(&body["recording_url"], "response-content-disposition"), None);
    let disposition = parameter(&body["download_url"], "response-content-disposition").unwrap();
    assert!(disposition.starts_with("attachment; filename="), "{disposition}");
}

#[tokio::test]
async fn expires_at_is_the_time_when_both_urls_expire() {
    let stack = TestStack::demo().await;
    for (query, seconds) in [
        ("", 3600),
        ("?expires_in=86400", 86_400),
        ("?expires_in=1", 1),
        ("?expires_in=604800", 604_800),
    ] {
        let answer = stack.get_without_key(&format!("/recordings/{ID}{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}");
        let body = answer.body;
        assert_eq!(body["expires_in"], seconds);
        assert_eq!(body.get("expires_limited_by"), None);
        let expires_at = body["expires_at"].as_str().unwrap();
        assert!(expires_at.ends_with(".000Z") && expires_at.len() == 24, "{expires_at}");
        let moment: Timestamp = expires_at.parse().unwrap();
        for url in ["recording_url", "download_url"] {
            assert_eq!(parameter(&body[url], "X-Amz-Expires"), Some(seconds.to_string()));
            assert_eq!(end_of(&body[url]), moment);
        }
    }
}

#[tokio::test]
async fn the_urls_support_playing_seeking_and_downloading() {
    let stack = TestStack::demo().await;
    let body = stack.get_without_key(&format!("/recordings/{ID}")).await.body;
    let (play, download) = (
        body["recording_url"].as_str().unwrap(),
        body["download_url"].as_str().unwrap(),
    );
    let sound = clips::CLIPS.iter().find(|clip| clip.mp4_seconds == 180).unwrap();
    let sound = sound.mp4.unwrap();

    let whole = stack.fetch(play).send().await.unwrap();
    assert_eq!(whole.status(), 200);
    assert_eq!(whole.headers()["content-type"], "audio/mp4");
    assert_eq!(whole.headers()["accept-ranges"], "bytes");
    assert!(whole.headers().get("content-disposition").is_none());
    assert_eq!(whole.bytes().await.unwrap(), sound);

    let size = sound.len();
    for (range, first, last) in [
        ("bytes=0-99".to_owned(), 0, 99),
        (format!("bytes={}-", size - 10), size - 10, size - 1),
        ("bytes=-5".into(), size - 5, size - 1),
    ] {
        let part = stack.fetch(play).header("Range", &range).send().await.unwrap();
        assert_eq!(part.status(), 206, "{range}");
        assert_eq!(
            part.headers()["content-range"].to_str().unwrap(),
            format!("bytes {first}-{last}/{size}")
        );
        assert_eq!(part.bytes().await.unwrap(), sound[first..=last]);
    }

    let file = stack.fetch(download).send().await.unwrap();
    assert_eq!(file.status(), 200);
    assert_eq!(
        file.headers()["content-disposition"],
        "attachment; filename=\"outbound-15103455686_1754653479.mp4\"; filename*=UTF-8''outbound-15103455686_1754653479.mp4"
    );
    assert_eq!(file.bytes().await.unwrap(), sound);
}

#[tokio::test]
async fn a_modified_url_is_rejected() {
    let stack = TestStack::demo().await;
    let body = stack.get_without_key(&format!("/recordings/{ID}")).await.body;
    let url = body["download_url"].as_str().unwrap();
    let signature = parameter(&body["download_url"], "X-Amz-Signature").unwrap();
    let (kept, last) = signature.split_at(signature.len() - 1);
    let other_signature = format!("{kept}{}", if last == "0" { "1" } else { "0" });
    let other_recording = demo::calls(demo::DOCUMENTED_TIME)
        .into_iter()
        .filter_map(|call| call.recording)
        .map(|(key, _)| key)
        .find(|key| key != KEY)
        .unwrap();
    for (what, changed) in [
        ("signature", url.replace(&signature, &other_signature)),
        ("key", url.replace(KEY, &other_recording)),
        ("expiry", url.replace("X-Amz-Expires=3600", "X-Amz-Expires=604800")),
        ("disposition", url.replacen("attachment", "inline", 1)),
        ("type", url.replace("audio%2Fmp4", "text%2Fhtml")),
        ("signer", url.replace("local-signer", "local")),
        ("an addition", format!("{url}&response-cache-control=no-store")),
    ] {
        assert_ne!(changed, url, "{what}");
        let answer = stack.fetch(&changed).send().await.unwrap();
        assert_eq!(answer.status(), 403, "{what}");
    }
    assert_eq!(stack.fetch(url).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn an_expired_url_is_rejected() {
    let stack = TestStack::demo().await;
    let signer = Credentials::new(
        aws::SIGNER_ACCESS_KEY_ID,
        aws::SIGNER_SECRET_ACCESS_KEY,
        None,
        None,
        "test",
    );
    let config = stack.aws().s3_config().to_builder();
    let client = aws_sdk_s3::Client::from_conf(
        config
            .credentials_provider(SharedCredentialsProvider::new(signer))
            .build(),
    );
    for (life, status) in [(60, 403), (3600, 200)] {
        let presigning = PresigningConfig::builder()
            .start_time(SystemTime::now() - Duration::from_secs(120))
            .expires_in(Duration::from_secs(life))
            .build()
            .unwrap();
        let get = client.get_object().bucket(account::BUCKET).key(KEY);
        let url = get.presigned(presigning).await.unwrap().uri().to_owned();
        assert_eq!(stack.fetch(&url).send().await.unwrap().status(), status, "of {life} s");
    }
}

#[tokio::test]
async fn urls_are_signed_by_the_signer_if_configured_or_else_by_the_function() {
    for (signer, id) in [(account::SIGNER_SECRET, "local-signer/"), ("", "local/")] {
        let stack = TestStack::with_environment([("SIGNER_SECRET", signer)]).await;
        stack.put_object(KEY, b"sound");
        let body = stack.get(&format!("/recordings/{ID}?expires_in=604800")).await.body;
        for url in ["recording_url", "download_url"] {
            assert!(
                parameter(&body[url], "X-Amz-Credential").unwrap().starts_with(id),
                "{body}"
            );
            let answer = stack.fetch(body[url].as_str().unwrap()).send().await.unwrap();
            assert_eq!(answer.text().await.unwrap(), "sound");
        }
        assert_eq!(body["expires_in"], 604_800);
        assert_eq!(body.get("expires_limited_by"), None);
    }
}

#[tokio::test]
async fn a_url_signed_with_temporary_credentials_states_at_most_15_minutes() {
    let stack = TestStack::with_environment([("SIGNER_SECRET", ""), ("AWS_SESSION_TOKEN", "a-token")]).await;
    stack.put_object(KEY, b"sound");
    for (query, seconds, limited_by) in [
        ("", 900, Some("temporary_credentials")),
        ("?expires_in=604800", 900, Some("temporary_credentials")),
        ("?expires_in=901", 900, Some("temporary_credentials")),
        ("?expires_in=900", 900, None),
        ("?expires_in=60", 60, None),
    ] {
        let body = stack.get(&format!("/recordings/{ID}{query}")).await.body;
        assert_eq!(body["expires_in"], seconds, "{query}");
        assert_eq!(body["expires_limited_by"].as_str(), limited_by, "{query}");
        assert_eq!(
            end_of(&body["download_url"]),
            body["expires_at"].as_str().unwrap().parse().unwrap()
        );
        assert_eq!(
            parameter(&body["recording_url"], "X-Amz-Security-Token").as_deref(),
            Some("a-token")
        );
        let answer = stack
            .fetch(body["recording_url"].as_str().unwrap())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
    }
}

#[tokio::test]
async fn with_a_signer_urls_can_be_valid_for_seven_days() {
    let stack = TestStack::with_environment([("AWS_SESSION_TOKEN", "a-token")]).await;
    stack.put_object(KEY, b"sound");
    let body = stack.get(&format!("/recordings/{ID}?expires_in=604800")).await.body;
    assert_eq!(body["expires_in"], 604_800);
    assert_eq!(parameter(&body["recording_url"], "X-Amz-Security-Token"), None);
}

#[tokio::test]
async fn expires_in_is_a_number_of_seconds_up_to_seven_days() {
    let stack = TestStack::demo().await;
    for value in [
        "0",
        "604801",
        "-1",
        "abc",
        "",
        "1.5",
        "1e3",
        "+60",
        "%2060",
        "99999999999999999999999",
        "0x10",
        "%D9%A1",
        "60%00",
    ] {
        let answer = stack.get(&format!("/recordings/{ID}?expires_in={value}")).await;
        let text = answer.recordings_error(400, "invalid_parameter");
        assert!(
            text.contains("expires_in") && text.contains("from 1 to 604800"),
            "{text}"
        );
    }
    let repeated = stack
        .get(&format!("/recordings/{ID}?expires_in=60&expires_in=60"))
        .await;
    assert!(
        repeated
            .recordings_error(400, "repeated_parameter")
            .contains("expires_in")
    );
    for (query, named) in [
        ("limit=5", "limit"),
        ("expires-in=5", "expires-in"),
        ("EXPIRES_IN=5", "EXPIRES_IN"),
    ] {
        let unknown = stack.get(&format!("/recordings/{ID}?{query}")).await;
        let text = unknown.recordings_error(400, "unknown_parameter");
        assert!(text.contains(named) && text.contains("expires_in"), "{text}");
    }
}

#[tokio::test]
async fn an_invalid_dispatch_id_is_rejected_before_any_request_to_aws() {
    let stack = TestStack::empty().await;
    let long = "a".repeat(129);
    let known = stack.stack.aws.calls(Service::DynamoDb);
    for id in [
        "dispatch_1%2F2",
        "%2F",
        "%2e%2E%2fsecret",
        "a%00b",
        "%00",
        "%FF",
        "%C3%28",
        "%E2%82%AC",
        "a%20b",
        "a+b",
        "a'b",
        "a%22b",
        "day%232025-08-08",
        "..",
        ".",
        "%2e%2e",
        "a%",
        "a%zz",
        "x%2F/",
        &long,
    ] {
        let (status, body) = stack.get_raw(format!("/recordings/{id}").as_bytes()).await;
        assert_eq!(status, 400, "{id}: {body}");
        let code = body["code"].as_str().unwrap();
        assert!(matches!(code, "invalid_dispatch_id" | "invalid_path"), "{id}: {body}");
        assert!(
            body["detail"].is_string() && body["request_id"].is_string(),
            "{id}: {body}"
        );
    }
    assert_eq!(stack.stack.aws.calls(Service::DynamoDb), known);
    assert_eq!(stack.stack.aws.calls_of(Service::S3, "ListObjectsV2"), 0);
    assert_not_found(&stack.get(&format!("/recordings/{}", "a".repeat(128))).await);
}

#[tokio::test]
async fn invalid_bytes_in_the_query_are_a_400() {
    let stack = TestStack::demo().await;
    for query in ["expires_in=%FF", "%FF=1", "expires_in=60&x=%C3%28"] {
        let (status, body) = stack.get_raw(format!("/recordings/{ID}?{query}").as_bytes()).await;
        assert_eq!(
            (status, body["code"].as_str()),
            (400, Some("invalid_query")),
            "{query}: {body}"
        );
    }
    for query in ["&", "&&expires_in=60&", ""] {
        let (status, body) = stack.get_raw(format!("/recordings/{ID}?{query}").as_bytes()).await;
        assert_eq!(status, 200, "{query}: {body}");
    }
    // HTTP servers reject these bytes in a request line; the response must be neither a success nor a crash.
    for query in [&b"expires_in=\xff"[..], b"expires_in=\x00", b"expires_in=\xc3\xa9"] {
        let target = [format!("/recordings/{ID}?").as_bytes(), query].concat();
        let (status, body) = stack.get_raw(&target).await;
        assert_eq!(status, 400, "{body}");
    }
}

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

#[derive(Debug, Clone)]
struct File {
    offset: i64,
    days: i64,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Sound,
    Empty,
    Manifest,
}

#[derive(Debug, Clone)]
struct Dispatch {
    offset: i64,
    known: bool,
}

fn case() -> impl Strategy<Value = (i64, Vec<File>, Vec<Dispatch>)> {
    let kind = prop_oneof![4 => Just(Kind::Sound), 1 => Just(Kind::Empty), 1 => Just(Kind::Manifest)];
    let days = prop_oneof![4 => Just(0_i64), 1 => -2_i64..=2];
    let offset = || prop_oneof![2 => -10_i64..30, 1 => -320_i64..640];
    let file = (offset(), days, kind).prop_map(|(offset, days, kind)| File { offset, days, kind });
    let dispatch = (offset(), any::<bool>()).prop_map(|(offset, known)| Dispatch { offset, known });
    (
        -400_i64..400,
        proptest::collection::vec(file, 0..7),
        proptest::collection::vec(dispatch, 1..5),
    )
}

type Listed = (String, i64, civil::Date, Kind);

/// The expected assignment, by brute force over all assignments without crossings: most pairs, then the earliest recordings, then the fewest
/// seconds between recording and dispatch (seconds before the dispatch count tenfold), then the earliest calls. A recording that began after a
/// later dispatch belongs to that one, except within 10 s.
fn pairing(dispatches: &[i64], recordings: &[(i64, String)]) -> BTreeMap<i64, String> {
    fn by_brute_force(dispatches: &[i64], recordings: &[(i64, String)], from: usize) -> (i64, i64, i64, Vec<usize>) {
        let Some(((began, _), rest)) = recordings.split_first() else {
            return (0, 0, 0, Vec::new());
        };
        let mut best = None;
        for d in from..=dispatches.len() {
            let (pairs, started, cost, next) = match dispatches.get(d) {
                None => (0, 0, 0, from),
                Some(at) => {
                    let late = began - at;
                    let overtaken = dispatches.iter().any(|later| *later > at + 10 && later <= began);
                    if !(-5..=300).contains(&late) || overtaken {
                        continue;
                    }
                    (-1, *began, if late < 0 { -10 * late } else { late }, d + 1)
                }
            };
            let (more, times, costs, mut chosen) = by_brute_force(dispatches, rest, next);
            chosen.insert(0, d);
            let found = (pairs + more, started + times, cost + costs, chosen);
            if best.as_ref().is_none_or(|best| found < *best) {
                best = Some(found);
            }
        }
        best.unwrap()
    }
    let (.., chosen) = by_brute_force(dispatches, recordings, 0);
    let pairs = chosen.into_iter().zip(recordings);
    pairs
        .filter_map(|(d, (_, key))| Some((*dispatches.get(d)?, key.clone())))
        .collect()
}

/// A model of the table.
#[derive(Default)]
struct IndexModel {
    dispatches: BTreeSet<i64>,
    recordings: BTreeSet<(i64, String)>,
}

impl IndexModel {
    /// The recording that a request for this dispatch finds. Updates the model like the request updates the table.
    fn find(&mut self, files: &[Listed], dispatched: i64) -> Option<String> {
        let recordings: Vec<_> = self.recordings.iter().cloned().collect();
        let dispatches: Vec<_> = self.dispatches.iter().copied().collect();
        let mut linked = pairing(&dispatches, &recordings);
        if let Some(key) = linked.remove(&dispatched) {
            return Some(key);
        }
        let same: Vec<_> = recordings.iter().filter(|(began, _)| *began == dispatched).collect();
        if !self.dispatches.contains(&dispatched)
            && let Some((_, key)) = same.first()
            && !linked.values().any(|taken| taken == key)
        {
            return Some(key.clone());
        }
        let candidates: BTreeSet<(i64, String)> = files
            .iter()
            .filter(|(_, _, folder, kind)| {
                *kind == Kind::Sound && (-1..=1).contains(&(*folder - day(dispatched)).get_days())
            })
            .map(|(key, began, ..)| (*began, key.clone()))
            .collect();
        let with: Vec<_> = self
            .dispatches
            .iter()
            .copied()
            .chain([dispatched])
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let found = pairing(&with, &candidates.iter().cloned().collect::<Vec<_>>()).remove(&dispatched)?;
        let made_up = candidates
            .iter()
            .any(|file| file.0 == dispatched && self.recordings.contains(file));
        let taken = pairing(&dispatches, &recordings).into_values().any(|key| key == found);
        if self.dispatches.contains(&dispatched) || !(made_up || taken) {
            self.dispatches.insert(dispatched);
            self.recordings.extend(candidates);
        }
        Some(found)
    }
}

#[test]
fn the_search_equals_a_brute_force_model_of_its_rules() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let stack = runtime.block_on(TestStack::empty());
    let cases = Cell::new(0);
    let mut runner = TestRunner::new(Config {
        cases: 32,
        failure_persistence: None,
        ..Config::default()
    });
    let result = runner.run(&case(), |(begin, files, dispatches)| {
        cases.set(cases.get() + 1);
        let phone = format!("1{:010}", cases.get());
        let base = MIDNIGHT + begin;
        let mut listed: Vec<Listed> = Vec::new();
        for file in files {
            let began = base + file.offset;
            let folder = day(began).checked_add(file.days.days()).unwrap();
            let key = key_in(folder, &phone, began);
            let (key, bytes) = match file.kind {
                Kind::Sound => (key, &b"s"[..]),
                Kind::Empty => (key, &b""[..]),
                Kind::Manifest => (key.replace(".mp4", ".json"), &b"{}"[..]),
            };
            if listed.iter().all(|(known, ..)| *known != key) {
                stack.put_object(&key, bytes);
                listed.push((key, began, folder, file.kind));
            }
        }
        let mut known = IndexModel::default();
        for dispatch in dispatches.iter().filter(|dispatch| dispatch.known) {
            let unix = base + dispatch.offset;
            let call = Call {
                dispatch_id: format!("dispatch_{unix}_{phone}"),
                ..Call::default()
            };
            runtime.block_on(demo_data::index_call(&stack.calls(), &call)).unwrap();
            known.dispatches.insert(unix);
        }
        for dispatch in &dispatches {
            let unix = base + dispatch.offset;
            let answer = runtime.block_on(stack.get(&path(unix, &phone)));
            let found = answer.body["s3_key"].as_str().map(str::to_owned);
            let expected = known.find(&listed, unix);
            prop_assert_eq!(&found, &expected, "{} {} {:?}", unix, answer.body, listed);
            if found.is_none() {
                assert_not_found(&answer);
            }
        }
        Ok(())
    });
    result.unwrap();
}

#[tokio::test]
async fn without_a_bucket_both_endpoints_return_the_documented_500() {
    for bucket in ["", "no-such-bucket"] {
        let stack = TestStack::with_environment([("RECORDINGS_BUCKET", bucket)]).await;
        let mut answers = vec![stack.get(&format!("/recordings/{ID}")).await];
        if bucket.is_empty() {
            answers.push(stack.get("/recordings").await);
        }
        for answer in answers {
            assert_eq!(
                answer.recordings_error(500, "s3_not_configured"),
                "S3 configuration missing. Recording URLs not available."
            );
        }
    }
}

/// Checks that a response contains no message or address of an internal service.
#[track_caller]
fn assert_nothing_internal(answer: &Answer) {
    let text = answer.body.to_string();
    for internal in [
        "Set by a test",
        "localhost",
        "127.0.0.1",
        "Internal",
        "AccessDenied",
        "call-recordings/",
        "egress",
    ] {
        assert!(!text.contains(internal), "{internal}: {text}");
    }
}

#[tokio::test]
async fn an_outage_of_s3_is_not_a_404() {
    let stack = TestStack::empty().await;
    for (status, expected, code, retryable) in [
        (StatusCode::SERVICE_UNAVAILABLE, 503, "storage_unavailable", json!(true)),
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            503,
            "storage_unavailable",
            json!(true),
        ),
        (StatusCode::FORBIDDEN, 500, "storage_access_denied", Value::Null),
    ] {
        stack.stack.aws.faults().set(Service::S3, Some(status));
        let answer = stack.get(&format!("/recordings/{ID}")).await;
        answer.recordings_error(expected, code);
        assert_eq!(answer.body["retryable"], retryable);
        assert_nothing_internal(&answer);
    }
    stack.stack.aws.faults().set(Service::S3, None);
    assert_not_found(&stack.get(&format!("/recordings/{ID}")).await);
}

#[tokio::test]
async fn an_outage_of_dynamodb_is_neither_a_404_nor_an_empty_list() {
    let stack = TestStack::demo().await;
    for status in [
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::BAD_REQUEST,
    ] {
        stack.stack.aws.faults().set(Service::DynamoDb, Some(status));
        for path in [format!("/recordings/{ID}"), "/recordings".into()] {
            let answer = stack.get(&path).await;
            answer.recordings_error(503, "database_unavailable");
            assert_eq!(answer.body["retryable"], true);
            assert_nothing_internal(&answer);
        }
    }
}

#[tokio::test]
async fn an_unusable_signer_secret_is_reported_without_its_content() {
    let stack = TestStack::with_environment([("SIGNER_SECRET", "other-signer")]).await;
    stack.put_object(KEY, b"sound");
    let one = format!("/recordings/{ID}");
    let ask = async |status, code| {
        for path in [&one, "/recordings"] {
            let answer = stack.get(path).await;
            answer.recordings_error(status, code);
            assert_nothing_internal(&answer);
            assert!(!answer.body.to_string().contains("signer-"), "{}", answer.body);
        }
    };
    ask(500, "signer_not_configured").await;
    stack
        .put_secret("other-signer", r#"{"access_key_id": "signer-id"}"#)
        .await;
    ask(500, "signer_not_configured").await;
    stack.put_secret("other-signer", "signer-secret, not JSON").await;
    ask(500, "signer_not_configured").await;
    let faults = stack.stack.aws.faults();
    faults.set(Service::SecretsManager, Some(StatusCode::INTERNAL_SERVER_ERROR));
    ask(503, "signer_unavailable").await;
    faults.set(Service::SecretsManager, None);
    let keys = json!({"access_key_id": aws::SIGNER_ACCESS_KEY_ID, "secret_access_key": aws::SIGNER_SECRET_ACCESS_KEY});
    stack.put_secret("other-signer", &keys.to_string()).await;
    assert_found(&stack.get(&one).await, KEY);
}

#[tokio::test]
async fn a_presigned_url_is_for_reading_only() {
    let stack = TestStack::demo().await;
    let body = stack.get(&format!("/recordings/{ID}")).await.body;
    let url = body["recording_url"].as_str().unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for method in [Method::HEAD, Method::PUT, Method::DELETE] {
        let answer = client.request(method.clone(), url).send().await.unwrap();
        assert_eq!(answer.status(), 403, "{method}");
    }
}
