//! `cargo run` as a separate process that is started and stopped.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use local::{aws, demo, stack::account};
use reqwest::{Client, StatusCode};
use serde_json::Value;
use shared::{clients::aws::Aws, config::Env, http::access};
use tempfile::TempDir;

use crate::stack::TestStack;

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_local"));
    command.args(arguments);
    for name in [
        "TWILIO_ACCOUNT_SID",
        "TWILIO_AUTH_TOKEN",
        "TWILIO_BASE_URL",
        "OPENAI_API_KEY",
        "WHISPER_BASE_URL",
        "WHISPER_MODEL",
        "RUST_LOG",
    ] {
        command.env_remove(name);
    }
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

/// A started `local` that has printed its banner.
struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    banner: String,
    api: String,
    aws: String,
}

impl Running {
    fn start(dir: &Path, arguments: &[&str]) -> Self {
        let mut child = command(&["--port", "0", "--aws-port", "0", "--data-dir"])
            .arg(dir)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut banner = String::new();
        let last = match arguments.contains(&"--aws-only") {
            true => "Whisper",
            false => "Ctrl-C ends it.",
        };
        while !banner.contains(last) {
            if stdout.read_line(&mut banner).unwrap() == 0 {
                let mut log = String::new();
                child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
                panic!("it ended: {banner}\n{log}");
            }
        }
        let url = |label: &str| {
            let line = banner.lines().find(|line| line.trim_start().starts_with(label));
            let url = line.and_then(|line| line.split_whitespace().find(|word| word.starts_with("http")));
            url.unwrap_or_default().to_owned()
        };
        Self {
            api: url("API"),
            aws: url("AWS"),
            child,
            stdout,
            banner,
        }
    }

    /// Sends a signal and returns the exit code and the log.
    #[cfg(unix)]
    fn stop(mut self, signal: &str) -> (Option<i32>, String) {
        let kill = Command::new("sh")
            .args(["-c", &format!("kill -{signal} {}", self.child.id())])
            .status()
            .unwrap();
        assert!(kill.success());
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "after the banner nothing goes to standard output");
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap().code(), log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn get(url: &str, key: &str) -> (StatusCode, Value) {
    let client = Client::builder().no_proxy().build().unwrap();
    let response = client.get(url).header("X-API-Key", key).send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

#[test]
fn help_lists_the_documented_options() {
    let help = run(&["--help"]);
    assert!(help.status.success());
    let text = String::from_utf8(help.stdout).unwrap();
    for option in [
        "--port",
        "--aws-port",
        "--data-dir",
        "--auth",
        "--aws-only",
        "--empty",
        "--reset",
        "keys",
    ] {
        assert!(text.contains(option), "{option}: {text}");
    }
    for default in ["8000", "4566", ".local", "[default: open]"] {
        assert!(text.contains(default), "{default}: {text}");
    }
}

#[test]
fn a_wrong_option_is_rejected_with_the_accepted_ones() {
    for (arguments, named) in [
        (["--port", "70000"], "70000"),
        (["--auth", "maybe"], "open, required"),
        (["--prot", "1"], "--port"),
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(named), "{text}");
    }
}

#[test]
fn the_version_is_that_of_the_package_and_help_names_every_variable() {
    let version = String::from_utf8(run(&["--version"]).stdout).unwrap();
    assert_eq!(version, concat!("call-recordings ", env!("CARGO_PKG_VERSION"), "\n"));
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    for variable in [
        "OPENAI_API_KEY",
        "RECORDING_NAME_PATTERNS",
        "WHISPER_MAX_BYTES",
        "NO_COLOR",
    ] {
        assert!(help.contains(variable), "{variable}: {help}");
    }
}

#[test]
fn a_missing_region_is_reported_in_one_line() {
    let dir = TempDir::new().unwrap();
    let empty = dir.path().join("config");
    std::fs::write(&empty, "").unwrap();
    for arguments in [&["keys", "create", "ops"][..], &["keys", "list"], &["reindex"]] {
        let output = command(arguments)
            .env_remove("AWS_REGION")
            .env_remove("AWS_DEFAULT_REGION")
            .env_remove("AWS_PROFILE")
            .env("AWS_CONFIG_FILE", &empty)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stderr).unwrap();
        let expected = "error: no AWS region is configured: set AWS_REGION, or run `aws configure`\n";
        assert_eq!(text, expected);
    }
}

#[tokio::test]
async fn a_request_to_aws_that_fails_is_reported_with_its_reason_in_one_line() {
    let stack = TestStack::empty().await;
    let refused = |command: &[&str], url: &str| {
        let mut arguments = command.to_vec();
        arguments.extend(["--endpoint-url", url]);
        let mut command = self::command(&arguments);
        command.env("AWS_REGION", "us-east-1").env("AWS_ACCESS_KEY_ID", "local");
        let output = command.env("AWS_SECRET_ACCESS_KEY", "local-secret").output();
        String::from_utf8(output.unwrap().stderr).unwrap()
    };
    let url = stack.stack.aws_url.clone();
    let answers = shared::panics::blocking(move || {
        let closed = "http://127.0.0.1:1";
        [
            refused(&["keys", "create", "ops", "--secret-id", "none"], &url),
            refused(&["keys", "revoke", "ops"], closed),
            refused(&["reindex"], closed),
            refused(&["reindex", "--table", "none"], &url),
        ]
    });
    for (answer, reason) in answers.await.unwrap().iter().zip([
        "the secret none can't be read: Secrets Manager can't find the specified secret",
        "the secret call-recordings/api-keys can't be read: Connection refused",
        "the calls table did not answer: Connection refused",
        "the calls table did not answer: ",
    ]) {
        assert!(answer.starts_with(&format!("error: {reason}")), "{answer}");
        assert_eq!(answer.lines().count(), 1, "{answer}");
        assert!(
            !answer.contains('{') && !answer.contains("dispatch failure"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn the_reconciler_runs_on_request_and_the_report_of_the_demo_shows_something() {
    let dir = TempDir::new().unwrap();
    let running = Running::start(dir.path(), &[]);
    let report = format!("{}/reports/completeness", running.api);
    assert_eq!(get(&report, demo::API_KEY).await.0, 404);
    let output = run(&["reconcile", "--endpoint-url", &running.aws]);
    assert!(output.status.success(), "{output:?}");
    let (status, body) = get(&report, demo::API_KEY).await;
    assert_eq!(status, 200, "{body}");
    for number in ["playable", "objects", "twilio_recordings"] {
        assert!(body[number].as_u64().unwrap() > 10, "{number}: {body}");
    }
    assert!(
        !body["calls_without_recording"]["entries"]
            .as_array()
            .unwrap()
            .is_empty()
    );

    let output = run(&["reconcile", "--endpoint-url", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.starts_with("error: no `cargo run` answers at http://127.0.0.1:1") && text.lines().count() == 1,
        "{text}"
    );
}

#[tokio::test]
async fn a_second_instance_on_the_same_data_folder_is_refused_and_the_first_goes_on() {
    let dir = TempDir::new().unwrap();
    let first = Running::start(dir.path(), &["--empty"]);
    let second = command(&["--port", "0", "--aws-port", "0", "--reset", "--data-dir"])
        .arg(dir.path())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    let text = String::from_utf8(second.stderr).unwrap();
    assert!(text.contains("another running instance uses it"), "{text}");
    assert_eq!(get(&format!("{}/recordings", first.api), "").await.0, 200);
}

#[test]
fn incomplete_twilio_credentials_are_rejected() {
    let dir = TempDir::new().unwrap();
    let output = command(&["--port", "0", "--aws-port", "0", "--data-dir"])
        .arg(dir.path())
        .env("TWILIO_ACCOUNT_SID", demo::ACCOUNT_SID)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("TWILIO_AUTH_TOKEN"), "{text}");
}

#[test]
fn a_port_in_use_is_reported_and_nothing_is_deleted() {
    let dir = TempDir::new().unwrap();
    let state = dir.path().join("secrets.json");
    std::fs::write(&state, "of the program that has the port").unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for ports in [
        ["--port", &port, "--aws-port", "0"],
        ["--port", "0", "--aws-port", &port],
    ] {
        let output = command(&ports)
            .args(["--empty", "--reset", "--data-dir"])
            .arg(dir.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(&format!("error: port {port} is already taken")), "{text}");
    }
    assert!(state.exists());
}

#[cfg(unix)]
#[tokio::test]
async fn state_survives_a_restart_and_reset_deletes_it() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("mine.txt"), "not yours").unwrap();
    let found = demo::unindexed_objects().remove(0).dispatch_id.unwrap();
    let listed = async |api: &str, key: &str| {
        let (status, body) = get(&format!("{api}/recordings?limit=100"), key).await;
        assert_eq!(status, 200, "{body}");
        let rows = body["recordings"].as_array().unwrap().clone();
        (rows.len(), rows.iter().any(|row| row["dispatch_id"] == *found))
    };

    let first = Running::start(dir.path(), &[]);
    assert!(first.banner.contains("stand-in"), "{}", first.banner);
    assert!(
        first
            .banner
            .contains(&format!("curl \"{}/recordings?limit=5\"\n", first.api)),
        "{}",
        first.banner
    );
    let (before, _) = listed(&first.api, "").await;
    let (status, body) = get(&format!("{}/recordings/{found}", first.api), demo::API_KEY).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(listed(&first.api, "").await, (before + 1, true));
    let (code, log) = first.stop("TERM");
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("ERROR") && !log.contains("panicked"), "{log}");

    let second = Running::start(dir.path(), &["--auth", "required"]);
    assert_eq!(get(&format!("{}/recordings", second.api), "").await.0, 401);
    assert_eq!(listed(&second.api, demo::API_KEY).await, (before + 1, true));
    let minted = created_key(&second.aws, &["create", "ops", "--scope", "recordings:read"]);
    assert!(minted.starts_with("crk_") && minted.len() == 54, "{minted}");
    assert_eq!(listed(&second.api, &minted).await, (before + 1, true));
    assert_eq!(
        get(&format!("{}/api/twilio/recordings", second.api), &minted).await.0,
        403
    );
    let secret = secret(&second.aws).await;
    assert!(
        secret.contains(&access::hash_key(&minted)) && !secret.contains(&minted),
        "{secret}"
    );
    assert_eq!(second.stop("INT").0, Some(0));

    let third = Running::start(dir.path(), &["--auth", "required"]);
    assert_eq!(listed(&third.api, &minted).await, (before + 1, true));
    assert_eq!(listed(&third.api, demo::API_KEY).await, (before + 1, true));
    assert_eq!(third.stop("TERM").0, Some(0));

    let fourth = Running::start(dir.path(), &["--auth", "required", "--reset", "--empty"]);
    assert_eq!(get(&format!("{}/recordings", fourth.api), &minted).await.0, 401);
    assert_eq!(listed(&fourth.api, demo::API_KEY).await, (0, false));
    assert_eq!(fourth.stop("TERM").0, Some(0));
    assert_eq!(
        std::fs::read_to_string(dir.path().join("mine.txt")).unwrap(),
        "not yours"
    );
}

/// Runs `cargo run -- keys` with these arguments and this standard input.
pub(crate) fn keys(aws_url: &str, arguments: &[&str], input: &str) -> Output {
    let mut child = command(&["keys", "--endpoint-url", aws_url])
        .args(arguments)
        .env("AWS_REGION", aws::REGION)
        .env("AWS_ACCESS_KEY_ID", aws::ACCESS_KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", aws::SECRET_ACCESS_KEY)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// The key that `cargo run -- keys` with these arguments prints.
fn created_key(aws_url: &str, arguments: &[&str]) -> String {
    let output = keys(aws_url, arguments, "");
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{log}");
    let key = String::from_utf8(output.stdout).unwrap();
    assert!(!log.contains(key.trim()), "the key is printed once and not logged");
    assert_eq!(key.lines().count(), 1);
    key.trim().to_owned()
}

async fn secret(aws_url: &str) -> String {
    let env = Env::from_iter([
        ("AWS_REGION", aws::REGION),
        ("AWS_ACCESS_KEY_ID", aws::ACCESS_KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", aws::SECRET_ACCESS_KEY),
        ("AWS_ENDPOINT_URL", aws_url),
    ]);
    let client = Aws::from_env(&env).unwrap().secrets_manager();
    let answer = client
        .get_secret_value()
        .secret_id(account::API_KEYS_SECRET)
        .send()
        .await;
    answer.unwrap().secret_string.unwrap()
}

#[cfg(unix)]
#[test]
fn aws_only_starts_no_api() {
    let dir = TempDir::new().unwrap();
    let running = Running::start(dir.path(), &["--aws-only", "--empty"]);
    assert_eq!(running.api, "");
    let address = running.aws.trim_start_matches("http://");
    assert!(TcpStream::connect(address).is_ok(), "{address}");
    assert_eq!(running.stop("TERM").0, Some(0));
}
