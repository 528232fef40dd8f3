//! The running system: embedded AWS and stand-ins on one port, the API on another.

use std::{collections::HashMap, error::Error, path::PathBuf, sync::Arc};

use axum::Router;
use lambda_http::{Body, Response, http::StatusCode};
use shared::config::Env;
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    aws::{self, Aws, DatabaseKind, Storage},
    demo, events,
    functions::Functions,
    gateway::{self, Gateway, TEMPLATE},
    queues,
    seed::{self, Credentials},
    serve::{Listener, Reach, bind, serve},
    twilio::Twilio,
    whisper::Whisper,
};

/// What to start.
pub struct Settings {
    /// Port of the API; 0 for any.
    pub port: u16,
    /// Port of AWS and the stand-ins; 0 for any.
    pub aws_port: u16,
    /// Who can reach the AWS port. Containers need [`Reach::Network`].
    pub aws_reach: Reach,
    /// Where state lives.
    pub storage: Storage,
    /// Delete the state of earlier runs first.
    pub reset: bool,
    /// Leave the API out.
    pub aws_only: bool,
    /// Leave the demo data out.
    pub empty: bool,
    /// A Twilio account in place of the stand-in.
    pub twilio: Option<TwilioAccount>,
    /// A transcription API in place of the stand-in.
    pub whisper: Option<TranscriptionApi>,
    /// Run functions on their schedules.
    pub schedules: bool,
    /// Put around the API, to examine its answers.
    pub around_api: Option<fn(Router) -> Router>,
    /// Further variables of the functions' environment, which win over the stack's own.
    pub environment: Vec<(String, String)>,
}

impl Settings {
    /// Ports of the system's choice, an in-memory database, state under `dir`, stand-ins, no demo data: what tests start from.
    pub fn for_tests(dir: PathBuf) -> Self {
        Self {
            port: 0,
            aws_port: 0,
            aws_reach: Reach::Machine,
            storage: Storage {
                dir,
                database: DatabaseKind::Memory,
            },
            reset: false,
            aws_only: false,
            empty: true,
            twilio: None,
            whisper: None,
            schedules: false,
            around_api: None,
            environment: Vec::new(),
        }
    }
}

/// A real Twilio account, or another stand-in.
pub struct TwilioAccount {
    /// Account SID.
    pub account_sid: String,
    /// Auth token.
    pub auth_token: String,
    /// Where its API is, without a path.
    pub base_url: String,
}

/// A real transcription API, or another stand-in.
pub struct TranscriptionApi {
    /// Key; empty for none.
    pub api_key: String,
    /// Where it is, for example `https://api.openai.com/v1`.
    pub base_url: String,
}

/// The running system. It ends with [`Stack::stop`].
pub struct Stack {
    /// Where the API is, `http://localhost:PORT`; `None` when it was left out.
    pub api_url: Option<String>,
    /// Where AWS and the stand-ins are.
    pub aws_url: String,
    /// The embedded AWS.
    pub aws: Aws,
    /// The stand-in Twilio, running even when the functions use another.
    pub twilio: Twilio,
    /// The stand-in Whisper, running even when the functions use another.
    pub whisper: Whisper,
    /// The functions' environment.
    pub environment: Env,
    servers: Vec<Server>,
}

/// Tasks that end soon after they are told to.
struct Server {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

impl Stack {
    /// Starts everything and returns when it answers.
    pub async fn start(settings: Settings) -> Result<Self> {
        let aws_listener = bind(settings.aws_port, settings.aws_reach).await?;
        let api_listener = match settings.aws_only {
            true => None,
            false => Some(bind(settings.port, Reach::Machine).await?),
        };
        let aws_url = aws_listener.url();
        let api_url = api_listener.as_ref().map(Listener::url);

        // The ports are ours by now: a run that could not start must not delete the state of the one that has them.
        if settings.reset {
            settings.storage.delete()?;
        }
        let aws = Aws::open(&settings.storage).await?;
        let twilio = Twilio::new(demo::ACCOUNT_SID, demo::AUTH_TOKEN);
        let whisper = Whisper::new(demo::WHISPER_API_KEY, &demo::CLIPS);
        let router = Router::new()
            .route_service("/2010-04-01/{*rest}", twilio.router().into_service())
            .route_service("/v1/{*rest}", whisper.router().into_service())
            .fallback_service(aws.router());
        let mut servers = vec![start(aws_listener, router)];

        let own = environment(&settings, &aws_url);
        let clients = shared::clients::aws::Aws::from_env(&own.iter().cloned().collect())?;
        let mut sources = Vec::new();
        for source in gateway::queues(TEMPLATE)? {
            sources.push((queues::create(&clients.sqs(), &source).await?, source));
        }
        let urls: HashMap<String, String> = sources
            .iter()
            .map(|(url, source)| (source.queue.clone(), url.clone()))
            .collect();
        let queue_url = urls
            .get("TranscriptionQueue")
            .map(|url| ("TRANSCRIPTION_QUEUE_URL".to_owned(), url.clone()));
        let environment: Env = own
            .into_iter()
            .chain(queue_url)
            .chain(settings.environment.iter().cloned())
            .collect();
        let credentials = Credentials {
            twilio_account_sid: settings
                .twilio
                .as_ref()
                .map_or(demo::ACCOUNT_SID, |account| &account.account_sid),
            twilio_auth_token: settings
                .twilio
                .as_ref()
                .map_or(demo::AUTH_TOKEN, |account| &account.auth_token),
            whisper_api_key: settings
                .whisper
                .as_ref()
                .map_or(demo::WHISPER_API_KEY, |api| &api.api_key),
        };
        let fresh = seed::account(&clients, &credentials).await?;
        if !settings.empty {
            for recording in demo::twilio_recordings() {
                // Calls of a browser, which have no number.
                twilio.add_call(recording.call_sid.as_str(), "client:interview");
                twilio.add(recording);
            }
            if fresh {
                seed::demo(&clients, &environment).await?;
            }
        }

        if let Some(listener) = api_listener {
            let functions = Arc::new(Functions::from_env(&environment).await?);
            for (url, source) in sources {
                let (stop, stopped) = watch::channel(false);
                let tasks = queues::drive(clients.sqs(), url, source, functions.clone(), stopped);
                servers.push(Server { stop, tasks });
            }
            // From here on: the demo's recordings without a call are to be found by those who ask.
            let (stop, stopped) = watch::channel(false);
            let mut tasks = vec![events::drive_rules(
                gateway::rules(TEMPLATE)?,
                aws.events(),
                clients.sqs(),
                urls,
                stopped.clone(),
            )];
            if settings.schedules {
                let schedules = gateway::schedules(TEMPLATE)?.into_iter();
                tasks.extend(schedules.map(|it| events::drive_schedule(it, functions.clone(), stopped.clone())));
            }
            servers.push(Server { stop, tasks });
            let router = Gateway::from_template(TEMPLATE)?.router(move |function, request| {
                let functions = functions.clone();
                async move {
                    functions.invoke(&function, request).await.unwrap_or_else(|| {
                        tracing::error!(function, "template.yaml names a function that is not in functions.rs");
                        let mut response = Response::new(Body::Text(r#"{"message":"Internal Server Error"}"#.into()));
                        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                        response
                    })
                }
            });
            let router = match settings.around_api {
                Some(around) => around(router),
                None => router,
            };
            servers.push(start(listener, router));
        }
        Ok(Self {
            api_url,
            aws_url,
            aws,
            twilio,
            whisper,
            environment,
            servers,
        })
    }

    /// Answers the requests in flight, the API's before AWS's, and writes the state.
    pub async fn stop(self) -> Result<()> {
        for server in self.servers.into_iter().rev() {
            server.stop.send_replace(true);
            for task in server.tasks {
                task.await?;
            }
        }
        Ok(self.aws.save().await?)
    }
}

fn start(listener: Listener, router: Router) -> Server {
    let (stop, mut stopped) = watch::channel(false);
    let task = tokio::spawn(serve(listener, router, async move {
        // An error means that the stack was dropped, which stops it too.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }));
    Server {
        stop,
        tasks: vec![task],
    }
}

fn environment(settings: &Settings, aws_url: &str) -> Vec<(String, String)> {
    let twilio = settings.twilio.as_ref().map_or(aws_url, |account| &account.base_url);
    let stand_in_whisper = format!("{aws_url}/v1");
    let whisper = settings.whisper.as_ref().map_or(&stand_in_whisper, |api| &api.base_url);
    let port = if settings.port == 0 { 8000 } else { settings.port };
    let public_url = format!("http://localhost:{port}");
    let own = [
        ("PUBLIC_BASE_URL", public_url.as_str()),
        ("LIVEKIT_SECRET", seed::LIVEKIT_SECRET),
        ("AWS_REGION", aws::REGION),
        ("AWS_ACCESS_KEY_ID", aws::ACCESS_KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", aws::SECRET_ACCESS_KEY),
        ("AWS_ENDPOINT_URL", aws_url),
        ("CALLS_TABLE", seed::CALLS_TABLE),
        ("TRANSCRIPTS_TABLE", seed::TRANSCRIPTS_TABLE),
        ("RECORDINGS_BUCKET", seed::BUCKET),
        ("RECORDINGS_AUTH", "open"),
        ("API_KEYS_SECRET", seed::API_KEYS_SECRET),
        ("TWILIO_SECRET", seed::TWILIO_SECRET),
        ("WHISPER_SECRET", seed::WHISPER_SECRET),
        ("SIGNER_SECRET", seed::SIGNER_SECRET),
        ("TWILIO_BASE_URL", twilio),
        ("WHISPER_BASE_URL", whisper),
    ];
    own.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}
