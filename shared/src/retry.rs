//! Retries with jitter that honor `Retry-After` and stop before a deadline.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use jiff::{Timestamp, fmt::rfc2822};

use tokio::time::Instant;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(3);

/// Whether an operation that failed is worth retrying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// A retry would fail the same way.
    Never,
    /// A retry may succeed, but not before the given time has passed, if there is one.
    After(Option<Duration>),
}

/// An error that knows whether a retry can help.
pub trait Classify {
    /// Whether and when to retry.
    fn retry(&self) -> Retry;
}

/// The number of retries that all calls of one job may still make together.
#[derive(Debug)]
pub struct RetryBudget(AtomicU32);

impl RetryBudget {
    /// A budget of this many retries.
    pub fn new(retries: u32) -> Self {
        Self(AtomicU32::new(retries))
    }

    fn take(&self) -> bool {
        let less = |left: u32| left.checked_sub(1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

/// Calls `operation` up to `attempts` times. Returns the last error early if the next attempt would start after `deadline`.
pub async fn with_retries<T, E: Classify, F: Future<Output = Result<T, E>>>(
    attempts: u32,
    deadline: Instant,
    operation: impl FnMut() -> F,
) -> Result<T, E> {
    with_budget(&RetryBudget::new(u32::MAX), attempts, deadline, operation).await
}

/// Like [`with_retries`], but also stops when the budget is used up.
pub async fn with_budget<T, E: Classify, F: Future<Output = Result<T, E>>>(
    budget: &RetryBudget,
    attempts: u32,
    deadline: Instant,
    mut operation: impl FnMut() -> F,
) -> Result<T, E> {
    let mut attempt = 1;
    loop {
        let error = match operation().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let Retry::After(asked) = error.retry() else {
            return Err(error);
        };
        // Jitter, because many clients may have received the same Retry-After.
        let delay = match asked {
            Some(asked) => asked.saturating_add(Duration::from_millis(fastrand::u64(
                ..=asked.as_millis().min(1000) as u64,
            ))),
            None => backoff(attempt),
        };
        let too_late = delay >= deadline.saturating_duration_since(Instant::now());
        if attempt >= attempts || too_late || !budget.take() {
            return Err(error);
        }
        tokio::time::sleep(delay).await;
        attempt += 1;
    }
}

/// Exponential backoff with jitter before retry number `attempt` (from 1): 75 to 100 % of 100 ms doubled each time, 3 s at most.
pub fn backoff(attempt: u32) -> Duration {
    let ceiling = FIRST_DELAY
        .saturating_mul(1 << attempt.saturating_sub(1).min(10))
        .min(LONGEST_DELAY);
    ceiling.mul_f64(0.75 + 0.25 * fastrand::f64())
}

/// The wait that a response asks for: `retry-after-ms`, or `Retry-After` in seconds or as a date. A date in the past means no wait.
pub fn retry_after(headers: &reqwest::header::HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let parsed = |text: &str, unit: f64| Duration::try_from_secs_f64(text.parse::<f64>().ok()? * unit).ok();
    if let Some(wait) = text("retry-after-ms").and_then(|text| parsed(text, 1e-3)) {
        return Some(wait);
    }
    let text = text("retry-after")?;
    parsed(text, 1.0).or_else(|| {
        let date = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        Some(Duration::try_from(date.duration_since(Timestamp::now())).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Failure(Retry);
    impl Classify for Failure {
        fn retry(&self) -> Retry {
            self.0
        }
    }

    async fn attempts_until(deadline: Duration, attempts: u32, retry: Retry) -> (u32, Duration) {
        let (start, mut tries) = (Instant::now(), 0);
        let result: Result<(), _> = with_retries(attempts, start + deadline, || {
            tries += 1;
            async move { Err(Failure(retry)) }
        })
        .await;
        assert_eq!(result, Err(Failure(retry)));
        (tries, Instant::now().duration_since(start))
    }

    #[tokio::test(start_paused = true)]
    async fn a_final_error_is_not_retried() {
        assert_eq!(attempts_until(Duration::from_secs(60), 5, Retry::Never).await.0, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_retry_waits_as_long_as_retry_after_asks() {
        let (tries, waited) =
            attempts_until(Duration::from_secs(60), 3, Retry::After(Some(Duration::from_secs(7)))).await;
        assert_eq!(tries, 3);
        assert!((14..=16).contains(&waited.as_secs()), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn no_attempt_starts_after_the_deadline() {
        let (tries, waited) =
            attempts_until(Duration::from_secs(10), 9, Retry::After(Some(Duration::from_secs(7)))).await;
        assert_eq!(tries, 2);
        assert!((7..=8).contains(&waited.as_secs()), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_enormous_retry_after_ends_the_retries() {
        let (tries, waited) = attempts_until(Duration::from_secs(10), 9, Retry::After(Some(Duration::MAX))).await;
        assert_eq!((tries, waited), (1, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn calls_of_one_job_share_its_retry_budget() {
        let (budget, mut tries) = (RetryBudget::new(3), 0);
        for _ in 0..5 {
            let result: Result<(), _> = with_budget(&budget, 3, Instant::now() + Duration::from_secs(60), || {
                tries += 1;
                async { Err(Failure(Retry::After(None))) }
            })
            .await;
            assert!(result.is_err());
        }
        assert_eq!(tries, 5 + 3);
    }

    #[test]
    fn every_form_of_retry_after_is_parsed() {
        let read = |name: &'static str, value: &str| {
            let headers = [(name.parse().unwrap(), value.parse().unwrap())].into_iter().collect();
            retry_after(&headers)
        };
        assert_eq!(read("retry-after", "7"), Some(Duration::from_secs(7)));
        assert_eq!(read("retry-after", " 0.5 "), Some(Duration::from_millis(500)));
        assert_eq!(read("retry-after-ms", "250"), Some(Duration::from_millis(250)));
        assert_eq!(
            read("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT"),
            Some(Duration::ZERO)
        );
        let years = read("retry-after", "Tue, 31 Dec 2999 23:59:59 GMT").unwrap();
        assert!(years > Duration::from_secs(900 * 365 * 24 * 3600));
        for junk in ["", "soon", "-1", "NaN"] {
            assert_eq!(read("retry-after", junk), None, "{junk}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_hint_the_delay_doubles_up_to_three_seconds() {
        for (attempt, most) in [(1, 100), (2, 200), (5, 1600), (6, 3000), (30, 3000)] {
            let delay = backoff(attempt).as_millis();
            assert!(delay <= most && delay >= most * 3 / 4, "attempt {attempt}: {delay} ms");
        }
    }
}
