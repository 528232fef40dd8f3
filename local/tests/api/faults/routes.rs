//! A request for every route.

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{EncodingKey, Header, encode};
use local::demo;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::{call::Call, lane::Lane};

/// Greedy routes, each with the path that reaches it: that of a route with a trailing slash.
const GREEDY: [(&str, &str); 10] = [
    ("GET /{proxy+}", "GET /recordings/"),
    ("GET /recordings/{proxy+}", "GET /recordings/{dispatch_id}/"),
    (
        "POST /recordings/{proxy+}",
        "POST /recordings/{dispatch_id}/transcript/",
    ),
    ("GET /api/twilio/{proxy+}", "GET /api/twilio/recordings/"),
    ("POST /api/twilio/{proxy+}", "POST /api/twilio/transcript/"),
    (
        "GET /api/twilio/transcript/{proxy+}",
        "GET /api/twilio/transcript/{recording_sid}/",
    ),
    ("GET /reports/{proxy+}", "GET /reports/completeness/"),
    ("POST /webhooks/{proxy+}", "POST /webhooks/livekit/"),
    ("POST /webhooks/twilio/{proxy+}", "POST /webhooks/twilio/recording/"),
    ("GET /webhooks/twilio/{proxy+}", "GET /webhooks/twilio/recording/"),
];

/// What a request needs besides the call.
#[derive(Clone, Debug, Default)]
pub(super) struct Prepared {
    /// The id in the path that was made for it, or a cookie.
    id: String,
}

/// A route of the template as the method and the path of the request for it, with its variables, and whether a trailing slash follows.
fn plain(route: &str) -> (Method, String, bool) {
    let with_get = route.replace("HEAD ", "GET ");
    let of_share = |route: &str| match route {
        "GET /s/{proxy+}" => Some("GET /s/{token}/".to_owned()),
        "POST /s/{proxy+}" => Some("POST /s/{token}/".to_owned()),
        _ => None,
    };
    let found = GREEDY.iter().find(|(greedy, _)| *greedy == with_get);
    let plain = found
        .map(|(_, path)| (*path).to_owned())
        .or_else(|| of_share(&with_get));
    let plain = plain.unwrap_or(with_get);
    let (_, path) = plain.split_once(' ').unwrap();
    let method = route.split(' ').next().unwrap().parse().unwrap();
    (
        method,
        path.trim_end_matches('/').to_owned(),
        path.len() > 1 && path.ends_with('/'),
    )
}

/// Makes what the route's request is about. `None` if the route is not known here.
pub(super) async fn prepare(lane: &Lane, call: &Call, route: &str) -> Option<Prepared> {
    let (method, path, _) = plain(route);
    let mut prepared = Prepared::default();
    let dispatch = call.dispatch();
    match (method.as_str().replace("HEAD", "GET").as_str(), path.as_str()) {
        ("GET", "/console/assets/{version}/{file}") => {
            let page = lane.send(lane.request(&Method::GET, "/console")).await.body;
            let path = page.split('"').find(|text| text.contains("assets/")).unwrap();
            prepared.id = format!("/{}", path.trim_start_matches('/'));
        }
        ("GET", "" | "/console" | "/docs" | "/openapi.json" | "/docs/{file}")
        | ("GET", "/audit" | "/reports/queues" | "/reports/daily" | "/api/twilio/usage")
        | ("POST", "/interactions" | "/console/session")
        | ("DELETE", "/console/session") => {}
        ("GET", "/recordings") => {
            let report = json!({"interaction_id": call.interaction(), "phone": format!("+{}", call.phone())});
            lane.must(Method::POST, "/interactions", &report).await;
        }
        ("GET", "/api/twilio/recordings") => call.twilio(lane),
        ("GET", "/reports/completeness") => {
            let deadline = std::time::SystemTime::now() + std::time::Duration::from_secs(900);
            let done = lane
                .functions
                .deliver("reconcile-recordings", json!({}), deadline)
                .await;
            done.unwrap().unwrap();
        }
        ("GET", "/recordings/{dispatch_id}" | "/recordings/{dispatch_id}/audio")
        | (
            "POST",
            "/recordings/{dispatch_id}/transcript"
            | "/recordings/{dispatch_id}/waveform"
            | "/recordings/{dispatch_id}/shares",
        )
        | ("PATCH", "/recordings/{dispatch_id}")
        | ("POST", "/webhooks/livekit") => call.egress(lane),
        ("DELETE", "/recordings/{dispatch_id}") | ("POST", "/erasures") => {
            call.egress(lane);
            lane.must(Method::GET, &format!("/recordings/{dispatch}"), &Value::Null)
                .await;
        }
        ("GET", "/erasures/{erasure_id}") => {
            call.egress(lane);
            lane.must(Method::GET, &format!("/recordings/{dispatch}"), &Value::Null)
                .await;
            let asked = lane
                .must(Method::DELETE, &format!("/recordings/{dispatch}"), &Value::Null)
                .await;
            prepared.id = asked["erasure_id"].as_str().unwrap().to_owned();
        }
        ("GET", "/recordings/{dispatch_id}/transcript") => {
            call.egress(lane);
            lane.must(Method::POST, &format!("/recordings/{dispatch}/transcript"), &json!({}))
                .await;
        }
        ("GET", "/recordings/{dispatch_id}/shares" | "/recordings/{dispatch_id}/shares/{share_id}")
        | ("DELETE", "/recordings/{dispatch_id}/shares/{share_id}") => {
            call.egress(lane);
            let share = json!({"expires_in": 600});
            let share = lane
                .must(Method::POST, &format!("/recordings/{dispatch}/shares"), &share)
                .await;
            prepared.id = share["id"].as_str().unwrap().to_owned();
        }
        ("GET", "/s/{token}" | "/s/{token}/audio") | ("POST", "/s/{token}") => {
            call.egress(lane);
            let share = match method.as_str() {
                "POST" => json!({"expires_in": 600, "passcode": "correct horse"}),
                _ => json!({"expires_in": 600}),
            };
            let share = lane
                .must(Method::POST, &format!("/recordings/{dispatch}/shares"), &share)
                .await;
            prepared.id = share["token"].as_str().unwrap().to_owned();
        }
        ("GET", "/console/session") => {
            let reply = lane
                .request(&Method::POST, "/console/session")
                .header("Sec-Fetch-Site", "same-origin");
            let cookie = reply.send().await.unwrap().headers()["set-cookie"]
                .to_str()
                .unwrap()
                .to_owned();
            prepared.id = cookie.split(';').next().unwrap().to_owned();
        }
        ("POST", "/recordings/{dispatch_id}/archive") => {
            call.twilio(lane);
            let recording = shared::calls::TwilioRecording {
                status: shared::clients::twilio::RecordingStatus::new("completed"),
                sid: call.sid(),
                start_time: Some(call.began),
                ..Default::default()
            };
            let calls = lane.stack.calls();
            let stored = calls
                .record_twilio_recording(&call.call_sid(), &recording, Some(""), None)
                .await;
            stored.unwrap();
        }
        ("POST", "/api/twilio/transcript") => call.twilio(lane),
        ("GET", "/api/twilio/transcript/{recording_sid}") => {
            call.twilio(lane);
            lane.must(
                Method::POST,
                "/api/twilio/transcript",
                &json!({"recording_sid": call.sid()}),
            )
            .await;
        }
        ("POST" | "GET", "/webhooks/twilio/recording") => call.twilio(lane),
        _ => return None,
    }
    Some(prepared)
}

/// The request for a route.
pub(super) fn request(lane: &Lane, call: &Call, route: &str, prepared: &Prepared) -> RequestBuilder {
    let (method, template, has_slash) = plain(route);
    let path = match template.contains("/recordings/{dispatch_id}/archive") {
        true => template.replace("{dispatch_id}", &call.sid()),
        false => template.replace("{dispatch_id}", &call.dispatch()),
    };
    let mut path = path
        .replace("{recording_sid}", &call.sid())
        .replace("{share_id}", &prepared.id)
        .replace("{token}", &prepared.id)
        .replace("{erasure_id}", &prepared.id);
    path = match template.as_str() {
        "/docs/{file}" => "/docs/swagger-ui.css".to_owned(),
        "/console/assets/{version}/{file}" => prepared.id.clone(),
        "" => "/".to_owned(),
        "/recordings" => format!(
            "{path}{}?interaction_id={}&has_recording=false",
            if has_slash { "/" } else { "" },
            call.interaction()
        ),
        "/reports/daily" => "/reports/daily?from=2026-01-01&to=2026-01-02".to_owned(),
        _ if has_slash => format!("{path}/"),
        _ => path,
    };
    let is_callback = template == "/webhooks/twilio/recording";
    if is_callback && method != Method::POST {
        let query: Vec<_> = call
            .callback()
            .iter()
            .map(|(name, value)| format!("{name}={}", encoded(value)))
            .collect();
        path = format!("{path}?{}", query.join("&"));
    }
    let request = lane.request(&method, &path);
    match (method.as_str(), template.as_str()) {
        ("POST", "/interactions") => request.json(&json!({
            "interaction_id": call.interaction(), "phone": format!("+{}", call.phone()), "start_time": call.began.to_string(), "status": "COMPLETED",
        })),
        ("POST", "/recordings/{dispatch_id}/transcript" | "/recordings/{dispatch_id}/waveform" | "/recordings/{dispatch_id}/archive") => {
            request.json(&json!({}))
        }
        ("POST", "/recordings/{dispatch_id}/shares") => request.json(&json!({"expires_in": 600})),
        ("PATCH", _) => request.json(&json!({"hold": {"reason": "a dispute"}})),
        ("POST", "/erasures") => request.json(&json!({"dispatch_id": call.dispatch()})),
        ("POST", "/api/twilio/transcript") => request.json(&json!({"recording_sid": call.sid()})),
        ("POST", "/s/{token}") => request.form(&[("passcode", "correct horse")]),
        ("POST" | "DELETE", "/console/session") => request.header("Sec-Fetch-Site", "same-origin"),
        ("GET" | "HEAD", "/console/session") => request.header("cookie", &prepared.id),
        ("POST", "/webhooks/livekit") => livekit(request, call),
        (_, "/webhooks/twilio/recording") => twilio(request, call, &method, &path),
        _ => request,
    }
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn livekit(request: RequestBuilder, call: &Call) -> RequestBuilder {
    let body = json!({"event": "egress_ended", "createdAt": call.began.as_second().to_string(), "egressInfo": {
        "egressId": format!("EG_{}", call.number), "roomName": format!("outbound-{}", call.phone()), "status": "EGRESS_COMPLETE",
        "startedAt": format!("{}000000000", call.began.as_second()), "fileResults": [{"filename": call.key(), "size": "5"}],
    }})
    .to_string();
    let hash = BASE64_STANDARD.encode(Sha256::digest(&body));
    let claims = json!({"iss": demo::LIVEKIT_API_KEY, "exp": 4_102_444_800_u64, "sha256": hash});
    let key = EncodingKey::from_secret(demo::LIVEKIT_API_SECRET.as_bytes());
    let token = encode(&Header::default(), &claims, &key).unwrap();
    request
        .header("content-type", "application/webhook+json")
        .header("authorization", token)
        .body(body)
}

fn twilio(request: RequestBuilder, call: &Call, method: &Method, path: &str) -> RequestBuilder {
    let mut sorted = call.callback();
    sorted.sort();
    let text: String = sorted.iter().map(|(name, value)| format!("{name}{value}")).collect();
    let is_post = *method == Method::POST;
    let signed = format!("http://localhost:8000{path}{}", if is_post { &text } else { "" });
    let mut mac = Hmac::<Sha1>::new_from_slice(demo::AUTH_TOKEN.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    let request = request.header(
        "x-twilio-signature",
        BASE64_STANDARD.encode(mac.finalize().into_bytes()),
    );
    match is_post {
        true => request.form(&call.callback()),
        false => request,
    }
}
