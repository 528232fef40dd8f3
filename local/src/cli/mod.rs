//! The command line: `cargo run` and its commands.

mod api;
pub mod archive;
mod aws_config;
mod demo_transcripts;
pub mod import;
pub mod keys;
mod reconcile;
pub mod reindex;
mod verify_receipt;

use std::{
    env,
    error::Error,
    io::{self, IsTerminal},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand, ValueEnum};
use shared::log;
use tracing::Level;
use tracing_subscriber::{
    EnvFilter, Layer, filter::filter_fn, fmt, layer::SubscriberExt, registry, util::SubscriberInitExt,
};

use crate::{
    aws::{self, DatabaseKind, Storage},
    contract, demo,
    serve::Reach,
    stack::{Settings, Stack, TranscriptionApi, TwilioAccount, account},
};
use archive::Archive;
use import::Import;
use keys::Keys;
use reconcile::Reconcile;
use reindex::Reindex;
use verify_receipt::VerifyReceipt;

/// Runs Call Recordings on this machine: embedded AWS, the API of template.yaml, stand-ins for Twilio and Whisper, and demo data.
#[derive(Parser)]
#[command(name = "call-recordings", version, after_help = AFTER_HELP)]
struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    /// Port of the API
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// Port of the embedded AWS and the stand-ins
    #[arg(long, default_value_t = 4566)]
    aws_port: u16,
    /// Folder for tables, objects and secrets
    #[arg(long, default_value = ".local")]
    data_dir: PathBuf,
    /// Whether /recordings needs an API key (/api/twilio always does)
    #[arg(long, value_enum, default_value_t = Auth::Open)]
    auth: Auth,
    /// Start AWS and the stand-ins only, reachable from containers, for `sam local`
    #[arg(long)]
    aws_only: bool,
    /// Origins whose pages may call the API from a browser, separated by commas
    #[arg(long, env = "CORS_ALLOWED_ORIGINS", value_delimiter = ',')]
    cors_allowed_origins: Vec<String>,
    /// Accept requests for this host name, too, such as that of a tunnel; may be given several times
    #[arg(long, value_name = "HOST")]
    allow_host: Vec<String>,
    /// No demo data
    #[arg(long)]
    empty: bool,
    /// Delete the state of earlier runs first
    #[arg(long)]
    reset: bool,
}

const AFTER_HELP: &str = "\
Environment variables:
  TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN   use this Twilio account instead of the stand-in
  TWILIO_BASE_URL                         use this server instead of https://api.twilio.com
  OPENAI_API_KEY                          use OpenAI instead of the stand-in
  WHISPER_BASE_URL                        use this transcription API instead of https://api.openai.com/v1
  RUST_LOG, NO_COLOR                      level and colors of the log

Passed to the functions as they are; docs/deploy.md describes them:
  ADDRESS_REQUESTS_PER_MINUTE, ARCHIVE_FORMAT, ARCHIVE_TWILIO, AUDIT_DAYS, AUTO_TRANSCRIBE, EXTERNAL_MEDIA_HOSTS, INDEX_UNMATCHED_AUDIO,
  KEY_PAID_REQUESTS_PER_MINUTE, KEY_REQUESTS_PER_MINUTE, METRICS_NAMESPACE, MONTHLY_BUDGET_USD, MOVE_AFTER_HOURS, PUBLIC_BASE_URL, RECORDING_NAME_PATTERNS, RETENTION_DAYS, SPEAKER_NAMES, TRANSCRIPT_RETENTION_DAYS, TRANSCRIPTION_PROMPT, TWILIO_PREFIX,
  WHISPER_MODEL, WHISPER_RESPONSE_FORMAT, WHISPER_MAX_SECONDS, WHISPER_MAX_BYTES, WHISPER_PRICE_PER_MINUTE

keys and reindex use the credentials and the region of the AWS CLI.";

#[derive(Subcommand)]
enum Command {
    /// Create, list, rotate, revoke and import the API keys of a deployment
    Keys(Keys),
    /// Report the interactions of a CSV or JSON Lines file to the API
    Import(Import),
    /// Copy older Twilio recordings into the bucket, through the API
    Archive(Archive),
    /// Run the reconciler of a running `cargo run` now, until its round is finished
    Reconcile(Reconcile),
    /// Rebuild the list attributes of a calls table that an older version wrote
    Reindex(Reindex),
    /// Check the receipt of an erasure, offline
    VerifyReceipt(VerifyReceipt),
    /// Print the contract, which is committed as openapi.json
    Openapi,
}

#[derive(Clone, Copy, ValueEnum)]
enum Auth {
    /// No key
    Open,
    /// A key
    Required,
}

/// Variables of this process that are passed on to the functions.
const PASSED_ON: [&str; 24] = [
    "ADDRESS_REQUESTS_PER_MINUTE",
    "ARCHIVE_FORMAT",
    "ARCHIVE_TWILIO",
    "AUDIT_DAYS",
    "AUTO_TRANSCRIBE",
    "EXTERNAL_MEDIA_HOSTS",
    "INDEX_UNMATCHED_AUDIO",
    "KEY_PAID_REQUESTS_PER_MINUTE",
    "KEY_REQUESTS_PER_MINUTE",
    "METRICS_NAMESPACE",
    "MOVE_AFTER_HOURS",
    "RETENTION_DAYS",
    "MONTHLY_BUDGET_USD",
    "PUBLIC_BASE_URL",
    "RECORDING_NAME_PATTERNS",
    "SPEAKER_NAMES",
    "TRANSCRIPTION_PROMPT",
    "TRANSCRIPT_RETENTION_DAYS",
    "TWILIO_PREFIX",
    "WHISPER_MAX_BYTES",
    "WHISPER_MAX_SECONDS",
    "WHISPER_MODEL",
    "WHISPER_PRICE_PER_MINUTE",
    "WHISPER_RESPONSE_FORMAT",
];

/// Runs the command in the process's arguments.
pub async fn main() -> ExitCode {
    let quiet = "info,s3s=off,s3s_fs=off,dynoxide=warn,aws_config=off,aws_smithy_runtime=warn";
    let wanted = EnvFilter::try_from_default_env().unwrap_or_else(|_| quiet.into());
    // Libraries log headers and URLs, which are keys of real accounts if they are used.
    let harmless = filter_fn(|line| log::is_own(line.target()) || *line.level() <= Level::WARN);
    let lines = fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && variable("NO_COLOR").is_none());
    registry().with(lines.with_filter(wanted).with_filter(harmless)).init();
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", with_causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn Error + Send + Sync>> {
    match options.command {
        Some(Command::Keys(keys)) => {
            let (text, sentences) = keys.run().await?;
            println!("{text}");
            for sentence in sentences {
                eprintln!("{sentence}");
            }
            return Ok(());
        }
        Some(Command::Import(import)) => {
            let imported = import.run(|so_far| eprintln!("{}", so_far.counts())).await?;
            println!("{}", imported.report());
            return match (&imported.stopped, imported.rejected.is_empty()) {
                (Some(_), _) => Err("the import was not finished".into()),
                (None, false) => Err("some lines were rejected".into()),
                (None, true) => Ok(()),
            };
        }
        Some(Command::Archive(archive)) => {
            let done = archive.run(|so_far| {
                eprintln!(
                    "up to {}: {} recordings seen, {} in the bucket, {} queued",
                    so_far.reached, so_far.seen, so_far.archived, so_far.queued
                );
            });
            let done = done.await?;
            println!(
                "{} Twilio recordings seen, {} in the bucket, {} queued. GET /reports/completeness counts those of the last 30 days.",
                done.seen, done.archived, done.queued
            );
            return Ok(());
        }
        Some(Command::Reconcile(reconcile)) => {
            reconcile.run().await?;
            println!("The round is finished. GET /reports/completeness shows its report.");
            return Ok(());
        }
        Some(Command::Reindex(reindex)) => {
            let progress = reindex.run(|so_far, key| {
                eprintln!(
                    "{} items read, {} rebuilt; continue from here with --start-key {key:?}",
                    so_far.read, so_far.rebuilt
                );
            });
            let done = progress.await?;
            println!(
                "{} items read, {} rebuilt, {} counters of version 0.1 deleted",
                done.read, done.rebuilt, done.deleted
            );
            return Ok(());
        }
        Some(Command::VerifyReceipt(receipt)) => {
            println!("{}", receipt.run()?);
            return Ok(());
        }
        Some(Command::Openapi) => {
            print!("{}", contract::text());
            return Ok(());
        }
        None => {}
    }
    let (twilio, whisper) = (twilio_from_env()?, whisper_from_env());
    let mut environment = vec![(
        "RECORDINGS_AUTH".to_owned(),
        options
            .auth
            .to_possible_value()
            .map_or_else(String::new, |auth| auth.get_name().to_owned()),
    )];
    for name in PASSED_ON {
        environment.extend(variable(name).map(|value| (name.to_owned(), value)));
    }
    let real_twilio = twilio.as_ref().map(|account| account.base_url.clone());
    let real_whisper = whisper.as_ref().map(|api| api.base_url.clone());
    // Signals are handled from here on, so that an early one is not lost.
    let stop = stop_signal()?;
    let stack = Stack::start(Settings {
        port: options.port,
        aws_port: options.aws_port,
        aws_reach: if options.aws_only {
            Reach::Network
        } else {
            Reach::Machine
        },
        storage: Storage {
            database: DatabaseKind::File,
            dir: options.data_dir.clone(),
        },
        reset: options.reset,
        aws_only: options.aws_only,
        empty: options.empty,
        demo_time: None,
        twilio,
        whisper,
        schedules: true,
        cors_allowed_origins: options.cors_allowed_origins,
        allowed_hosts: options.allow_host,
        environment,
        ..Settings::new(options.data_dir)
    })
    .await?;
    print!(
        "{}",
        banner(&stack, real_twilio.as_deref(), real_whisper.as_deref(), options.auth)
    );
    let has_demo = !options.empty && real_twilio.is_none() && real_whisper.is_none();
    let transcribing = stack.api_url.clone().filter(|_| has_demo);
    let transcribing = transcribing.map(|api| tokio::spawn(demo_transcripts::transcribe(api)));
    stop.await;
    if let Some(transcribing) = transcribing {
        transcribing.abort();
    }
    tracing::info!("stopping; requests in flight are answered first");
    stack.stop().await
}

fn banner(stack: &Stack, real_twilio: Option<&str>, real_whisper: Option<&str>, auth: Auth) -> String {
    let service = |url: Option<&str>, credentials: String| match url {
        Some(url) => format!("REAL, {url}"),
        None => format!("stand-in that knows only the demo data{credentials}"),
    };
    // Behind the `#`, no server sees the key.
    let console = stack.api_url.as_ref().map_or_else(String::new, |api| {
        format!("  Console  {api}/console#key={}\n", demo::API_KEY)
    });
    let mut text = format!(
        "\nCall Recordings\n{console}  API      {}\n  AWS      embedded, {} (access key {}, secret {}, region {}, bucket {})\n  LiveKit  API key {}, secret {}\n  \
         Twilio   {}\n  Whisper  {}\n",
        stack.api_url.as_deref().unwrap_or("not started (--aws-only)"),
        stack.aws_url,
        aws::ACCESS_KEY_ID,
        aws::SECRET_ACCESS_KEY,
        aws::REGION,
        account::BUCKET,
        demo::LIVEKIT_API_KEY,
        demo::LIVEKIT_API_SECRET,
        service(
            real_twilio,
            format!(" (account {}, token {})", demo::ACCOUNT_SID, demo::AUTH_TOKEN)
        ),
        service(real_whisper, String::new()),
    );
    if let Some(api) = &stack.api_url {
        let key = demo::API_KEY;
        let with_key = match auth {
            Auth::Open => String::new(),
            Auth::Required => format!(" -H \"X-API-Key: {key}\""),
        };
        text.push_str(&format!(
            "\nOpen {api}/s/{} (a shared call) or {api}/docs (the API) in a browser.\n\nTry ({key} is the demo's real key):\n  curl \"{api}/recordings?limit=5\"{with_key}\n  \
             curl \"{api}/api/twilio/recordings/?limit=20&status=completed\" -H \"X-API-Key: {key}\"\n  \
             curl -X POST \"{api}/api/twilio/transcript/\" -H \"Content-Type: application/json\" -H \"X-API-Key: {key}\" -d '{{\"recording_sid\": \"RE1234567890abcdef\"}}'\n\n\
             Ctrl-C ends it.\n",
            demo::SHARE_TOKEN
        ));
    }
    text
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn twilio_from_env() -> Result<Option<TwilioAccount>, String> {
    let base_url = variable("TWILIO_BASE_URL");
    match (variable("TWILIO_ACCOUNT_SID"), variable("TWILIO_AUTH_TOKEN")) {
        (Some(account_sid), Some(auth_token)) => {
            let base_url = base_url.unwrap_or_else(|| "https://api.twilio.com".into());
            Ok(Some(TwilioAccount {
                account_sid,
                auth_token,
                base_url,
            }))
        }
        (None, None) => Ok(base_url.map(|base_url| TwilioAccount {
            account_sid: demo::ACCOUNT_SID.into(),
            auth_token: demo::AUTH_TOKEN.into(),
            base_url,
        })),
        _ => Err("TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN go together; set both, or neither for the stand-in".into()),
    }
}

fn whisper_from_env() -> Option<TranscriptionApi> {
    let (api_key, base_url) = (variable("OPENAI_API_KEY"), variable("WHISPER_BASE_URL"));
    (api_key.is_some() || base_url.is_some()).then(|| TranscriptionApi {
        api_key: api_key.unwrap_or_default(),
        base_url: base_url.unwrap_or_else(|| "https://api.openai.com/v1".into()),
    })
}

/// Completes at the first Ctrl-C or SIGTERM.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    #[cfg(unix)]
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    Ok(async move {
        #[cfg(unix)]
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    })
}

fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
