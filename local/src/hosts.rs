//! Refuses requests that a web page in the developer's browser could make to this machine's ports.
//!
//! A page whose domain name resolves to 127.0.0.1 (DNS rebinding) sends requests with its own name in `Host`. Any other page can send a `POST`
//! across origins without asking first, and the embedded AWS accepts well-known credentials.

use std::net::IpAddr;

use axum::{
    Json, Router,
    extract::Request,
    http::{HeaderMap, Method, StatusCode, Uri, header, uri::Authority},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
};
use serde_json::json;

/// The name of this machine inside containers.
const CONTAINER_HOST: &str = "host.docker.internal";

/// The host names for which requests are accepted, besides `localhost` and the loopback addresses.
#[derive(Debug, Clone)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// These names are accepted, too, in any case and without a port.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let names = names.into_iter().map(str::to_ascii_lowercase);
        Self(names.chain([CONTAINER_HOST.to_owned()]).collect())
    }

    /// The router, which answers 403 to requests for other hosts.
    pub fn guard(self, router: Router) -> Router {
        router.layer(from_fn(move |request: Request, next: Next| {
            let refused = self.refusal(request.uri(), request.headers());
            async move {
                match refused {
                    Some(refused) => refused,
                    None => next.run(request).await,
                }
            }
        }))
    }

    /// The same, and 403 to whatever a web page sends except for reading.
    pub fn guard_aws(self, router: Router) -> Router {
        let only_reads = from_fn(async |request: Request, next: Next| {
            match request.headers().contains_key(header::ORIGIN) && !reads(request.method(), request.headers()) {
                true => forbidden("Web pages can only read objects of the embedded AWS.".to_owned()),
                false => next.run(request).await,
            }
        });
        self.guard(router.layer(only_reads))
    }

    fn refusal(&self, uri: &Uri, headers: &HeaderMap) -> Option<Response> {
        let stated = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        // A `Host` header that is no host is answered by the server behind.
        let authority: Authority = uri.authority().map(Authority::as_str).or(stated)?.parse().ok()?;
        (!self.allows(authority.host())).then(|| {
            forbidden(format!(
                "This server accepts requests for localhost only, not for {:?}. Allow the name with --allow-host.",
                authority.host()
            ))
        })
    }

    fn allows(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "localhost"
            || host.ends_with(".localhost")
            || address.is_ok_and(|address| address.to_canonical().is_loopback())
            || self.0.contains(&host)
    }
}

/// Whether a request reads, or asks whether a page may read.
fn reads(method: &Method, headers: &HeaderMap) -> bool {
    let asked = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD);
    let method = match (method, asked) {
        (&Method::OPTIONS, Some(asked)) => asked.as_bytes(),
        _ => method.as_str().as_bytes(),
    };
    [b"GET".as_slice(), b"HEAD", b"OPTIONS"].contains(&method)
}

fn forbidden(message: String) -> Response {
    (StatusCode::FORBIDDEN, Json(json!({ "message": message }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_names_in_any_spelling_are_accepted_and_names_that_contain_them_are_not() {
        let hosts = Hosts::new(["Calls.Example.ORG"]);
        for own in [
            "localhost",
            "LOCALHOST",
            "localhost.",
            "recordings.localhost",
            "127.0.0.1",
            "127.1.2.3",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "host.docker.internal",
            "calls.example.org",
        ] {
            assert!(hosts.allows(own), "{own}");
        }
        for foreign in [
            "",
            "evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "127.0.0.1.evil.example",
            "192.168.1.5",
            "0.0.0.0",
            "[::]",
            "example.org",
        ] {
            assert!(!hosts.allows(foreign), "{foreign}");
        }
    }
}
