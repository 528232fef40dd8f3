//! Converts an HTTP request to an API Gateway HTTP API event, payload format 2.0:
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>

use std::net::{IpAddr, Ipv4Addr};

use base64::{Engine, engine::general_purpose::STANDARD};
use lambda_http::http::{HeaderMap, header, request::Parts, uri::Authority};
use serde_json::{Map, Value, json};

use super::route::Target;

/// The event, or `None` if the `Host` header does not form a URL, which API Gateway rejects before it invokes a function.
pub(super) fn build(
    parts: &Parts,
    body: &[u8],
    target: &Target<'_>,
    request_id: &str,
    source: Option<IpAddr>,
) -> Option<Value> {
    let path = parts.uri.path();
    let query = parts.uri.query().unwrap_or_default();
    let source = source.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)).to_string();
    let now = jiff::Timestamp::now();

    let mut headers = joined(&parts.headers);
    let host = headers
        .entry("host")
        .or_insert_with(|| "localhost".into())
        .as_str()?
        .to_owned();
    host.parse::<Authority>().ok()?;
    reqwest::Url::parse(&format!("http://{host}{path}")).ok()?;
    let cookies = headers.remove("cookie");
    headers.insert(
        "x-forwarded-for".to_owned(),
        forwarded_for(&parts.headers, &source).into(),
    );
    headers.insert("x-forwarded-proto".to_owned(), "http".into());

    let mut event = json!({
        "version": "2.0",
        "routeKey": target.route.key(),
        "rawPath": path,
        "rawQueryString": query,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "local",
            "domainName": host,
            "domainPrefix": host.split('.').next(),
            "http": {
                "method": parts.method.as_str(),
                "path": path,
                "protocol": format!("{:?}", parts.version),
                "sourceIp": source,
                "userAgent": headers.get("user-agent").unwrap_or(&Value::Null),
            },
            "requestId": request_id,
            "routeKey": target.route.key(),
            "stage": "$default",
            "time": now.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
            "timeEpoch": now.as_millisecond(),
        },
        "headers": headers,
        "isBase64Encoded": false,
    });
    if let Some(cookies) = cookies.as_ref().and_then(Value::as_str) {
        event["cookies"] = cookies
            .split(';')
            .map(str::trim)
            .filter(|cookie| !cookie.is_empty())
            .collect();
    }
    let parameters = query_parameters(query);
    if !parameters.is_empty() {
        event["queryStringParameters"] = parameters.into();
    }
    if !target.variables.is_empty() {
        event["pathParameters"] = target.variables.iter().copied().collect();
    }
    if !body.is_empty() {
        match text(&parts.headers, body) {
            Some(text) => event["body"] = text.into(),
            None => {
                event["body"] = STANDARD.encode(body).into();
                event["isBase64Encoded"] = true.into();
            }
        }
    }
    Some(event)
}

/// Header names in lower case, with the values of a repeated header joined by commas. Bytes that are not UTF-8 become U+FFFD, because the event
/// is JSON.
fn joined(headers: &HeaderMap) -> Map<String, Value> {
    let values = |name| {
        headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
    };
    headers
        .keys()
        .map(|name| {
            let separator = if name == header::COOKIE { "; " } else { "," };
            (
                name.as_str().to_owned(),
                values(name).collect::<Vec<_>>().join(separator).into(),
            )
        })
        .collect()
}

/// The caller's `X-Forwarded-For`, if any, followed by the caller's address.
fn forwarded_for(headers: &HeaderMap, source: &str) -> String {
    let claimed = headers
        .get_all("x-forwarded-for")
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()));
    claimed.chain([source.into()]).collect::<Vec<_>>().join(", ")
}

/// The decoded parameters, with the values of a repeated parameter joined by commas.
fn query_parameters(query: &str) -> Map<String, Value> {
    let mut parameters = Map::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match parameters.get_mut(name.as_ref()) {
            Some(Value::String(values)) => {
                values.push(',');
                values.push_str(&value);
            }
            _ => {
                parameters.insert(name.into_owned(), value.into());
            }
        }
    }
    parameters
}

/// The body as text for textual content types; `None` if it is sent as base64.
fn text<'a>(headers: &HeaderMap, body: &'a [u8]) -> Option<&'a str> {
    let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let media_type = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let textual = media_type.starts_with("text/")
        || matches!(
            media_type.as_str(),
            "application/json" | "application/xml" | "application/javascript"
        )
        || media_type.ends_with("+json")
        || media_type.ends_with("+xml");
    if !textual || headers.contains_key(header::CONTENT_ENCODING) {
        return None;
    }
    std::str::from_utf8(body).ok()
}
