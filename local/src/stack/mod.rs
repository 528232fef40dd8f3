//! The running system: embedded AWS and stand-ins on one port, and the API on another port.

pub mod account;
pub mod demo_data;
mod events;
pub mod functions;
mod invocations;
mod permissions;
mod queues;
mod settings;

use std::{collections::HashMap, error::Error, sync::Arc};

use axum::Router;
use lambda_http::{Body, Response, http::StatusCode};
use shared::config::Env;
use tokio::{sync::watch, task::JoinHandle};

pub use settings::{Settings, TranscriptionApi, TwilioAccount};

use account::Credentials;
use functions::Functions;
use invocations::Invocations;

use crate::{
    aws::{Aws, Lock},
    demo,
    gateway::Gateway,
    serve::{Listener, Reach, ReservedPort, bind, reserve, serve},
    standins::{twilio::Twilio, whisper::Whisper},
    template::{self, TEMPLATE},
};

/// The running system, until [`Stack::stop`].
pub struct Stack {
    /// The API's URL, `http://localhost:PORT`; `None` without an API.
    pub api_url: Option<String>,
    /// The URL of AWS and the stand-ins.
    pub aws_url: String,
    /// The embedded AWS.
    pub aws: Aws,
    /// The stand-in for Twilio, which runs even if the functions use another server.
    pub twilio: Twilio,
    /// The stand-in for Whisper, which runs even if the functions use another server.
    pub whisper: Whisper,
    /// The functions' environment.
    pub environment: Env,
    servers: Vec<Server>,
    _lock: Lock,
}

/// A server that can be stopped.
struct Server {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

impl Stack {
    /// Starts the system and returns when it accepts requests.
    pub async fn start(settings: Settings) -> Result<Self> {
        let aws_port = reserve(settings.aws_port, settings.aws_reach)?;
        let api_port = match settings.aws_only {
            true => None,
            false => Some(reserve(settings.port, Reach::Machine)?),
        };
        let aws_url = aws_port.url();
        let api_url = api_port.as_ref().map(ReservedPort::url);

        // The state is deleted only after ports and folder are reserved, because a run that can't start must not delete the state of another
        // one.
        let lock = settings.storage.lock()?;
        if settings.reset {
            settings.storage.delete()?;
        }
        let aws = Aws::open(&settings.storage).await?;
        let twilio = Twilio::new(demo::ACCOUNT_SID, demo::AUTH_TOKEN);
        let whisper = Whisper::new(demo::WHISPER_API_KEY);
        let invocations = Invocations::default();
        let router = Router::new()
            .merge(invocations.router())
            .route_service("/2010-04-01/{*rest}", twilio.router().into_service())
            .route_service("/v1/{*rest}", whisper.router().into_service())
            .fallback_service(aws.router());
        let hosts = settings.hosts();
        // The account is set up through another port: the known one opens when everything is there.
        let setup_listener = bind(0, Reach::Machine).await?;
        let setup_url = setup_listener.url();
        let setup = start(setup_listener, aws.router());
        let own = settings::environment(&settings, &aws_url, api_url.as_deref());
        let afterwards: Env = own.iter().cloned().collect();
        let during_setup = own
            .iter()
            .cloned()
            .chain([("AWS_ENDPOINT_URL".to_owned(), setup_url.clone())]);
        let clients = shared::clients::aws::Aws::from_env(&during_setup.collect())?;
        let mut sources = Vec::new();
        for source in template::queues(TEMPLATE)? {
            let url = queues::create(&clients.sqs(), &source).await?;
            sources.push((url.replace(&setup_url, &aws_url), source));
        }
        queues::restore(&clients.sqs(), aws.take_messages(), &sources).await?;
        aws.forget_taken_messages()?;
        let urls: HashMap<String, String> = sources
            .iter()
            .map(|(url, source)| (source.queue.clone(), url.clone()))
            .collect();
        let queue_urls = [
            ("TRANSCRIPTION", "TranscriptionQueue"),
            ("ARCHIVE", "ArchiveQueue"),
            ("ERASURE", "ErasureQueue"),
            ("OBJECT_EVENTS", "ObjectEventsQueue"),
            ("INTERACTION_EVENTS", "InteractionEventsQueue"),
        ];
        let queue_urls = queue_urls.into_iter().flat_map(|(variable, queue)| {
            let url = urls.get(queue).cloned().unwrap_or_default();
            let dead_letters = queues::dead_letters(&url);
            [
                (format!("{variable}_QUEUE_URL"), url),
                (format!("{variable}_DEAD_LETTERS_URL"), dead_letters),
            ]
        });
        let environment: Env = own
            .into_iter()
            .chain(queue_urls)
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
        aws.enforce(permissions::permissions(&environment, &account::tables()?)?);
        let fresh = account::create(&clients, &credentials).await?;
        if !settings.empty {
            let demo_time = match settings.demo_time {
                Some(time) => time,
                None => account::created_at(&clients).await?,
            };
            for recording in demo::twilio_recordings(demo_time) {
                // These calls come from a browser and have no phone number.
                twilio.add_call(recording.call_sid.as_str(), "client:interview");
                twilio.add(recording);
            }
            if fresh {
                let during_setup = environment.iter().chain([("AWS_ENDPOINT_URL", setup_url.as_str())]);
                demo_data::write(&clients, &during_setup.collect(), demo_time).await?;
            }
        }
        setup.stop().await?;
        let mut servers = vec![start(aws_port.open()?, hosts.clone().guard_aws(router))];
        let clients = shared::clients::aws::Aws::from_env(&afterwards)?;

        if let Some(port) = api_port {
            let functions = Arc::new(
                Functions::from_env(&environment)
                    .await?
                    .with_metrics(settings.metrics.clone()),
            );
            let (rules, schedules) = (template::rules(TEMPLATE)?, template::schedules(TEMPLATE)?);
            let timeouts = (sources.iter().map(|(_, it)| (it.function.clone(), it.timeout)))
                .chain(schedules.iter().map(|it| (it.function.clone(), it.timeout)));
            invocations.start(functions.clone(), timeouts.collect());
            for (url, source) in sources {
                let (stop, stopped) = watch::channel(false);
                // Lambda reads a function's queue with the function's permissions.
                let own = functions::own_environment(&environment, &source.function);
                let tasks = vec![queues::drive(
                    shared::clients::aws::Aws::from_env(&own)?.sqs(),
                    url,
                    source,
                    aws.message_sent(),
                    functions.clone(),
                    stopped,
                )];
                servers.push(Server { stop, tasks });
            }
            // The rules start after the demo data is written, so that no event indexes the demo's recordings that requests must find in the
            // bucket.
            let (stop, stopped) = watch::channel(false);
            let mut tasks = vec![events::drive_rules(
                rules,
                aws.events(),
                clients.sqs(),
                urls,
                stopped.clone(),
            )];
            if settings.schedules {
                let schedules = schedules.into_iter();
                tasks.extend(schedules.map(|it| events::drive_schedule(it, functions.clone(), stopped.clone())));
            }
            servers.push(Server { stop, tasks });
            let router = Gateway::from_template(TEMPLATE)?
                .with_cors_origins(settings.cors_allowed_origins)
                .router(move |function, request| {
                    let functions = functions.clone();
                    async move {
                        functions.invoke(&function, request).await.unwrap_or_else(|| {
                            tracing::error!(function, "template.yaml names a function that is not in functions.rs");
                            let mut response =
                                Response::new(Body::Text(r#"{"message":"Internal Server Error"}"#.into()));
                            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                            response
                        })
                    }
                });
            let router = match settings.around_api {
                Some(around) => around(router),
                None => router,
            };
            servers.push(start(port.open()?, hosts.guard(router)));
        }
        Ok(Self {
            api_url,
            aws_url,
            aws,
            twilio,
            whisper,
            environment,
            servers,
            _lock: lock,
        })
    }

    /// Completes the requests in flight, first those of the API and then those of AWS, and writes the state.
    pub async fn stop(self) -> Result<()> {
        for server in self.servers.into_iter().rev() {
            server.stop().await?;
        }
        Ok(self.aws.save().await?)
    }
}

impl Server {
    async fn stop(self) -> Result<()> {
        self.stop.send_replace(true);
        for task in self.tasks {
            task.await?;
        }
        Ok(())
    }
}

fn start(listener: Listener, router: Router) -> Server {
    let (stop, mut stopped) = watch::channel(false);
    let task = tokio::spawn(serve(listener, router, async move {
        // An error means that the stack was dropped, which stops the server as well.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }));
    Server {
        stop,
        tasks: vec![task],
    }
}
