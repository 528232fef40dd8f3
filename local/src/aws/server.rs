//! The router for all services.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header, request::Parts},
    response::Response,
};
use serde_json::Value;
use tokio::sync::{Notify, mpsc::UnboundedReceiver};
use winterbaume_sqs::SqsService;

use super::{
    dynamodb::DynamoDb,
    error::Error,
    event_bus::EventBus,
    faults::{self, Faults},
    file_backed::FileBacked,
    identity::REGION,
    messages::{Messages, StoredMessage},
    permissions::Permissions,
    response::{json_error, json_response},
    s3::{self, S3},
    secrets::Secrets,
    service::{Service, operation_of, service_of},
    storage::{DatabaseKind, Storage},
};

/// The maximum size of a JSON request in bytes: DynamoDB's limit, which is the largest of all services.
const JSON_BODY_LIMIT: usize = 16 * 1024 * 1024;

/// The local AWS. Clones share their state.
#[derive(Clone)]
pub struct Aws(Arc<Inner>);

struct Inner {
    s3: S3,
    dynamodb: DynamoDb,
    secrets: Secrets,
    queues: FileBacked<SqsService>,
    messages: Messages,
    faults: Faults,
    calls: Mutex<HashMap<(Service, String), usize>>,
    requests: AtomicU64,
    bus: EventBus,
    message_sent: Arc<Notify>,
    permissions: OnceLock<Permissions>,
}

impl Aws {
    /// Opens the state in `storage`, and creates missing files.
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
            secrets: Secrets::open(dir.join("secrets.json")).await?,
            queues: FileBacked::open(SqsService::new(), dir.join("sqs.json")).await?,
            messages: Messages::open(dir.join("messages.jsonl"))?,
            faults: Faults::default(),
            calls: Mutex::default(),
            requests: AtomicU64::default(),
            bus: EventBus::default(),
            message_sent: Arc::default(),
            permissions: OnceLock::new(),
        })))
    }

    /// The router for all services, to be served at the root of a port.
    pub fn router(&self) -> Router {
        Router::new().fallback(handle).with_state(self.clone())
    }

    /// Takes the messages that were in queues when the process before ended.
    pub fn take_messages(&self) -> Vec<StoredMessage> {
        self.0.messages.take()
    }

    /// Removes from the disk the messages that were taken, after they were sent again.
    pub fn forget_taken_messages(&self) -> Result<(), Error> {
        self.0.messages.compact()
    }

    /// Writes all unsaved state for a clean shutdown.
    pub async fn save(&self) -> Result<(), Error> {
        self.0.secrets.save().await?;
        self.0.queues.save().await
    }

    /// From now on compares requests with these policies. Without them, and for access keys without a policy, everything is allowed.
    pub fn enforce(&self, permissions: Permissions) {
        // A stack has one template.
        let _ = self.0.permissions.set(permissions);
    }

    /// The policies that are enforced.
    pub fn permissions(&self) -> Option<&Permissions> {
        self.0.permissions.get()
    }

    /// Simulated outages.
    pub fn faults(&self) -> &Faults {
        &self.0.faults
    }

    /// A receiver for all events of the bus from now on. There is one receiver at a time: a new one replaces the previous one.
    pub fn events(&self) -> UnboundedReceiver<Value> {
        self.0.bus.events()
    }

    /// Notifies of each message that is sent to a queue.
    pub fn message_sent(&self) -> Arc<Notify> {
        self.0.message_sent.clone()
    }

    /// The number of requests to `service`, including faults and retries.
    pub fn calls(&self, service: Service) -> usize {
        self.count(|(called, _)| *called == service)
    }

    /// The number of requests for one operation of `service`, for example `GetSecretValue` or `GetObject`.
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

async fn handle(State(aws): State<Aws>, request: Request) -> Response {
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
        return faults::response(service, status);
    }
    if service == Service::S3 {
        let permissions = aws.0.permissions.get();
        if let Some(denied) = permissions.and_then(|permissions| permissions.check(service, &operation, &parts, &[])) {
            return denied;
        }
        let reads_object = matches!(operation.as_str(), "GetObject" | "HeadObject");
        let signed = parts.clone();
        let path = parts.uri.path().to_owned();
        let response = aws.0.s3.answer(Request::from_parts(parts, body)).await;
        if reads_object
            && response.status() == StatusCode::NOT_FOUND
            && permissions.is_some_and(|permissions| permissions.hides_missing_objects(&signed))
        {
            let message = "Access Denied: without s3:ListBucket S3 does not tell that an object is missing";
            return s3::error(StatusCode::FORBIDDEN, "AccessDenied", message);
        }
        if response.status().is_success() {
            let number = aws.0.requests.load(Ordering::Relaxed);
            aws.0.bus.send_object_event(&operation, &path, number);
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
    let permissions = aws.0.permissions.get();
    if let Some(denied) = permissions.and_then(|permissions| permissions.check(service, &operation, &parts, &body)) {
        return denied;
    }
    match service {
        Service::SecretsManager => {
            let (status, body) = aws.0.secrets.answer(&parts, body, &operation).await;
            json_response(status, body)
        }
        Service::Sqs => {
            let request = body.clone();
            let (status, body) = aws.0.queues.answer(&parts, body, &operation).await;
            if status.is_success()
                && let Err(error) = aws.0.messages.record(&operation, &request, &body)
            {
                let message = format!("The message is not on disk: {error}");
                return json_error(StatusCode::INTERNAL_SERVER_ERROR, "InternalServiceError", &message);
            }
            if operation.starts_with("SendMessage") {
                aws.0.message_sent.notify_waiters();
            }
            json_response(status, with_local_queue_urls(&body, &parts))
        }
        Service::EventBridge => {
            let (status, body) = aws.0.bus.answer(&operation, &body);
            json_response(status, body)
        }
        Service::DynamoDb | Service::S3 => aws.0.dynamodb.answer(operation, body).await,
    }
}

/// Replaces the host in the queue URLs of an SQS response by the host of the request.
fn with_local_queue_urls(body: &[u8], parts: &Parts) -> String {
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

fn unknown_service(parts: &Parts, name: &str) -> Response {
    let message =
        format!("`{name}` is not part of the local AWS, which has S3, DynamoDB, Secrets Manager, SQS and EventBridge.");
    if parts.headers.contains_key("x-amz-target") {
        json_error(StatusCode::BAD_REQUEST, "UnknownOperationException", &message)
    } else {
        s3::error(StatusCode::NOT_IMPLEMENTED, "NotImplemented", message)
    }
}
