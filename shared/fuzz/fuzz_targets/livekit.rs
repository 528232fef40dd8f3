//! LiveKit's webhooks. The first line of an input is a token, the rest is the body in protojson.

#![no_main]

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::STANDARD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use shared::clients::livekit::{EgressEvent, LiveKitCredentials, read};

const SECRET: &str = "a-secret-of-some-length-for-hmac-256";
static CREDENTIALS: LazyLock<LiveKitCredentials> =
    LazyLock::new(|| serde_json::from_value(json!({"api_key": "APIkey", "api_secret": SECRET})).expect("credentials"));
/// The fields that have two spellings.
const NAMES: [(&str, &str); 7] = [
    ("egressInfo", "egress_info"),
    ("egressId", "egress_id"),
    ("fileResults", "file_results"),
    ("roomName", "room_name"),
    ("startedAt", "started_at"),
    ("endedAt", "ended_at"),
    ("createdAt", "created_at"),
];
const TIMES: [&str; 3] = ["startedAt", "endedAt", "createdAt"];
const STATUS: [&str; 7] = [
    "EGRESS_STARTING",
    "EGRESS_ACTIVE",
    "EGRESS_ENDING",
    "EGRESS_COMPLETE",
    "EGRESS_FAILED",
    "EGRESS_ABORTED",
    "EGRESS_LIMIT_REACHED",
];

fuzz_target!(|data: &[u8]| {
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else {
        return;
    };
    let (token, body) = (&data[..end], &data[end + 1..]);
    if let Ok(token) = std::str::from_utf8(token) {
        tokens(token, body);
    }
    let event = read(body);
    if let Some(event) = &event {
        possible(event);
    }
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        assert_eq!(event, None);
        return;
    };
    assert_eq!(event.is_some(), value.is_object());
    if let Some(snake) = respelled(&value, false) {
        assert_eq!(read(snake.to_string().as_bytes()), event, "snake_case");
    }
    if let Some(numbers) = respelled(&value, true) {
        assert_eq!(read(numbers.to_string().as_bytes()), event, "numbers");
    }
});

fn tokens(received: &str, body: &[u8]) {
    assert!(CREDENTIALS.verify(received, body).is_err(), "a forged token");
    let claims =
        json!({"iss": "APIkey", "nbf": 0, "exp": 4_000_000_000_u64, "sha256": STANDARD.encode(Sha256::digest(body))});
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let token = encode(&Header::new(Algorithm::HS256), &claims, &key).expect("a token");
    assert!(CREDENTIALS.verify(&token, body).is_ok());
    assert!(
        CREDENTIALS.verify(&token, &[body, b" "].concat()).is_err(),
        "another body"
    );
    let Some(byte) = received.bytes().last() else { return };
    let mut other = token.into_bytes();
    let at = received.len() % other.len();
    if other[at] != byte {
        other[at] = byte;
        let other = String::from_utf8_lossy(&other).into_owned();
        assert!(CREDENTIALS.verify(&other, body).is_err(), "{other}");
    }
}

fn possible(event: &EgressEvent) {
    let failed = match event {
        EgressEvent::Stored { key, otherwise } => {
            assert!((1..=1024).contains(&key.len()) && !key.starts_with('/') && otherwise.key.as_ref() == Some(key));
            otherwise
        }
        EgressEvent::Failed(failed) => failed,
        EgressEvent::Ignored(reason) => {
            assert!(reason.ends_with('.'));
            return;
        }
    };
    assert!(failed.started.is_none_or(|started| started.as_second() > 0));
    assert!(failed.reason.chars().count() <= 400);
    if let Some(phone) = &failed.phone {
        assert!((5..=20).contains(&phone.len()) && phone.bytes().all(|byte| byte.is_ascii_digit()));
    }
}

/// The value with its fields in snake_case or, with `numbers`, with its times and statuses as numbers. `None` if a field is there twice.
fn respelled(value: &Value, numbers: bool) -> Option<Value> {
    Some(match value {
        Value::Array(values) => Value::Array(
            values
                .iter()
                .map(|value| respelled(value, numbers))
                .collect::<Option<_>>()?,
        ),
        Value::Object(fields) => {
            let mut renamed = Map::new();
            for (name, value) in fields {
                let spelled = NAMES
                    .iter()
                    .find(|(camel, _)| camel == name)
                    .map_or(name.as_str(), |(_, snake)| snake);
                let value = match value {
                    Value::String(text) if numbers && TIMES.contains(&name.as_str()) => {
                        text.parse::<i64>().map_or(value.clone(), Value::from)
                    }
                    Value::String(text) if numbers && name == "status" => {
                        let number = STATUS.iter().position(|status| status == text);
                        number.map_or(value.clone(), Value::from)
                    }
                    value => respelled(value, numbers)?,
                };
                let name = if numbers { name.as_str() } else { spelled };
                if renamed.insert(name.to_owned(), value).is_some() || !numbers && name != spelled {
                    return None;
                }
            }
            // Where both spellings are there, protojson has no rule, and the reader takes the one in camel case.
            let has_both = NAMES
                .iter()
                .any(|(camel, snake)| fields.contains_key(*camel) && fields.contains_key(*snake));
            if has_both {
                return None;
            }
            Value::Object(renamed)
        }
        value => value.clone(),
    })
}
