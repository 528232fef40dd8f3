//! The system: the local stack, the fault proxy, and functions that are killed at random moments.

use std::{
    error::Error,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use lambda_http::{Body, Response, http::StatusCode};
use local::{
    fault_proxy::{Fault, FaultProxy, Kind, Moment, Upstream},
    gateway::Gateway,
    serve::{Reach, bind, serve},
    stack::{Settings, Stack, functions::Functions},
    template::{self, QueueSource, TEMPLATE},
};
use serde_json::{Value, json};
use shared::clients::aws::Aws;

use crate::ledger::Ledger;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The time of an invocation for a request.
const TIME: Duration = Duration::from_secs(10);
/// Invocations per queue at the same time.
const CONCURRENCY: usize = 4;

/// The running system.
pub(crate) struct System {
    pub(crate) stack: Stack,
    pub(crate) proxy: FaultProxy,
    pub(crate) functions: Arc<Functions>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) api: String,
    /// Faults are injected and functions killed.
    pub(crate) is_rough: Arc<AtomicBool>,
    /// The traffic ends after what is being done.
    pub(crate) is_over: AtomicBool,
    /// So many batches of the queue of interactions are lost, to show that the checker notices.
    pub(crate) loses: AtomicUsize,
    pub(crate) queues: Vec<(String, QueueSource)>,
    random: Arc<Mutex<fastrand::Rng>>,
}

/// Seconds that a function reserves of its time.
fn margin(function: &str) -> u64 {
    match function {
        "archive-recording" => 20,
        "erase-recording" | "reconcile-recordings" => 60,
        "transcription-worker" => 5,
        _ => 3,
    }
}

fn random_fault(random: &mut fastrand::Rng) -> Fault {
    let moment = if random.bool() { Moment::Before } else { Moment::After };
    let kind = match random.u8(0..16) {
        0..3 => Kind::Latency(Duration::from_millis(random.u64(200..2500))),
        3..6 => Kind::Reset,
        6..8 => Kind::Truncated,
        8..11 => Kind::Throttled {
            retry_after: random.bool().then(|| random.u64(0..3)),
        },
        11..14 => Kind::ServerError,
        14 => Kind::SlowDrip,
        _ => Kind::Endless,
    };
    // Nobody refuses for too many requests and works all the same.
    let moment = if matches!(kind, Kind::Throttled { .. }) {
        Moment::Before
    } else {
        moment
    };
    Fault { kind, moment }
}

impl System {
    pub(crate) async fn start(dir: &std::path::Path, seed: u64) -> Result<Self> {
        let mut settings = Settings::new(dir.to_owned());
        settings.aws_only = true;
        let variables = [
            ("RECORDINGS_AUTH", "required"),
            ("ARCHIVE_TWILIO", "copy"),
            ("PUBLIC_BASE_URL", "http://localhost:8000"),
            ("KEY_REQUESTS_PER_MINUTE", "1000000"),
            ("KEY_PAID_REQUESTS_PER_MINUTE", "1000000"),
            ("ADDRESS_REQUESTS_PER_MINUTE", "1000000"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        settings.environment.extend(variables);
        let stack = Stack::start(settings).await?;
        let (proxy, environment) = FaultProxy::before(&stack).await?;
        let functions = Arc::new(Functions::from_env(&environment).await?);
        let ledger: Arc<Ledger> = Arc::default();
        let random = Arc::new(Mutex::new(fastrand::Rng::with_seed(seed)));
        let is_rough = Arc::new(AtomicBool::new(false));
        let listener = bind(0, Reach::Machine).await?;
        let api = listener.url();
        let gateway = Gateway::from_template(TEMPLATE)?.with_deadline(TIME);
        let (invoked, noted, dice, rough) = (functions.clone(), ledger.clone(), random.clone(), is_rough.clone());
        let router = gateway.router(move |function, request| {
            let (functions, ledger, dice) = (invoked.clone(), noted.clone(), dice.clone());
            let kill = kill_after(&dice, &rough);
            async move {
                let mut named = request.uri().to_string();
                if let Body::Text(text) = request.body() {
                    named.push_str(text);
                }
                let crashed = || {
                    let mut response = Response::new(Body::Text(r#"{"message":"Internal Server Error"}"#.into()));
                    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                    response
                };
                let response = tokio::select! {
                    response = functions.invoke(&function, request) => response.unwrap_or_else(crashed),
                    () = kill => {
                        ledger.count(format!("killed: {function}"));
                        crashed()
                    }
                };
                if response.status().is_server_error() {
                    ledger.interrupted(&named);
                }
                response
            }
        });
        tokio::spawn(serve(listener, router, std::future::pending()));
        let mut queues = Vec::new();
        for source in template::queues(TEMPLATE)? {
            let client = Aws::from_env(&stack.environment)?.sqs();
            let url = client.get_queue_url().queue_name(&source.queue).send().await?;
            queues.push((url.queue_url.ok_or("a queue without a URL")?, source));
        }
        Ok(Self {
            stack,
            proxy,
            functions,
            ledger,
            api,
            is_rough,
            is_over: AtomicBool::new(false),
            loses: AtomicUsize::new(0),
            queues,
            random,
        })
    }

    pub(crate) fn aws(&self) -> Result<Aws> {
        Ok(Aws::from_env(&self.stack.environment)?)
    }

    /// Faults of random kinds: single ones, and now and then an upstream that fails most of the time for a while.
    pub(crate) fn be_rough(&self, seed: u64) {
        self.is_rough.store(true, Ordering::Relaxed);
        let mut random = fastrand::Rng::with_seed(seed ^ 0xfa17);
        let ledger = self.ledger.clone();
        let mut outage: Option<(Upstream, std::time::Instant)> = None;
        self.proxy.inject(move |asked| {
            let now = std::time::Instant::now();
            if outage.is_some_and(|(_, until)| until < now) {
                outage = None;
            }
            if outage.is_none() && random.u32(0..3000) == 0 {
                outage = Some((asked.upstream, now + Duration::from_millis(random.u64(500..4000))));
                ledger.count("outages");
            }
            let is_out = outage.is_some_and(|(upstream, _)| upstream == asked.upstream);
            let one_in = if is_out { 2 } else { 80 };
            (random.u32(0..one_in) == 0).then(|| {
                let fault = random_fault(&mut random);
                let name = format!("{:?}", fault.kind);
                let name = name.split([' ', '(']).next().unwrap_or_default().to_owned();
                ledger.count(format!("fault: {name}"));
                fault
            })
        });
    }

    pub(crate) fn be_calm(&self) {
        self.is_rough.store(false, Ordering::Relaxed);
        self.proxy.clear();
    }

    /// Delivers the messages of all queues until this future is dropped.
    pub(crate) async fn deliver_messages(self: Arc<Self>) {
        let mut drivers = tokio::task::JoinSet::new();
        for (url, source) in self.queues.clone() {
            for _ in 0..CONCURRENCY {
                let (system, url, source) = (self.clone(), url.clone(), source.clone());
                drivers.spawn(async move {
                    loop {
                        if !system.deliver_batch(&url, &source).await.unwrap_or_default() {
                            tokio::time::sleep(Duration::from_millis(200)).await;
                        }
                    }
                });
            }
        }
        drivers.join_all().await;
    }

    /// Delivers the next messages of a queue. Returns whether there were any.
    async fn deliver_batch(&self, url: &str, source: &QueueSource) -> Result<bool> {
        let client = self.aws()?.sqs();
        let received = client
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(source.batch_size)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .send()
            .await?;
        let messages = received.messages.unwrap_or_default();
        if messages.is_empty() {
            return Ok(false);
        }
        self.ledger.count(format!("batches: {}", source.function));
        if source.queue == "InteractionEventsQueue" && self.loses.load(Ordering::Relaxed) > 0 {
            self.loses.fetch_sub(1, Ordering::Relaxed);
            for message in &messages {
                let handle = message.receipt_handle.clone().unwrap_or_default();
                client
                    .delete_message()
                    .queue_url(url)
                    .receipt_handle(handle)
                    .send()
                    .await?;
            }
            return Ok(true);
        }
        let records: Vec<Value> = messages
            .iter()
            .map(|message| {
                let count = message.attributes.as_ref().and_then(|all| all.get(&MessageSystemAttributeName::ApproximateReceiveCount));
                json!({"messageId": message.message_id, "body": message.body, "attributes": {"ApproximateReceiveCount": count}})
            })
            .collect();
        let named: String = messages.iter().filter_map(|message| message.body.clone()).collect();
        let deadline = SystemTime::now() + Duration::from_secs(margin(&source.function)) + TIME;
        let kill = kill_after(&self.random, &self.is_rough);
        let answer = tokio::select! {
            answer = self.functions.deliver(&source.function, json!({"Records": records}), deadline) => answer,
            () = kill => {
                self.ledger.count(format!("killed: {}", source.function));
                None
            }
        };
        let answer = match answer {
            Some(Ok(answer)) => answer,
            _ => Value::Null,
        };
        let failed: Vec<&str> = answer["batchItemFailures"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|failure| failure["itemIdentifier"].as_str())
            .collect();
        if answer.is_null() || !failed.is_empty() {
            self.ledger.interrupted(&named);
        }
        for message in &messages {
            let handle = message.receipt_handle.clone().unwrap_or_default();
            let is_failed = answer.is_null() || failed.contains(&message.message_id.as_deref().unwrap_or_default());
            match is_failed {
                // On AWS this takes six times the function's timeout.
                true => {
                    let change = client.change_message_visibility().queue_url(url).receipt_handle(handle);
                    change.visibility_timeout(3).send().await?;
                }
                false => {
                    client
                        .delete_message()
                        .queue_url(url)
                        .receipt_handle(handle)
                        .send()
                        .await?;
                }
            }
        }
        Ok(true)
    }

    /// A round of the reconciler.
    pub(crate) async fn reconcile(&self) -> Result<()> {
        let deadline = SystemTime::now() + Duration::from_secs(60) + TIME;
        let kill = kill_after(&self.random, &self.is_rough);
        tokio::select! {
            done = self.functions.deliver("reconcile-recordings", json!({}), deadline) => match done {
                Some(Ok(_)) => self.ledger.count("rounds of the reconciler"),
                _ => self.ledger.count("failed rounds of the reconciler"),
            },
            () = kill => self.ledger.count("killed: reconcile-recordings"),
        }
        Ok(())
    }

    /// The messages in the queues that can be received now or are being processed, those that are delayed, and dead letters.
    pub(crate) async fn messages(&self) -> Result<(u64, u64, u64)> {
        use QueueAttributeName::{
            ApproximateNumberOfMessages as Visible, ApproximateNumberOfMessagesDelayed as Delayed,
            ApproximateNumberOfMessagesNotVisible as InProgress,
        };
        let client = self.aws()?.sqs();
        let count = async |url: &str, name: QueueAttributeName| -> Result<u64> {
            let asked = client
                .get_queue_attributes()
                .queue_url(url)
                .attribute_names(name.clone())
                .send()
                .await?;
            let text = asked.attributes().and_then(|all| all.get(&name)).cloned();
            Ok(text.and_then(|text| text.parse().ok()).unwrap_or_default())
        };
        let (mut now, mut later, mut dead) = (0, 0, 0);
        for (url, _) in &self.queues {
            now += count(url, Visible).await? + count(url, InProgress).await?;
            later += count(url, Delayed).await?;
            dead += count(&format!("{url}-dead"), Visible).await?;
        }
        Ok((now, later, dead))
    }
}

/// Ends when the invocation is killed: one in thirty, within its first one and a half seconds.
fn kill_after(random: &Mutex<fastrand::Rng>, is_rough: &AtomicBool) -> impl Future<Output = ()> + Send + use<> {
    let mut random = random.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let is_killed = is_rough.load(Ordering::Relaxed) && random.u8(0..30) == 0;
    // Most invocations take some milliseconds.
    let longest = if random.bool() { 20 } else { 1500 };
    let after = Duration::from_millis(random.u64(0..longest));
    async move {
        match is_killed {
            true => tokio::time::sleep(after).await,
            false => std::future::pending().await,
        }
    }
}
