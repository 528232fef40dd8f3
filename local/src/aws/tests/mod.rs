//! Tests of the local AWS with the real SDKs and plain HTTP. Each test has a separate server and folder.

mod dynamodb;
mod presigned;
mod s3;
mod services;
mod state;

use std::path::Path;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType,
};
use aws_sdk_s3::primitives::ByteStream;
use axum::http::StatusCode;
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
        // Dropping `stop` at the end of a test stops the server.
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
