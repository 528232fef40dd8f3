//! The URL of the endpoint, derived from the configured base URL.

use reqwest::Url;

/// The format of `WHISPER_BASE_URL`, for error messages.
pub(super) const EXPECTED: &str = "an http or https URL with a host and without a user name or fragment, such as https://api.openai.com/v1 or \
                                   https://NAME.openai.azure.com/openai/deployments/whisper?api-version=2024-06-01";

/// The URL of `audio/transcriptions` below the base URL; `None` if the base URL is invalid.
///
/// If the base URL ends in a version (`/v1`), a deployment (Azure), or the name of the service, the endpoint is directly below it, and otherwise
/// below `/v1`. A query string is preserved, and the URL of the endpoint itself is used unchanged.
pub(super) fn endpoint(base: &str) -> Option<Url> {
    let mut url = Url::parse(base.trim()).ok()?;
    let usable = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none();
    if !usable {
        return None;
    }
    let path = url.path().trim_end_matches('/').to_owned();
    let mut segments = path.split('/').skip(1);
    let is_version = |segment: &str| {
        let digits = segment.strip_prefix('v').unwrap_or_default();
        !digits.is_empty() && digits.starts_with(|first: char| first.is_ascii_digit())
    };
    let path = if path.ends_with("/audio/transcriptions") || path.ends_with("/inference") {
        path
    } else if segments.any(|segment| is_version(segment) || segment == "deployments") {
        format!("{path}/audio/transcriptions")
    } else {
        format!("{path}/v1/audio/transcriptions")
    };
    url.set_path(&path);
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls_of_all_known_servers_lead_to_their_endpoint() {
        for (base, expected) in [
            (
                "https://api.openai.com/v1",
                "https://api.openai.com/v1/audio/transcriptions",
            ),
            (
                "https://api.openai.com/",
                "https://api.openai.com/v1/audio/transcriptions",
            ),
            (
                "https://api.groq.com/openai/v1/",
                "https://api.groq.com/openai/v1/audio/transcriptions",
            ),
            (
                "http://localhost:8080/v1/audio/transcriptions",
                "http://localhost:8080/v1/audio/transcriptions",
            ),
            (
                "https://n.openai.azure.com/openai/deployments/whisper?api-version=2024-06-01",
                "https://n.openai.azure.com/openai/deployments/whisper/audio/transcriptions?api-version=2024-06-01",
            ),
            (
                "https://n.openai.azure.com/openai/v1/?api-version=preview",
                "https://n.openai.azure.com/openai/v1/audio/transcriptions?api-version=preview",
            ),
            (
                "https://n.openai.azure.com/openai/deployments/whisper/audio/transcriptions?api-version=2024-06-01",
                "https://n.openai.azure.com/openai/deployments/whisper/audio/transcriptions?api-version=2024-06-01",
            ),
            (
                "https://api.deepinfra.com/v1/openai",
                "https://api.deepinfra.com/v1/openai/audio/transcriptions",
            ),
            ("http://whisper:8080/inference", "http://whisper:8080/inference"),
            ("http://litellm:4000", "http://litellm:4000/v1/audio/transcriptions"),
            (
                "https://example.com/speech?key=1",
                "https://example.com/speech/v1/audio/transcriptions?key=1",
            ),
        ] {
            assert_eq!(endpoint(base).unwrap().as_str(), expected);
        }
    }

    #[test]
    fn a_base_url_that_can_not_be_used_is_refused() {
        for base in [
            "",
            "ftp://example.com",
            "api.openai.com",
            "localhost:8080/v1",
            "https://",
            "https://user:password@example.com/v1",
            "https://example.com/v1#part",
            "file:///v1",
        ] {
            assert!(endpoint(base).is_none(), "{base}");
        }
    }
}
