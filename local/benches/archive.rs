//! Measures time and memory of copying a Twilio recording, against `curl | aws s3 cp -` from and to the same servers. On Linux:
//! `cargo bench --profile dev -p local --bench archive`.
//!
//! The function is built as it is deployed and run as a process with a small Runtime API and the embedded AWS. A server in place of Twilio sends a
//! recording on two channels from memory. The plain copy neither decodes nor verifies; it is measured if `curl` and `aws` are installed.

mod runtime;

use std::{
    process::Command,
    time::{Duration, Instant},
};

use axum::{Json, Router, body::Bytes, extract::Path, response::IntoResponse, routing::get};
use jiff::Timestamp;
use local::{
    aws::{ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY},
    demo,
    serve::{Reach, bind, serve},
    stack::{Settings, Stack, account},
    standins::tones::{Script, Wav},
};
use runtime::{Result, Running, build};
use serde_json::json;

/// The timeout of the function.
const TIMEOUT: Duration = Duration::from_secs(900);
const LENGTHS: [(&str, u32); 4] = [("1 min", 60), ("10 min", 600), ("1 h", 3600), ("24 h", 86_400)];
/// Longer recordings are not copied plainly.
const LONGEST_PLAIN: u32 = 3600;

/// Noise-like PCM on two channels: a minute of tones, repeated.
fn recording(seconds: u32) -> Bytes {
    let minute = Wav::new(8_000, [Script::spoken(60.0, 1), Script::spoken(60.0, 2)]).bytes();
    let samples = &minute[44..];
    let data = seconds * 32_000;
    let mut file = Vec::with_capacity(44 + data as usize);
    file.extend_from_slice(&minute[..44]);
    file[4..8].copy_from_slice(&(data + 36).to_le_bytes());
    file[40..44].copy_from_slice(&data.to_le_bytes());
    while file.len() < 44 + data as usize {
        let rest = 44 + data as usize - file.len();
        file.extend_from_slice(&samples[..samples.len().min(rest)]);
    }
    file.into()
}

#[tokio::main]
async fn main() -> Result<()> {
    let binary = build("archive-recording")?;
    println!("recording   size        copied in   plain copy   ratio   peak memory");
    for (name, seconds) in LENGTHS {
        let dir = tempfile::tempdir()?;
        let mut settings = Settings::new(dir.path().to_owned());
        settings.aws_only = true;
        let stack = Stack::start(settings).await?;
        let sid = "RE00000000000000000000000000000001";
        let bytes = recording(seconds);
        let size = bytes.len();
        let media = move |file: String| {
            let bytes = bytes.clone();
            async move {
                match file.ends_with(".json") {
                    true => Json(json!({
                        "sid": sid, "call_sid": "CA00000000000000000000000000000001", "status": "completed", "channels": 2,
                        "duration": seconds.to_string(), "date_created": "Thu, 26 Nov 2026 10:00:00 +0000",
                    }))
                    .into_response(),
                    false => bytes.into_response(),
                }
            }
        };
        let twilio = bind(0, Reach::Machine).await?;
        let twilio_url = twilio.url();
        let path = "/2010-04-01/Accounts/{account}/Recordings/{file}";
        let router = Router::new().route(path, get(move |Path((_, file)): Path<(String, String)>| media(file)));
        tokio::spawn(serve(twilio, router, std::future::pending()));
        let own = [("TWILIO_BASE_URL", twilio_url.as_str())];
        let environment = stack.environment.iter().chain(own);
        let environment: Vec<_> = environment
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();

        let (mut function, _) = Running::start(&binary, &environment, TIMEOUT).await?;
        let body = json!({"recording_sid": sid}).to_string();
        let event = json!({"Records": [{"messageId": "m", "body": body}]}).to_string();
        let began = Instant::now();
        function.invoke(&event.into()).await?;
        let took = began.elapsed().as_secs_f64();
        let peak = function.peak()? / 1024;
        let s3 = aws_sdk_s3::Client::from_conf(shared::clients::aws::Aws::from_env(&stack.environment)?.s3_config());
        let day = Timestamp::constant(1_795_687_200, 0).strftime("%Y/%m/%d");
        let key = format!("twilio-recordings/{day}/CA00000000000000000000000000000001/{sid}.wav");
        let stored = s3.head_object().bucket(account::BUCKET).key(&key).send().await?;
        if stored.content_length() != Some(size as i64) {
            return Err(format!("{key} has another size than the recording").into());
        }
        let plain = match seconds <= LONGEST_PLAIN {
            true => plain_copy(&stack, &twilio_url, sid, size).await?,
            false => None,
        };
        let ratio = plain.map_or("-".to_owned(), |plain| format!("{:.2}", took / plain));
        let plain = plain.map_or("-".to_owned(), |plain| format!("{plain:.2} s"));
        println!(
            "{name:<9} {:>7.1} MB {took:>11.2} s {plain:>11} {ratio:>7} {peak:>10} MiB",
            size as f64 / 1e6
        );
        drop(function);
        stack.stop().await?;
    }
    Ok(())
}

/// The seconds of `curl | aws s3 cp -`; `None` if these are not installed.
async fn plain_copy(stack: &Stack, twilio: &str, sid: &str, size: usize) -> Result<Option<f64>> {
    let installed = |name: &str| Command::new(name).arg("--version").output().is_ok();
    if !installed("curl") || !installed("aws") {
        return Ok(None);
    }
    let (account, token, bucket) = (demo::ACCOUNT_SID, demo::AUTH_TOKEN, account::BUCKET);
    let script = format!(
        "curl -sf -u {account}:{token} {twilio}/2010-04-01/Accounts/{account}/Recordings/{sid}.wav | \
         aws s3 cp --expected-size {size} --endpoint-url {} - s3://{bucket}/plain/{sid}.wav",
        stack.aws_url
    );
    let mut command = tokio::process::Command::new("sh");
    command
        .args(["-c", &script])
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
        .env("AWS_REGION", REGION);
    let began = Instant::now();
    match command.status().await?.success() {
        true => Ok(Some(began.elapsed().as_secs_f64())),
        false => Err("the plain copy failed".into()),
    }
}
