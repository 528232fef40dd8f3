use std::time::Duration;

use axum::{Router, body::Bytes};

use super::{Fault, FaultProxy, Kind, Moment};
use crate::serve::{Reach, bind};

const PATH: &str = "/v1/audio/transcriptions";

/// A proxy of a server that echoes bodies, and its URL.
async fn proxy() -> (FaultProxy, String) {
    let proxy = FaultProxy::new(Router::new().fallback(async |body: Bytes| body));
    let listener = bind(0, Reach::Machine).await.unwrap();
    let url = format!("{}{PATH}", listener.url());
    tokio::spawn(proxy.clone().serve(listener));
    (proxy, url)
}

async fn answer(url: &str) -> Result<(u16, String), reqwest::Error> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(1))
        .build()
        .unwrap();
    let response = client.post(url).body("hello ".repeat(100)).send().await?;
    let status = response.status().as_u16();
    Ok((status, response.text().await?))
}

#[tokio::test]
async fn without_a_fault_the_upstream_answers() {
    let (proxy, url) = proxy().await;
    assert_eq!(answer(&url).await.unwrap(), (200, "hello ".repeat(100)));
    let log = proxy.take_log();
    assert_eq!((log.len(), log[0].delivered), (1, true));
}

#[tokio::test]
async fn a_broken_slow_or_endless_answer_is_an_error_and_the_next_one_is_whole() {
    for kind in [Kind::Reset, Kind::Truncated, Kind::SlowDrip, Kind::Endless] {
        for moment in [Moment::Before, Moment::After] {
            let (proxy, url) = proxy().await;
            proxy.inject(move |_| Some(Fault { kind, moment }));
            assert!(answer(&url).await.is_err(), "{kind:?}");
            proxy.clear();
            assert_eq!(answer(&url).await.unwrap().0, 200, "{kind:?}");
            assert!(proxy.take_log().last().unwrap().delivered);
        }
    }
}

#[tokio::test]
async fn a_refusal_has_the_form_of_its_upstream() {
    let (proxy, url) = proxy().await;
    let moment = Moment::Before;
    for (kind, status, text) in [
        (Kind::Throttled { retry_after: Some(7) }, 429, "rate_limit_exceeded"),
        (Kind::ServerError, 500, "server_error"),
    ] {
        proxy.inject(move |_| Some(Fault { kind, moment }));
        let (refused, body) = answer(&url).await.unwrap();
        assert_eq!(refused, status);
        assert!(body.contains(text), "{body}");
    }
}
