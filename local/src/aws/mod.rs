//! The AWS of the local stack: S3, DynamoDB, Secrets Manager, SQS and EventBridge in this process, on one router, so that one `AWS_ENDPOINT_URL` serves every SDK
//! client. S3 verifies signatures; the others take any.

mod bus;
mod dynamodb;
mod s3;
mod stored;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;
use winterbaume_secretsmanager::SecretsManagerService;
use winterbaume_sqs::SqsService;

use bus::Bus;
use dynamodb::DynamoDb;
use s3::S3;
use stored::Stored;

/// The region every client of the local AWS uses.
pub const REGION: &str = "us-east-1";
/// The account that owns everything, as it appears in ARNs and queue URLs.
pub const ACCOUNT_ID: &str = winterbaume_core::DEFAULT_ACCOUNT_ID;
/// The access key of the functions.
pub const ACCESS_KEY_ID: &str = "local";
/// The secret that belongs to [`ACCESS_KEY_ID`].
pub const SECRET_ACCESS_KEY: &str = "local-secret";
/// The access key that stands in for the IAM user which presigns playback URLs.
pub const SIGNER_ACCESS_KEY_ID: &str = "local-signer";
/// The secret that belongs to [`SIGNER_ACCESS_KEY_ID`].
pub const SIGNER_SECRET_ACCESS_KEY: &str = "local-signer-secret";

/// The key pairs S3 accepts. The last is what `sam local invoke` passes on a machine without AWS credentials.
const KEY_PAIRS: [(&str, &str); 3] = [
    (ACCESS_KEY_ID, SECRET_ACCESS_KEY),
    (SIGNER_ACCESS_KEY_ID, SIGNER_SECRET_ACCESS_KEY),
    ("defaultkey", "defaultsecret"),
];

/// The largest body of a JSON request, in bytes: DynamoDB's limit, the largest of all services'.
const JSON_BODY_LIMIT: usize = 16 * 1024 * 1024;

/// Where the state lives.
#[derive(Debug, Clone)]
pub struct Storage {
    /// The folder of the state, created when absent: `s3/`, `secrets.json`, `sqs.json` and, for a database in a file, `dynamodb.sqlite`.
    pub dir: PathBuf,
    /// Where the tables are.
    pub database: DatabaseKind,
}

impl Storage {
    /// Deletes what earlier runs left in the folder, and nothing else that may be there.
    pub fn delete(&self) -> Result<(), Error> {
        let database = ["dynamodb.sqlite", "dynamodb.sqlite-wal", "dynamodb.sqlite-shm"];
        for name in ["s3", "secrets.json", "sqs.json"].iter().chain(&database) {
            let path = self.dir.join(name);
            let deleted = match path.is_dir() {
                true => std::fs::remove_dir_all(&path),
                false => std::fs::remove_file(&path),
            };
            match deleted {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::new("delete", &path, error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Where the tables are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseKind {
    /// In `dynamodb.sqlite` of [`Storage::dir`].
    File,
    /// In memory: gone with the [`Aws`].
    Memory,
}

/// The state of the local AWS could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the local AWS cannot {action} {}: {reason}", path.display())]
pub struct Error {
    action: &'static str,
    path: PathBuf,
    reason: String,
}

impl Error {
    fn new(action: &'static str, path: &Path, reason: impl fmt::Display) -> Self {
        Self {
            action,
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// The services of the local AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// Objects.
    S3,
    /// Tables.
    DynamoDb,
    /// Secrets.
    SecretsManager,
    /// Queues.
    Sqs,
    /// Events.
    EventBridge,
}

/// The local AWS. Clones share everything.
#[derive(Clone)]
pub struct Aws(Arc<Inner>);

struct Inner {
    s3: S3,
    dynamodb: DynamoDb,
    secrets: Stored<SecretsManagerService>,
    queues: Stored<SqsService>,
    faults: Faults,
    calls: Mutex<HashMap<(Service, String), usize>>,
    requests: AtomicU64,
    bus: Bus,
}

impl Aws {
    /// Opens what `storage` holds, creating what is not there.
    pub async fn open(storage: &Storage) -> Result<Self, Error> {
        let dir = &storage.dir;
        tokio::fs::create_dir_all(dir)
            .await
            .map_err(|error| Error::new("create the folder", dir, error))?;
        Ok(Self(Arc::new(Inner {
            s3: S3::open(&dir.join("s3"))?,
            dynamodb: match storage.database {
                DatabaseKind::File => DynamoDb::file(&dir.join("dynamodb.sqlite"))?,
                DatabaseKind::Memory => DynamoDb::memory(dir)?,
            },
            secrets: Stored::open(SecretsManagerService::new(), dir.join("secrets.json")).await?,
            queues: Stored::open(SqsService::new(), dir.join("sqs.json")).await?,
            faults: Faults::default(),
            calls: Mutex::default(),
            requests: AtomicU64::default(),
            bus: Bus::default(),
        })))
    }

    /// All services, for the root of one port.
    pub fn router(&self) -> Router {
        Router::new().fallback(answer).with_state(self.clone())
    }

    /// Writes what is not on disk yet, for a clean shutdown. Messages still in a queue are not kept.
    pub async fn save(&self) -> Result<(), Error> {
        self.0.secrets.save().await?;
        self.0.queues.save().await
    }

    /// Outages made on purpose.
    pub fn faults(&self) -> &Faults {
        &self.0.faults
    }

    /// From now on, the events of EventBridge's bus. There is one receiver: the last that was asked for.
    pub fn events(&self) -> UnboundedReceiver<Value> {
        self.0.bus.events()
    }

    /// How many requests reached `service`, faults and retries included.
    pub fn calls(&self, service: Service) -> usize {
        self.count(|(called, _)| *called == service)
    }

    /// How many requests reached one operation of `service`, for instance `GetSecretValue` or `GetObject`.
    pub fn calls_of(&self, service: Service, operation: &str) -> usize {
        self.count(|(called, name)| *called == service && name == operation)
    }

    fn count(&self, wanted: impl Fn(&(Service, String)) -> bool) -> usize {
        let calls = self.0.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls
            .iter()
            .filter(|(call, _)| wanted(call))
            .map(|(_, count)| count)
            .sum()
    }

    fn record(&self, service: Service, operation: String) {
        let mut calls = self.0.calls.lock().unwrap_or_else(PoisonError::into_inner);
        *calls.entry((service, operation)).or_default() += 1;
    }
}

/// Which services are down, for tests of what a caller does then. Nothing on the wire can set it.
#[derive(Debug, Default)]
pub struct Faults(Mutex<HashMap<Service, StatusCode>>);

impl Faults {
    /// Makes every request to `service` answer `status` and an error body of the service's shape, until set to `None`.
    pub fn set(&self, service: Service, status: Option<StatusCode>) {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match status {
            Some(status) => faults.insert(service, status),
            None => faults.remove(&service),
        };
    }

    fn get(&self, service: Service) -> Option<StatusCode> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&service)
            .copied()
    }
}

async fn answer(State(aws): State<Aws>, request: Request) -> Response {
    let number = aws.0.requests.fetch_add(1, Ordering::Relaxed);
    let mut response = route(&aws, request).await;
    let id = HeaderValue::from_str(&format!("local-{number:08}")).expect("digits are a header value");
    response.headers_mut().insert("x-amz-request-id", id.clone());
    response.headers_mut().insert("x-amzn-requestid", id);
    response
}

async fn route(aws: &Aws, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let service = match service_of(&parts) {
        Ok(service) => service,
        Err(name) => return unknown_service(&parts, &name),
    };
    let operation = operation_of(service, &parts);
    aws.record(service, operation.clone());
    tracing::debug!(?service, operation, "local AWS");
    if let Some(status) = aws.0.faults.get(service) {
        return fault(service, status);
    }
    if service == Service::S3 {
        let path = parts.uri.path().to_owned();
        let response = aws.0.s3.answer(Request::from_parts(parts, body)).await;
        if response.status().is_success() {
            let number = aws.0.requests.load(Ordering::Relaxed);
            aws.0.bus.object(&operation, &path, number);
        }
        return response;
    }
    if parts.method != Method::POST || !parts.headers.contains_key("x-amz-target") {
        let message = "This service speaks the JSON protocol: POST with an X-Amz-Target header.";
        return json_error(StatusCode::BAD_REQUEST, "MissingAction", message);
    }
    let Ok(body) = axum::body::to_bytes(body, JSON_BODY_LIMIT).await else {
        let message = format!("The body must arrive whole and be at most {JSON_BODY_LIMIT} bytes.");
        return json_error(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", &message);
    };
    match service {
        Service::SecretsManager => {
            let (status, body) = aws.0.secrets.answer(&parts, body, &operation).await;
            json_response(status, body)
        }
        Service::Sqs => {
            let (status, body) = aws.0.queues.answer(&parts, body, &operation).await;
            json_response(status, here(&body, &parts))
        }
        Service::EventBridge => {
            let (status, body) = aws.0.bus.answer(&operation, &body);
            json_response(status, body)
        }
        Service::DynamoDb | Service::S3 => aws.0.dynamodb.answer(operation, body).await,
    }
}

/// The answer of the queue service with its queue URLs pointing to the host that was asked.
fn here(body: &[u8], parts: &Parts) -> String {
    let host = parts
        .headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or("localhost");
    String::from_utf8_lossy(body).replace(
        &format!("https://sqs.{REGION}.amazonaws.com/"),
        &format!("http://{host}/"),
    )
}

/// The service a request is for, or the name of one that is not here.
fn service_of(parts: &Parts) -> Result<Service, String> {
    let name = match parts
        .headers
        .get("x-amz-target")
        .and_then(|target| target.to_str().ok())
    {
        Some(target) => target.split('.').next().map(str::to_owned),
        None => scope_service(parts),
    };
    // Without a target and a signature it can only be a link to an object, or somebody's mistake, which S3 refuses.
    match name.as_deref() {
        None | Some("s3") => Ok(Service::S3),
        Some("dynamodb" | "DynamoDB_20120810" | "DynamoDBStreams_20120810") => Ok(Service::DynamoDb),
        Some("secretsmanager") => Ok(Service::SecretsManager),
        Some("sqs" | "AmazonSQS") => Ok(Service::Sqs),
        Some("events" | "AWSEvents") => Ok(Service::EventBridge),
        Some(other) => Err(other.to_owned()),
    }
}

/// SERVICE of the credential scope `KEY/DATE/REGION/SERVICE/aws4_request`, which a signature carries in a header or in the query.
fn scope_service(parts: &Parts) -> Option<String> {
    let header = parts
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let scope = match header {
        Some(value) => value.split_once("Credential=")?.1.split(',').next()?.to_owned(),
        None => query(parts)
            .find(|(name, _)| name == "X-Amz-Credential")?
            .1
            .into_owned(),
    };
    scope.split('/').nth(3).map(str::to_owned)
}

fn query(parts: &Parts) -> form_urlencoded::Parse<'_> {
    form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
}

fn operation_of(service: Service, parts: &Parts) -> String {
    if service == Service::S3 {
        return s3::operation(parts).to_owned();
    }
    let target = parts
        .headers
        .get("x-amz-target")
        .and_then(|target| target.to_str().ok())
        .unwrap_or_default();
    target.rsplit('.').next().unwrap_or_default().to_owned()
}

fn unknown_service(parts: &Parts, name: &str) -> Response {
    let message =
        format!("`{name}` is not part of the local AWS, which has S3, DynamoDB, Secrets Manager, SQS and EventBridge.");
    if parts.headers.contains_key("x-amz-target") {
        json_error(StatusCode::BAD_REQUEST, "UnknownOperationException", &message)
    } else {
        s3::error(StatusCode::NOT_IMPLEMENTED, "NotImplemented", message)
    }
}

fn fault(service: Service, status: StatusCode) -> Response {
    let message = "Set by a test.";
    match (service, status) {
        (Service::S3, StatusCode::FORBIDDEN) => s3::error(status, "AccessDenied", message),
        (Service::S3, StatusCode::SERVICE_UNAVAILABLE) => s3::error(status, "ServiceUnavailable", message),
        (Service::S3, _) => s3::error(status, "InternalError", message),
        (_, StatusCode::SERVICE_UNAVAILABLE) => json_error(status, "ServiceUnavailable", message),
        (_, status) if status.is_client_error() => json_error(status, "AccessDeniedException", message),
        (Service::SecretsManager, _) => json_error(status, "InternalServiceError", message),
        _ => json_error(status, "InternalServerError", message),
    }
}

fn json_error(status: StatusCode, code: &str, message: &str) -> Response {
    json_response(
        status,
        serde_json::json!({"__type": code, "message": message}).to_string(),
    )
}

fn json_response(status: StatusCode, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-amz-json-1.0"),
    );
    response
}
