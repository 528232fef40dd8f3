//! HTML pages for people without an API key.

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::STANDARD};
use lambda_http::http::{HeaderName, HeaderValue, StatusCode, header};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::reply::Reply;

const STYLE: &str = include_str!("page.css");
static STYLE_SOURCE: LazyLock<String> = LazyLock::new(|| source_of(STYLE));
const ROBOTS: HeaderName = HeaderName::from_static("x-robots-tag");

/// A page. Its policy allows its own style, and only the script and the media that are set here.
pub struct Page {
    status: StatusCode,
    title: &'static str,
    content: Markup,
    script: Option<&'static str>,
    media_origin: Option<String>,
}

impl Page {
    /// A page with this status, title and content.
    pub fn new(status: StatusCode, title: &'static str, content: Markup) -> Self {
        Self {
            status,
            title,
            content,
            script: None,
            media_origin: None,
        }
    }

    /// Adds a script.
    pub fn script(mut self, script: &'static str) -> Self {
        self.script = Some(script);
        self
    }

    /// Allows media of this origin, besides the page's own.
    pub fn media_of(mut self, origin: &str) -> Self {
        self.media_origin = Some(origin.to_owned());
        self
    }

    fn policy(&self) -> String {
        let mut policy = format!(
            "default-src 'none'; style-src {}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            *STYLE_SOURCE
        );
        if let Some(script) = self.script {
            policy.push_str(&format!("; script-src {}", source_of(script)));
        }
        if let Some(origin) = &self.media_origin {
            policy.push_str(&format!("; media-src 'self' {origin}"));
        }
        policy
    }
}

impl From<Page> for Reply {
    fn from(page: Page) -> Self {
        let policy = page.policy();
        let document = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="robots" content="noindex, nofollow";
                    meta name="referrer" content="no-referrer";
                    title { (page.title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    main { (page.content) }
                    @if let Some(script) = page.script { script { (PreEscaped(script)) } }
                }
            }
        };
        let reply = Reply::page(page.status, document.into_string())
            .header(ROBOTS, HeaderValue::from_static("noindex, nofollow"))
            .header(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"))
            .header(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        match HeaderValue::try_from(policy) {
            Ok(policy) => reply.header(header::CONTENT_SECURITY_POLICY, policy),
            // An origin that is no header value is none of a bucket; without a policy the page must not be shown.
            Err(_) => Reply::page(StatusCode::INTERNAL_SERVER_ERROR, String::new()),
        }
    }
}

/// The page of an error. That of a fault shows the request's id, by which the operator finds the cause, and nothing else.
pub(super) fn error_page(status: StatusCode, message: &str, request_id: &str) -> Reply {
    let content = html! {
        h1 { @if status.is_server_error() { "This does not work right now" } @else { "This can't be shown" } }
        @if status.is_server_error() {
            p { "Please try again in a few minutes." }
            p.small { "Request " (request_id) }
        } @else {
            p { (message) }
        }
    };
    Page::new(status, "Call recording", content).into()
}

/// The source expression of the Content Security Policy that allows exactly this inline text.
fn source_of(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use lambda_http::{Body, Response};

    use super::*;

    #[test]
    fn an_error_is_escaped_and_the_page_allows_nothing_but_its_style() {
        let response = Response::from(error_page(StatusCode::NOT_FOUND, "<script>alert(1)</script>", "id"));
        let Body::Text(html) = response.body() else {
            panic!("no text")
        };
        assert!(html.contains("&lt;script&gt;alert(1)"), "{html}");
        assert!(!html.contains("<script"), "{html}");
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(!policy.contains("script-src"), "{policy}");
        assert_eq!(response.headers()["x-robots-tag"], "noindex, nofollow");
    }
}
