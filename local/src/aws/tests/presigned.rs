//! Presigned URLs.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::operation::get_object::builders::GetObjectFluentBuilder;
use aws_sdk_s3::presigning::PresigningConfig;

use super::*;

async fn presign(get: GetObjectFluentBuilder, begun: Duration) -> String {
    let start = SystemTime::now() - begun;
    let config = PresigningConfig::builder()
        .start_time(start)
        .expires_in(Duration::from_secs(60))
        .build()
        .unwrap();
    get.bucket(BUCKET)
        .key(KEY)
        .presigned(config)
        .await
        .unwrap()
        .uri()
        .to_owned()
}

#[tokio::test]
async fn a_presigned_url_supports_playing_seeking_and_downloading() {
    let (_dir, running) = Running::temporary().await;
    put(&running.s3().await).await;
    let http = reqwest::Client::new();

    let sam = Credentials::new("defaultkey", "defaultsecret", None, None, "test");
    for credentials in [local(), sam, signer(None), signer(Some("session+token/=="))] {
        let s3 = running.s3_as(credentials).await;
        let disposition = "attachment; filename=\"call 1.mp4\"; filename*=UTF-8''call%201.mp4";
        let get = s3
            .get_object()
            .response_content_disposition(disposition)
            .response_content_type("audio/mp4");
        let url = presign(get, Duration::ZERO).await;
        let whole = http
            .get(&url)
            .header("origin", "https://player.example")
            .send()
            .await
            .unwrap();
        assert_eq!(whole.status(), 200);
        assert_eq!(header(&whole, "accept-ranges"), "bytes");
        assert_eq!(header(&whole, "content-disposition"), disposition);
        assert_eq!(header(&whole, "content-type"), "audio/mp4");
        assert_eq!(header(&whole, "access-control-allow-origin"), "*");
        for exposed in ["Content-Range", "Accept-Ranges", "Content-Length", "ETag"] {
            assert!(
                header(&whole, "access-control-expose-headers").contains(exposed),
                "{exposed}"
            );
        }
        let tag = header(&whole, "etag").to_owned();
        assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() == 34, "{tag}");
        assert_eq!(whole.bytes().await.unwrap(), BODY);

        let part = http.get(&url).header("range", "bytes=0-9").send().await.unwrap();
        assert_eq!(
            (part.status().as_u16(), header(&part, "content-range")),
            (206, "bytes 0-9/20")
        );
        assert_eq!(part.bytes().await.unwrap(), &BODY[..10]);
        let beyond = http.get(&url).header("range", "bytes=20-29").send().await.unwrap();
        assert_eq!(beyond.status(), 416);
        let several = http.get(&url).header("range", "bytes=0-1,5-6").send().await.unwrap();
        assert_eq!((several.status().as_u16(), several.content_length()), (200, Some(20)));
        let unchanged = http.get(&url).header("if-none-match", &tag).send().await.unwrap();
        assert_eq!(
            (unchanged.status().as_u16(), header(&unchanged, "etag")),
            (304, tag.as_str())
        );
        assert_eq!(unchanged.bytes().await.unwrap(), "");
    }
    let preflight = http.request(reqwest::Method::OPTIONS, format!("{}/{BUCKET}/k", running.url));
    let preflight = preflight
        .header("origin", "null")
        .header("access-control-request-headers", "range")
        .send()
        .await;
    assert_eq!(header(&preflight.unwrap(), "access-control-allow-headers"), "range");
}

#[tokio::test]
async fn a_url_with_another_signature_or_an_expired_one_is_rejected() {
    let (_dir, running) = Running::temporary().await;
    let s3 = running.s3_as(signer(Some("token"))).await;
    put(&running.s3().await).await;
    let http = reqwest::Client::new();
    let url = presign(s3.get_object(), Duration::ZERO).await;
    assert_eq!(http.get(&url).send().await.unwrap().status(), 200);

    let expired = http
        .get(presign(s3.get_object(), Duration::from_secs(120)).await)
        .send()
        .await
        .unwrap();
    assert_eq!(expired.status(), 403);
    assert!(expired.text().await.unwrap().contains("Request has expired"));
    let stranger = running
        .s3_as(Credentials::new("AKIASTRANGER", "secret", None, None, "test"))
        .await;
    for refused in [
        url.replace("1754653480", "1754653481"),
        url.replace("X-Amz-Expires=60", "X-Amz-Expires=600"),
        url.replace("Security-Token=token", "Security-Token=other"),
        format!("{url}&response-content-type=text%2Fhtml"),
        url.split('?').next().unwrap().to_owned(),
        presign(stranger.get_object(), Duration::ZERO).await,
    ] {
        assert_ne!(refused, url);
        assert_eq!(http.get(&refused).send().await.unwrap().status(), 403, "{refused}");
    }
    assert_eq!(
        http.head(&url).send().await.unwrap().status(),
        403,
        "a GET URL answered HEAD"
    );
}
