//! Credentials, rows, pages and filters.

use serde_json::json;

use super::*;

#[tokio::test]
async fn only_the_accounts_own_credentials_are_accepted() {
    let (twilio, base) = start([recording("RE1", "2024-01-15T10:30:00Z", Media::mp3(CLIPS[0].mp3))]).await;
    twilio.add_api_key("SK1", "secret");
    for resource in ["Recordings.json", "Recordings/RE1.json", "Recordings/RE1.mp3"] {
        let url = url(&base, resource);
        for request in [
            client().get(&url),
            client().get(&url).basic_auth(ACCOUNT, Some("wrong")),
        ] {
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 401);
            assert_eq!(response.json::<Value>().await.unwrap()["code"], 20003);
        }
        assert_eq!(
            client()
                .get(&url)
                .basic_auth("SK1", Some("secret"))
                .send()
                .await
                .unwrap()
                .status(),
            200
        );
    }
    let (status, body) = get_json(&format!("{base}/2010-04-01/Accounts/AC2/Recordings.json?Page=0")).await;
    assert_eq!((status, &body["code"]), (404, &json!(20404)));
    let last = Logged {
        method: "GET".into(),
        path: "/2010-04-01/Accounts/AC2/Recordings.json".into(),
        query: "Page=0".into(),
        authorized: true,
    };
    assert_eq!(twilio.requests().last(), Some(&last));
    assert!(!twilio.requests()[0].authorized);
}

#[tokio::test]
async fn rows_have_twilios_types() {
    let mut known = recording("RE1", "2024-02-01T00:00:00Z", Media::None);
    known.duration = Some(45);
    let (twilio, base) = start([known.clone()]).await;
    let (status, row) = get_json(&url(&base, "Recordings/RE1.json")).await;
    assert_eq!(status, 200);
    assert_eq!(row["duration"], "45");
    assert_eq!(row["price"], "-0.00250");
    assert_eq!(row["date_created"], "Thu, 01 Feb 2024 00:00:00 +0000");
    assert_eq!(
        row["media_url"],
        "https://api.twilio.com/2010-04-01/Accounts/AC1234567890abcdef/Recordings/RE1"
    );
    assert_eq!(row.get("track"), None);
    twilio.add(Recording {
        duration: None,
        price: None,
        track: Some("both".into()),
        ..known
    });
    let (_, row) = get_json(&url(&base, "Recordings/RE1.json")).await;
    assert_eq!(
        (&row["duration"], &row["price"], &row["track"]),
        (&Value::Null, &Value::Null, &json!("both"))
    );
    let (status, body) = get_json(&url(&base, "Recordings/RE2.json")).await;
    assert_eq!((status, &body["code"]), (404, &json!(20404)));
    assert!(
        body["message"]
            .as_str()
            .unwrap()
            .contains("/Recordings/RE2.json was not found")
    );
}

#[tokio::test]
async fn page_uris_keep_the_filters_and_skip_no_recording_when_new_ones_arrive() {
    let dates = (1..=28).map(|day| (format!("RE{day:02}"), format!("2024-02-{day:02}T12:00:00Z")));
    let (twilio, base) = start(dates.map(|(sid, date)| recording(&sid, &date, Media::None))).await;
    let mut next = Some(url(
        &base,
        "Recordings.json?PageSize=7&DateCreated%3E=2024-02-05&DateCreated%3C=2024-02-25",
    ));
    let mut seen = Vec::new();
    while let Some(url) = next {
        let (status, page) = get_json(&url).await;
        assert_eq!(status, 200);
        seen.extend(sids(&page).into_iter().map(str::to_owned));
        twilio.add(recording(
            &format!("NEW{}", seen.len()),
            "2024-02-25T23:00:00Z",
            Media::None,
        ));
        next = page["next_page_uri"].as_str().map(|uri| format!("{base}{uri}"));
    }
    let expected: Vec<_> = (5..=25).rev().map(|day| format!("RE{day:02}")).collect();
    assert_eq!(seen, expected);

    let (_, second) = get_json(&url(&base, "Recordings.json?PageSize=2&Page=1&PageToken=PARE28")).await;
    assert_eq!(sids(&second), ["RE27", "RE26"]);
    let (_, first) = get_json(&format!("{base}{}", second["previous_page_uri"].as_str().unwrap())).await;
    assert_eq!(sids(&first), ["RE28"]);
    assert_eq!(first["previous_page_uri"], Value::Null);
}

#[tokio::test]
async fn invalid_list_parameters_are_rejected() {
    let (_, base) = start([]).await;
    for (query, code) in [
        ("PageSize=0", 20001),
        ("PageSize=1001", 20001),
        ("Page=-1", 20001),
        ("DateCreated%3E=yesterday", 20001),
        ("PageToken=PARE404", 21481),
        ("PageToken=junk", 21481),
    ] {
        let (status, body) = get_json(&url(&base, &format!("Recordings.json?{query}"))).await;
        assert_eq!((status, &body["code"]), (400, &json!(code)), "{query}");
    }
    let (status, page) = get_json(&url(&base, "Recordings.json?PageSize=1000")).await;
    assert_eq!(
        (status, &page["next_page_uri"], &page["page_size"]),
        (200, &Value::Null, &json!(1000))
    );
}

#[tokio::test]
async fn filters_select_by_day_call_and_deletion() {
    let deleted = Recording {
        status: "deleted".into(),
        ..recording("RE3", "2024-01-31T23:59:58Z", Media::None)
    };
    let of_a_call = Recording {
        call_sid: "CA2".into(),
        ..recording("RE2", "2024-01-31T08:15:00Z", Media::None)
    };
    let first = recording("RE1", "2024-01-01T00:00:00Z", Media::None);
    let (_, base) = start([
        recording("RE4", "2024-02-01T00:00:00Z", Media::None),
        deleted,
        of_a_call,
        first,
    ])
    .await;
    for (query, expected) in [
        ("", &["RE4", "RE3", "RE2", "RE1"][..]),
        ("IncludeSoftDeleted=false", &["RE4", "RE2", "RE1"]),
        ("CallSid=CA2", &["RE2"]),
        ("DateCreated=2024-01-31", &["RE3", "RE2"]),
        (
            "DateCreated%3E=2024-01-01&DateCreated%3C=2024-01-31T00:00:00Z",
            &["RE3", "RE2", "RE1"],
        ),
    ] {
        let (_, page) = get_json(&url(&base, &format!("Recordings.json?PageSize=1000&{query}"))).await;
        assert_eq!(sids(&page), expected, "{query}");
    }
}
