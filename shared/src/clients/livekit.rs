//! LiveKit's webhooks: verification of the sender, and parsing of egress events.
//!
//! The wire format is `livekit_webhook.proto` and `livekit_egress.proto` of livekit/protocol in protojson: 64-bit integers are strings, enums
//! are names, and zero values are omitted. Numbers and snake_case names are accepted as well.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, errors::ErrorKind};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    clients::{
        aws::Aws,
        secrets::{Secret, SecretError},
    },
    config::{ConfigError, Env},
    ids::media_type,
    log::json_error,
    names::number_of_room,
};

/// The allowed clock difference in seconds.
const LEEWAY: u64 = 60;
/// The length of the longest key in S3, in bytes.
const MAX_KEY_BYTES: usize = 1024;
/// The length of the longest egress id in bytes. LiveKit's have 15.
const MAX_ID_BYTES: usize = 256;
/// An invalid token causes the secret to be read again, at most once in this time.
const SECRET_REFRESH: Duration = Duration::from_secs(30);

/// The LiveKit secret: `{"api_key","api_secret"}`.
#[derive(Deserialize)]
pub struct LiveKitCredentials {
    api_key: String,
    api_secret: String,
}

/// Why a webhook could not be verified.
#[derive(Debug, thiserror::Error)]
pub enum LiveKitError {
    /// The secret can't be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The secret lacks the key or its secret.
    #[error("the LiveKit secret needs api_key and api_secret")]
    IncompleteSecret,
    /// The token is missing, expired, signed with another key, or for another body.
    #[error("the webhook's token is not valid: {0}")]
    Unauthorized(String),
}

/// The content of a webhook about a recording.
#[derive(Debug, Clone, PartialEq)]
pub enum EgressEvent {
    /// A file should be in the bucket under this key. The file may be empty: protojson omits a size of zero, so the webhook does not show it.
    Stored {
        /// The key.
        key: String,
        /// What must be stored if the file does not exist or is empty.
        otherwise: FailedEgress,
    },
    /// The egress produced no file.
    Failed(FailedEgress),
    /// The webhook contains nothing to index, for this reason.
    Ignored(&'static str),
}

/// A LiveKit egress that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedEgress {
    /// The egress id.
    pub egress_id: String,
    /// The key that the file would have had.
    pub key: Option<String>,
    /// The customer's phone number, digits only.
    pub phone: Option<String>,
    /// When the egress began.
    pub started: Option<Timestamp>,
    /// LiveKit's error message.
    pub reason: String,
    /// When LiveKit sent the event.
    pub at: Timestamp,
}

impl FailedEgress {
    /// Whether the egress has an id under which it can be stored.
    pub fn has_id(&self) -> bool {
        (1..=MAX_ID_BYTES).contains(&self.egress_id.len())
    }
}

/// Verifies webhooks.
pub struct LiveKit(Secret<LiveKitCredentials>);

impl LiveKit {
    /// Reads `LIVEKIT_SECRET`.
    pub fn from_env(env: &Env, aws: &Aws) -> Result<Self, ConfigError> {
        let secret = env.required("LIVEKIT_SECRET")?;
        Ok(Self(Secret::new(aws.secrets_manager(), secret)))
    }

    /// Reads the secret before the first request.
    pub async fn preload(&self) {
        self.0.preload().await;
    }

    /// Checks that `token`, the `Authorization` header, was signed with LiveKit's key for exactly these bytes.
    pub async fn verify(&self, token: &str, body: &[u8]) -> Result<(), LiveKitError> {
        match self.0.get().await?.verify(token, body) {
            // The secret may have been rotated since it was read, and LiveKit does not send a rejected webhook again.
            Err(LiveKitError::Unauthorized(_)) => self.0.refresh(SECRET_REFRESH).await?.verify(token, body),
            verified => verified,
        }
    }
}

impl LiveKitCredentials {
    /// Checks that `token`, the `Authorization` header, was signed with this key for exactly these bytes and has not expired.
    pub fn verify(&self, token: &str, body: &[u8]) -> Result<(), LiveKitError> {
        #[derive(Deserialize)]
        struct Claims {
            sha256: String,
        }
        if self.api_key.is_empty() || self.api_secret.is_empty() {
            return Err(LiveKitError::IncompleteSecret);
        }
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = LEEWAY;
        validation.set_required_spec_claims(&["exp", "iss"]);
        validation.set_issuer(&[&self.api_key]);
        validation.validate_nbf = true;
        let token = token.strip_prefix("Bearer ").unwrap_or(token);
        let key = DecodingKey::from_secret(self.api_secret.as_bytes());
        let claims = decode::<Claims>(token, &key, &validation)
            .map_err(|error| LiveKitError::Unauthorized(token_error(&error)))?
            .claims;
        match claims.sha256 == STANDARD.encode(Sha256::digest(body)) {
            true => Ok(()),
            false => Err(LiveKitError::Unauthorized("it is for another body".into())),
        }
    }
}

/// Why a token is not valid, without its claims, which the parser's message quotes.
fn token_error(error: &jsonwebtoken::errors::Error) -> String {
    match error.kind() {
        ErrorKind::Json(error) => json_error(error),
        ErrorKind::Base64(_) | ErrorKind::Utf8(_) => "it is no token".to_owned(),
        _ => error.to_string(),
    }
}

/// Parses a webhook's body; `None` if it is not a JSON object.
pub fn read(body: &[u8]) -> Option<EgressEvent> {
    let event: Value = serde_json::from_slice(body).ok()?;
    let event_name = event.as_object()?.get("event").and_then(Value::as_str);
    let info = either(&event, "egressInfo", "egress_info");
    let status = match info.get("status") {
        Some(Value::String(name)) => name.clone(),
        Some(Value::Number(number)) => match number.as_u64() {
            Some(3) => "EGRESS_COMPLETE".into(),
            Some(4) => "EGRESS_FAILED".into(),
            Some(5) => "EGRESS_ABORTED".into(),
            Some(6) => "EGRESS_LIMIT_REACHED".into(),
            _ => String::new(),
        },
        _ => String::new(),
    };
    let has_file = matches!(status.as_str(), "EGRESS_COMPLETE" | "EGRESS_LIMIT_REACHED");
    if event_name != Some("egress_ended") {
        return Some(EgressEvent::Ignored(
            "Only the event egress_ended concerns a recording.",
        ));
    }
    if !(has_file || matches!(status.as_str(), "EGRESS_FAILED" | "EGRESS_ABORTED")) {
        return Some(EgressEvent::Ignored("The status of the egress is not a final one."));
    }
    let file_results = either(info, "fileResults", "file_results").as_array();
    // Some versions send only the deprecated field `file`.
    let file_results = file_results.filter(|files| !files.is_empty());
    let files = file_results.map_or(std::slice::from_ref(&info["file"]), Vec::as_slice);
    // Egress removes a leading slash of the requested path from the key.
    let key_of = |file: &Value| {
        let name = file["filename"].as_str().unwrap_or_default();
        name.trim_start_matches('/').to_owned()
    };
    let is_key = |file: &&Value| (1..=MAX_KEY_BYTES).contains(&key_of(file).len());
    let files: Vec<&Value> = files.iter().filter(is_key).collect();
    let is_audio = |file: &&&Value| media_type(&key_of(file)).is_some();
    let file = files.iter().find(is_audio).or(files.first()).copied();
    let key = file.map(key_of);
    if has_file && key.is_none() {
        return Some(EgressEvent::Ignored(
            "The egress wrote no file: it made segments, images or a stream.",
        ));
    }
    let room = either(info, "roomName", "room_name").as_str().unwrap_or_default();
    let participant = info["participant"]["identity"].as_str().unwrap_or_default();
    let nanoseconds = |of: &Value, camel, snake| {
        let time = Timestamp::from_nanosecond(integer(either(of, camel, snake))?.into()).ok();
        time.filter(|time| time.as_second() > 0)
    };
    let file_started = file.and_then(|file| nanoseconds(file, "startedAt", "started_at"));
    let message = match info["error"].as_str().unwrap_or_default() {
        "" => info["details"].as_str().unwrap_or_default(),
        error => error,
    };
    let outcome = match status.as_str() {
        "EGRESS_FAILED" => "LiveKit's recording failed",
        "EGRESS_ABORTED" => "LiveKit's recording was aborted",
        _ => "LiveKit's recording is empty or not in the bucket",
    };
    let message: String = message.chars().take(300).collect();
    let at = integer(either(&event, "createdAt", "created_at"))
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .or_else(|| nanoseconds(info, "endedAt", "ended_at"))
        .unwrap_or(Timestamp::UNIX_EPOCH);
    let failed = FailedEgress {
        egress_id: either(info, "egressId", "egress_id")
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        key: key.clone(),
        phone: number_of_room(room).or_else(|| number_of_room(participant)),
        // An egress that failed before it began has no start. It was then requested shortly before the event.
        started: file_started
            .or_else(|| nanoseconds(info, "startedAt", "started_at"))
            .or_else(|| (!has_file && at.as_second() > 0).then_some(at)),
        reason: if message.is_empty() {
            format!("{outcome}.")
        } else {
            format!("{outcome}: {message}")
        },
        at,
    };
    Some(match key.filter(|_| has_file) {
        Some(key) => EgressEvent::Stored { key, otherwise: failed },
        None => EgressEvent::Failed(failed),
    })
}

fn either<'a>(object: &'a Value, camel: &str, snake: &str) -> &'a Value {
    object.get(camel).unwrap_or(&object[snake])
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => text.parse().ok(),
        value => value.as_i64(),
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::json;

    use super::*;

    fn secret() -> LiveKitCredentials {
        LiveKitCredentials {
            api_key: "APIkey".into(),
            api_secret: "a-secret-of-some-length-for-hmac-256".into(),
        }
    }

    fn token(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
        encode(
            &Header::new(algorithm),
            claims,
            &EncodingKey::from_secret(secret.as_bytes()),
        )
        .unwrap()
    }

    #[test]
    fn a_webhook_is_accepted_only_with_a_valid_token_for_its_body() {
        let (body, now) = (br#"{ "event": "egress_ended" }"#, Timestamp::now().as_second());
        let hash = STANDARD.encode(Sha256::digest(body));
        let good = json!({"iss": "APIkey", "nbf": now, "exp": now + 300, "sha256": hash});
        let with = |name: &str, value: Value| {
            let mut claims = good.clone();
            claims[name] = value;
            token(Algorithm::HS256, &secret().api_secret, &claims)
        };
        let token_of_good = with("iss", "APIkey".into());
        assert!(secret().verify(&token_of_good, body).is_ok());
        assert!(secret().verify(&format!("Bearer {token_of_good}"), body).is_ok());
        assert!(
            secret().verify(&with("exp", (now - 30).into()), body).is_ok(),
            "within the leeway"
        );
        for (token, outcome) in [
            (with("exp", (now - 90).into()), "expired"),
            (with("nbf", (now + 600).into()), "not yet valid"),
            (with("iss", "another".into()), "another key"),
            (with("exp", Value::Null), "no end"),
            (
                with("sha256", hex::encode(Sha256::digest(body)).into()),
                "the hash in hex",
            ),
            (
                token(Algorithm::HS256, "another secret of some length", &good),
                "another secret",
            ),
            (
                token(Algorithm::HS384, &secret().api_secret, &good),
                "another algorithm",
            ),
            ("".into(), "no token"),
            ("eyJhbGciOiJub25lIn0.e30.".into(), "no algorithm"),
        ] {
            assert!(secret().verify(&token, body).is_err(), "{outcome}");
        }
        let other = br#"{"event":"egress_ended"}"#;
        assert!(
            secret().verify(&token_of_good, other).is_err(),
            "the raw bytes are hashed"
        );
    }

    #[test]
    fn every_final_status_of_an_egress_is_parsed() {
        let ended = |status: Value, file: Value| {
            let body = json!({"event": "egress_ended", "createdAt": "1754653700", "id": "EV_1", "egressInfo": {
                "egressId": "EG_1", "roomName": "outbound-15103455686", "status": status, "startedAt": "1754653479123456789",
                "error": "no space", "fileResults": [file],
            }});
            read(body.to_string().as_bytes()).unwrap()
        };
        let file = json!({"filename": "egress-recordings/a.mp4", "size": "12", "duration": "180000000000"});
        for status in [
            json!("EGRESS_COMPLETE"),
            json!("EGRESS_LIMIT_REACHED"),
            json!(3),
            json!(6),
        ] {
            let EgressEvent::Stored { key, otherwise } = ended(status, file.clone()) else {
                panic!("not stored")
            };
            assert_eq!(key, "egress-recordings/a.mp4");
            let reason = "LiveKit's recording is empty or not in the bucket: no space";
            assert_eq!(
                (otherwise.key.as_ref(), otherwise.reason.as_str()),
                (Some(&key), reason)
            );
        }
        for (status, reason) in [
            ("EGRESS_FAILED", "LiveKit's recording failed: no space"),
            ("EGRESS_ABORTED", "LiveKit's recording was aborted: no space"),
        ] {
            let EgressEvent::Failed(failed) = ended(status.into(), json!({})) else {
                panic!("{status}")
            };
            assert_eq!(
                (failed.reason.as_str(), failed.phone.as_deref()),
                (reason, Some("15103455686"))
            );
            assert_eq!(failed.started.unwrap().as_second(), 1_754_653_479);
            assert_eq!(failed.at.as_second(), 1_754_653_700);
        }
        let is_ignored = |event: &EgressEvent| matches!(event, EgressEvent::Ignored(_));
        let segments = ended("EGRESS_COMPLETE".into(), json!({}));
        assert!(is_ignored(&segments), "segments or a stream");
        for status in [json!("EGRESS_ACTIVE"), json!("EGRESS_ENDING"), Value::Null] {
            assert!(is_ignored(&ended(status, file.clone())));
        }
        let other = read(br#"{"event":"room_started","room":{}}"#);
        assert!(other.as_ref().is_some_and(is_ignored));
        assert_eq!((read(b"[]"), read(b"nothing")), (None, None));
        let key_of = |body: Value| match read(body.to_string().as_bytes()) {
            Some(EgressEvent::Stored { key, .. }) => key,
            other => panic!("{other:?}"),
        };
        let snake = json!({"event": "egress_ended", "egress_info": {"egress_id": "EG_1", "status": 3, "file_results": [{"filename": "k"}]}});
        assert_eq!(key_of(snake), "k");
        let deprecated =
            json!({"event": "egress_ended", "egressInfo": {"status": "EGRESS_COMPLETE", "file": {"filename": "k"}}});
        assert_eq!(key_of(deprecated), "k");
        let recording = "egress-recordings/2025/08/08/outbound-15103455686_1754653482.mp4";
        let both = json!({"event": "egress_ended", "egressInfo": {"status": "EGRESS_COMPLETE", "fileResults": [],
            "file": {"filename": "/uploads/k.mp4", "duration": "-1731660518186023947"}}});
        assert_eq!(key_of(both), "uploads/k.mp4");
        let file_results = json!({"event": "egress_ended", "egressInfo": {"status": "EGRESS_COMPLETE",
            "fileResults": [{"filename": "thumbnail.jpg"}, {"filename": recording}]}});
        assert_eq!(key_of(file_results), recording);
    }
}
