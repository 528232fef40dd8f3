//! The program in a separate process, with a test's stand-ins as its upstreams.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use local::{aws, demo};
use reqwest::{Client, RequestBuilder};
use serde_json::Value;
use shared::{clients::aws::Aws, config::Env};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::stack::{Answer, TestStack, answer};

/// A running program.
pub(crate) struct Program {
    process: Child,
    api: String,
    aws: String,
    log: PathBuf,
    client: Client,
}

impl Program {
    /// Starts the program with its state in `dir`, and waits until it listens.
    pub(crate) async fn start(upstreams: &TestStack, dir: &Path) -> Self {
        Self::start_with(upstreams, &upstreams.stack.aws_url, dir).await
    }

    /// The same with another transcription API.
    pub(crate) async fn start_with(upstreams: &TestStack, whisper: &str, dir: &Path) -> Self {
        let log = dir.join("log");
        let mut process = Command::new(env!("CARGO_BIN_EXE_local"))
            .args(["--port", "0", "--aws-port", "0", "--empty", "--data-dir"])
            .arg(dir)
            .env_remove("TWILIO_ACCOUNT_SID")
            .env_remove("TWILIO_AUTH_TOKEN")
            .env_remove("WHISPER_MODEL")
            .env("TWILIO_BASE_URL", &upstreams.stack.aws_url)
            .env("OPENAI_API_KEY", demo::WHISPER_API_KEY)
            .env("WHISPER_BASE_URL", format!("{whisper}/v1"))
            .env("RUST_LOG", "debug")
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut banner = BufReader::new(process.stdout.take().unwrap()).lines();
        let (mut api, mut aws) = (None, None);
        while api.is_none() || aws.is_none() {
            let line = banner.next_line().await.unwrap();
            let line = line.expect("the program names its addresses");
            let address = || {
                line.split_whitespace()
                    .find(|word| word.starts_with("http"))
                    .map(str::to_owned)
            };
            match line.split_whitespace().next() {
                Some("API") => api = address(),
                Some("AWS") => aws = address(),
                _ => {}
            }
        }
        Self {
            process,
            api: api.unwrap(),
            aws: aws.unwrap(),
            log,
            client: Client::builder().no_proxy().build().unwrap(),
        }
    }

    /// Kills the process without a chance to clean up.
    pub(crate) async fn kill(mut self) {
        self.process.kill().await.unwrap();
    }

    /// `POST` of JSON with the demo's key.
    pub(crate) fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.post_without_key(path, body).header("X-API-Key", demo::API_KEY)
    }

    /// `POST` of JSON without a key.
    pub(crate) fn post_without_key(&self, path: &str, body: &Value) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.api)).json(body)
    }

    /// `GET` with the demo's key.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        answer(self.request(path).header("X-API-Key", demo::API_KEY)).await
    }

    /// `GET` without a key.
    pub(crate) fn request(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.api))
    }

    /// Polls a state until it satisfies `wanted`.
    pub(crate) async fn state_when(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..100_000 {
            let body = self.get(path).await.body;
            if wanted(&body) {
                return body;
            }
            tokio::task::yield_now().await;
        }
        panic!("the state was never reached");
    }

    /// A client for the program's DynamoDB.
    pub(crate) fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let env = Env::from_iter([
            ("AWS_REGION", aws::REGION),
            ("AWS_ACCESS_KEY_ID", aws::ACCESS_KEY_ID),
            ("AWS_SECRET_ACCESS_KEY", aws::SECRET_ACCESS_KEY),
            ("AWS_ENDPOINT_URL", self.aws.as_str()),
        ]);
        Aws::from_env(&env).unwrap().dynamodb()
    }

    /// The program's log.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// The peak memory of the process in MB.
    #[cfg(target_os = "linux")]
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id().unwrap())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    }
}
