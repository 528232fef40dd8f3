//! Root certificates of the HTTP clients.
//!
//! Reading the system's certificates takes longer than the rest of a function's start. Twilio, OpenAI and Azure are public hosts, for which
//! Mozilla's roots are compiled in. A host of one's own may have a certificate that only the system trusts.

use std::sync::Arc;

use reqwest::{Client, ClientBuilder, Url};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

use crate::config::ConfigError;

/// Domains whose servers have certificates of public authorities.
const PUBLIC: [&str; 3] = ["twilio.com", "openai.com", "openai.azure.com"];

/// The builder of a client that only sends requests to `base`, or to public hosts by redirect.
pub(super) fn client_builder(base: &Url) -> Result<ClientBuilder, ConfigError> {
    match base.scheme() == "http" || is_public(base) {
        true => with_public_roots(),
        false => Ok(Client::builder()),
    }
}

/// The builder of a client that trusts the public authorities.
pub(super) fn with_public_roots() -> Result<ClientBuilder, ConfigError> {
    let roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ConfigError::HttpClient(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Client::builder().tls_backend_preconfigured(config))
}

fn is_public(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    PUBLIC.iter().any(|domain| {
        let rest = host.strip_suffix(domain);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_of_public_services_use_the_compiled_in_roots() {
        let url = |text: &str| Url::parse(text).unwrap();
        for public in [
            "https://api.twilio.com",
            "https://api.dublin.ie1.twilio.com",
            "https://api.openai.com/v1",
            "https://mine.openai.azure.com/openai/deployments/whisper",
        ] {
            assert!(is_public(&url(public)), "{public}");
        }
        for own in [
            "https://nottwilio.com",
            "https://twilio.com.example.org",
            "https://whisper.internal",
            "https://10.0.0.7:8443",
        ] {
            assert!(!is_public(&url(own)), "{own}");
        }
    }

    #[test]
    fn both_kinds_of_clients_are_built() {
        for base in [
            "https://api.openai.com/v1",
            "https://whisper.internal",
            "http://localhost:9000",
        ] {
            client_builder(&Url::parse(base).unwrap()).unwrap().build().unwrap();
        }
    }
}
