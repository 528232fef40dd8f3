//! The local AWS as its clients see it: the real SDKs and plain HTTP, each test with a server and a folder of its own.

use std::path::Path;
use std::time::{Duration, SystemTime};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, Put, ScalarAttributeType, TransactWriteItem,
};
use aws_sdk_s3::operation::get_object::builders::GetObjectFluentBuilder;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::serve::{Reach, bind, serve};

struct Running {
    aws: Aws,
    url: String,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Running {
    async fn start(dir: &Path, database: DatabaseKind) -> Self {
        let aws = Aws::open(&Storage {
            dir: dir.to_owned(),
            database,
        })
        .await
        .unwrap();
        let listener = bind(0, Reach::Machine).await.unwrap();
        let url = listener.url();
        let (stop, stopping) = oneshot::channel();
        // A test that ends drops `stop`, which ends the server as well.
        let server = tokio::spawn(serve(listener, aws.router(), async {
            stopping.await.unwrap_or_default()
        }));
        Self { aws, url, stop, server }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.server.await.unwrap();
    }

    async fn temporary() -> (TempDir, Self) {
        let dir = tempfile::tempdir().unwrap();
        let running = Self::start(dir.path(), DatabaseKind::Memory).await;
        (dir, running)
    }

    async fn config(&self, credentials: Credentials) -> SdkConfig {
        aws_config::defaults(BehaviorVersion::latest())
            .endpoint_url(&self.url)
            .region(Region::new(REGION))
            .credentials_provider(credentials)
            .retry_config(aws_config::retry::RetryConfig::disabled())
            .load()
            .await
    }

    async fn s3_as(&self, credentials: Credentials) -> aws_sdk_s3::Client {
        let config = self.config(credentials).await;
        aws_sdk_s3::Client::from_conf(
            aws_sdk_s3::config::Builder::from(&config)
                .force_path_style(true)
                .build(),
        )
    }

    async fn s3(&self) -> aws_sdk_s3::Client {
        self.s3_as(local()).await
    }

    async fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.config(local()).await)
    }

    async fn secrets(&self) -> aws_sdk_secretsmanager::Client {
        aws_sdk_secretsmanager::Client::new(&self.config(local()).await)
    }

    async fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.config(local()).await)
    }
}

fn local() -> Credentials {
    Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None, None, "test")
}

fn signer(token: Option<&str>) -> Credentials {
    Credentials::new(
        SIGNER_ACCESS_KEY_ID,
        SIGNER_SECRET_ACCESS_KEY,
        token.map(str::to_owned),
        None,
        "test",
    )
}

const BUCKET: &str = "recordings";
const KEY: &str = "egress-recordings/2025/08/08/outbound-+15103455686_1754653480.mp4";
const BODY: &[u8] = b"0123456789abcdefghij";

async fn put(s3: &aws_sdk_s3::Client) {
    s3.create_bucket().bucket(BUCKET).send().await.unwrap();
    let put = s3.put_object().bucket(BUCKET).key(KEY).content_type("video/mp4");
    put.body(ByteStream::from_static(BODY)).send().await.unwrap();
}

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

fn header<'a>(response: &'a reqwest::Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn key(name: &str, kind: KeyType) -> KeySchemaElement {
    KeySchemaElement::builder()
        .attribute_name(name)
        .key_type(kind)
        .build()
        .unwrap()
}

async fn create_calls(db: &aws_sdk_dynamodb::Client) {
    let attribute = |name: &str| {
        AttributeDefinition::builder()
            .attribute_name(name)
            .attribute_type(ScalarAttributeType::S)
            .build()
            .unwrap()
    };
    let index = GlobalSecondaryIndex::builder()
        .index_name("by-day")
        .key_schema(key("day", KeyType::Hash))
        .key_schema(key("started", KeyType::Range))
        .projection(Projection::builder().projection_type(ProjectionType::All).build());
    db.create_table()
        .table_name("calls")
        .attribute_definitions(attribute("id"))
        .attribute_definitions(attribute("day"))
        .attribute_definitions(attribute("started"))
        .key_schema(key("id", KeyType::Hash))
        .global_secondary_indexes(index.build().unwrap())
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_table_is_written_on_conditions_and_queried_by_its_sparse_index() {
    let (_dir, running) = Running::temporary().await;
    let db = running.dynamodb().await;
    create_calls(&db).await;

    for (id, started) in [("a", "10:00"), ("b", "11:00")] {
        let put = db
            .put_item()
            .table_name("calls")
            .item("id", text(id))
            .item("day", text("2025-08-08"));
        put.item("started", text(started))
            .condition_expression("attribute_not_exists(id)")
            .send()
            .await
            .unwrap();
    }
    db.put_item()
        .table_name("calls")
        .item("id", text("unindexed"))
        .send()
        .await
        .unwrap();

    let again = db.put_item().table_name("calls").item("id", text("a"));
    let refused = again
        .condition_expression("attribute_not_exists(id)")
        .send()
        .await
        .unwrap_err();
    assert!(refused.into_service_error().is_conditional_check_failed_exception());

    let write = |id: &str, condition: &str| {
        let put = Put::builder()
            .table_name("calls")
            .item("id", text(id))
            .condition_expression(condition);
        TransactWriteItem::builder().put(put.build().unwrap()).build()
    };
    let both = db
        .transact_write_items()
        .transact_items(write("c", "attribute_not_exists(id)"));
    let cancelled = both
        .transact_items(write("b", "attribute_not_exists(id)"))
        .send()
        .await
        .unwrap_err();
    let cancelled = cancelled.into_service_error();
    let aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError::TransactionCanceledException(
        reasons,
    ) = cancelled
    else {
        panic!("{cancelled:?}")
    };
    let codes: Vec<_> = reasons
        .cancellation_reasons()
        .iter()
        .filter_map(|reason| reason.code())
        .collect();
    assert_eq!(codes, ["None", "ConditionalCheckFailed"]);
    let get = db
        .get_item()
        .table_name("calls")
        .key("id", text("c"))
        .send()
        .await
        .unwrap();
    assert!(get.item().is_none(), "half a transaction was written");
    db.transact_write_items()
        .transact_items(write("c", "attribute_not_exists(id)"))
        .send()
        .await
        .unwrap();

    let day = db
        .query()
        .table_name("calls")
        .index_name("by-day")
        .scan_index_forward(false);
    let day = day
        .key_condition_expression("#d = :d")
        .expression_attribute_names("#d", "day");
    let found = day
        .expression_attribute_values(":d", text("2025-08-08"))
        .send()
        .await
        .unwrap();
    let ids: Vec<_> = found
        .items()
        .iter()
        .map(|item| item["id"].as_s().unwrap().as_str())
        .collect();
    assert_eq!(ids, ["b", "a"]);
}

#[tokio::test]
async fn an_unknown_table_secret_queue_or_service_is_named_as_the_real_ones_name_it() {
    let (_dir, running) = Running::temporary().await;

    let missing = running
        .dynamodb()
        .await
        .get_item()
        .table_name("nothing")
        .key("id", text("a"))
        .send()
        .await;
    assert!(
        missing
            .unwrap_err()
            .into_service_error()
            .is_resource_not_found_exception()
    );
    let missing = running
        .secrets()
        .await
        .get_secret_value()
        .secret_id("nothing")
        .send()
        .await;
    assert!(
        missing
            .unwrap_err()
            .into_service_error()
            .is_resource_not_found_exception()
    );
    let url = format!("{}/{ACCOUNT_ID}/nothing", running.url);
    let missing = running
        .sqs()
        .await
        .receive_message()
        .queue_url(url)
        .send()
        .await
        .unwrap_err();
    assert_eq!(missing.code(), Some("AWS.SimpleQueueService.NonExistentQueue"));

    let other = reqwest::Client::new()
        .post(&running.url)
        .header("x-amz-target", "AWSLambda.Invoke")
        .send()
        .await;
    let other = other.unwrap();
    assert_eq!(other.status(), 400);
    assert!(other.text().await.unwrap().contains("UnknownOperationException"));
}

#[tokio::test]
async fn a_message_is_received_until_it_is_deleted() {
    let (_dir, running) = Running::temporary().await;
    let sqs = running.sqs().await;
    let url = sqs
        .create_queue()
        .queue_name("work")
        .send()
        .await
        .unwrap()
        .queue_url
        .unwrap();
    assert!(url.starts_with(&running.url), "{url}");

    sqs.send_message()
        .queue_url(&url)
        .message_body("{\"recording\":1}")
        .send()
        .await
        .unwrap();
    let received = sqs.receive_message().queue_url(&url).send().await.unwrap();
    let [message] = received.messages() else {
        panic!("{received:?}")
    };
    assert_eq!(message.body(), Some("{\"recording\":1}"));
    let receipt = message.receipt_handle().unwrap();
    sqs.change_message_visibility()
        .queue_url(&url)
        .receipt_handle(receipt)
        .visibility_timeout(0)
        .send()
        .await
        .unwrap();
    let received = sqs.receive_message().queue_url(&url).send().await.unwrap();
    let receipt = received.messages()[0].receipt_handle().unwrap();
    sqs.delete_message()
        .queue_url(&url)
        .receipt_handle(receipt)
        .send()
        .await
        .unwrap();
    let left = sqs.get_queue_attributes().queue_url(&url);
    let left = left
        .attribute_names(aws_sdk_sqs::types::QueueAttributeName::All)
        .send()
        .await
        .unwrap();
    let count = aws_sdk_sqs::types::QueueAttributeName::ApproximateNumberOfMessagesNotVisible;
    assert_eq!(left.attributes().unwrap()[&count], "0");
}

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
async fn what_is_missing_in_s3_is_told_apart() {
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
async fn a_listing_of_more_than_a_thousand_objects_is_sorted_and_whole() {
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

#[tokio::test]
async fn a_presigned_url_plays_seeks_and_downloads() {
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
async fn a_url_that_was_not_signed_for_this_or_has_expired_is_refused() {
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

#[tokio::test]
async fn tables_objects_secrets_and_queues_survive_a_restart_even_without_a_last_save() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), DatabaseKind::File).await;
    let db = running.dynamodb().await;
    create_calls(&db).await;
    db.put_item()
        .table_name("calls")
        .item("id", text("kept"))
        .send()
        .await
        .unwrap();
    put(&running.s3().await).await;
    running
        .secrets()
        .await
        .create_secret()
        .name("keys")
        .secret_string("one")
        .send()
        .await
        .unwrap();
    running
        .secrets()
        .await
        .put_secret_value()
        .secret_id("keys")
        .secret_string("two")
        .send()
        .await
        .unwrap();
    running
        .sqs()
        .await
        .create_queue()
        .queue_name("work")
        .send()
        .await
        .unwrap();
    running.stop().await;

    let running = Running::start(dir.path(), DatabaseKind::File).await;
    let get = running
        .dynamodb()
        .await
        .get_item()
        .table_name("calls")
        .key("id", text("kept"))
        .send()
        .await
        .unwrap();
    assert!(get.item().is_some());
    let head = running
        .s3()
        .await
        .head_object()
        .bucket(BUCKET)
        .key(KEY)
        .send()
        .await
        .unwrap();
    assert_eq!(head.content_type(), Some("video/mp4"));
    let secret = running
        .secrets()
        .await
        .get_secret_value()
        .secret_id("keys")
        .send()
        .await
        .unwrap();
    assert_eq!(secret.secret_string(), Some("two"));
    running
        .sqs()
        .await
        .get_queue_url()
        .queue_name("work")
        .send()
        .await
        .unwrap();
}

#[tokio::test]
async fn instances_share_nothing() {
    let ((_a, one), (_b, other)) = tokio::join!(Running::temporary(), Running::temporary());
    one.secrets()
        .await
        .create_secret()
        .name("keys")
        .secret_string("one")
        .send()
        .await
        .unwrap();
    put(&one.s3().await).await;
    assert!(
        other
            .secrets()
            .await
            .get_secret_value()
            .secret_id("keys")
            .send()
            .await
            .is_err()
    );
    assert!(
        other
            .s3()
            .await
            .head_object()
            .bucket(BUCKET)
            .key(KEY)
            .send()
            .await
            .is_err()
    );
    assert_eq!((one.aws.calls(Service::S3), other.aws.calls(Service::S3)), (2, 1));
}

#[tokio::test]
async fn a_fault_lasts_until_it_is_cleared_and_calls_are_counted_through_it() {
    let (_dir, running) = Running::temporary().await;
    let (s3, secrets) = (running.s3().await, running.secrets().await);
    put(&s3).await;
    secrets
        .create_secret()
        .name("keys")
        .secret_string("one")
        .send()
        .await
        .unwrap();

    running
        .aws
        .faults()
        .set(Service::S3, Some(StatusCode::SERVICE_UNAVAILABLE));
    running
        .aws
        .faults()
        .set(Service::SecretsManager, Some(StatusCode::INTERNAL_SERVER_ERROR));
    let down = s3.get_object().bucket(BUCKET).key(KEY).send().await.unwrap_err();
    assert_eq!(
        (down.raw_response().unwrap().status().as_u16(), down.code()),
        (503, Some("ServiceUnavailable"))
    );
    let down = secrets.get_secret_value().secret_id("keys").send().await.unwrap_err();
    assert_eq!(down.raw_response().unwrap().status().as_u16(), 500);
    for service in [Service::S3, Service::SecretsManager] {
        running.aws.faults().set(service, None);
    }
    s3.get_object().bucket(BUCKET).key(KEY).send().await.unwrap();
    secrets.get_secret_value().secret_id("keys").send().await.unwrap();

    assert_eq!(running.aws.calls_of(Service::S3, "GetObject"), 2);
    assert_eq!(running.aws.calls_of(Service::SecretsManager, "GetSecretValue"), 2);
    assert_eq!(running.aws.calls(Service::SecretsManager), 3);
    assert_eq!(running.aws.calls(Service::DynamoDb), 0);
}
