//! Objects and listings.

use super::*;

#[tokio::test]
async fn an_object_keeps_its_bytes_type_and_tag() {
    let (_dir, running) = Running::temporary().await;
    let s3 = running.s3().await;
    put(&s3).await;

    let head = s3.head_object().bucket(BUCKET).key(KEY).send().await.unwrap();
    assert_eq!(head.content_type(), Some("video/mp4"));
    assert_eq!(head.content_length(), Some(20));
    assert_eq!(head.e_tag(), Some("\"644be06dfc54061fd1e67f5ebbabcd58\""));
    assert!(head.last_modified().unwrap().secs() > 1_700_000_000);
    let list = s3
        .list_objects_v2()
        .bucket(BUCKET)
        .prefix("egress-recordings/2025/08/08/outbound-+")
        .send()
        .await;
    let list = list.unwrap();
    let [object] = list.contents() else { panic!("{list:?}") };
    assert_eq!(
        (object.key(), object.size(), object.e_tag()),
        (Some(KEY), Some(20), head.e_tag())
    );

    let get = s3
        .get_object()
        .bucket(BUCKET)
        .key(KEY)
        .range("bytes=-5")
        .send()
        .await
        .unwrap();
    assert_eq!(get.content_range(), Some("bytes 15-19/20"));
    assert_eq!(get.body.collect().await.unwrap().into_bytes(), "fghij");
    let all = s3
        .get_object()
        .bucket(BUCKET)
        .key(KEY)
        .range("bytes=-500")
        .send()
        .await
        .unwrap();
    assert_eq!(all.content_range(), Some("bytes 0-19/20"));
    let none = s3
        .get_object()
        .bucket(BUCKET)
        .key(KEY)
        .range("bytes=20-")
        .send()
        .await
        .unwrap_err();
    assert_eq!(none.raw_response().unwrap().status().as_u16(), 416);
}

#[tokio::test]
async fn a_missing_object_and_a_missing_bucket_have_different_errors() {
    let (_dir, running) = Running::temporary().await;
    let s3 = running.s3().await;
    put(&s3).await;

    let absent = s3.head_object().bucket(BUCKET).key("absent").send().await.unwrap_err();
    assert!(absent.into_service_error().is_not_found());
    for missing in ["absent", "egress-recordings/2025", "egress-recordings/2025/"] {
        let error = s3.get_object().bucket(BUCKET).key(missing).send().await.unwrap_err();
        assert!(error.into_service_error().is_no_such_key(), "{missing}");
    }
    let error = s3.list_objects_v2().bucket("no-such-bucket").send().await.unwrap_err();
    assert_eq!(error.code(), Some("NoSuchBucket"));
    let body = ByteStream::from_static(BODY);
    let error = s3
        .put_object()
        .bucket("no-such-bucket")
        .key("k")
        .body(body)
        .send()
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some("NoSuchBucket"));
}

#[tokio::test]
async fn a_listing_of_more_than_a_thousand_objects_is_sorted_and_complete() {
    let (dir, running) = Running::temporary().await;
    let s3 = running.s3().await;
    s3.create_bucket().bucket(BUCKET).send().await.unwrap();
    let folder = dir.path().join("s3").join(BUCKET).join("2025/08/08");
    std::fs::create_dir_all(&folder).unwrap();
    let names: Vec<_> = (0..1203)
        .map(|n| format!("2025/08/08/outbound-+1510_{n:05}.mp4"))
        .collect();
    for name in names.iter().rev() {
        std::fs::write(folder.join(name.rsplit('/').next().unwrap()), "x").unwrap();
    }
    std::fs::write(folder.join("outbound-+1999_1.mp4"), "x").unwrap();

    let first = s3
        .list_objects_v2()
        .bucket(BUCKET)
        .prefix("2025/08/08/outbound-+1510_")
        .send()
        .await
        .unwrap();
    assert_eq!((first.contents().len(), first.is_truncated()), (1000, Some(true)));
    for page_size in [1000, 401] {
        let list = s3
            .list_objects_v2()
            .bucket(BUCKET)
            .prefix("2025/08/08/outbound-+1510_")
            .max_keys(page_size);
        let mut pages = list.into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.unwrap();
            assert!(page.contents().len() <= usize::try_from(page_size).unwrap());
            keys.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
        }
        assert_eq!(keys, names);
    }
}
