//! Retries with jitter that honour `Retry-After` and stop before a deadline.

use std::time::Duration;

use tokio::time::Instant;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(3);

/// What an error says about trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Another try would fail the same way.
    Never,
    /// Another try may succeed, not before the given time has passed.
    After(Option<Duration>),
}

/// An error that knows whether another try can help.
pub trait Classify {
    /// Whether, and how soon, to try again.
    fn retry(&self) -> Retry;
}

/// Calls `operation` up to `attempts` times. Gives up early, with the last error, when the next try would start after `deadline`.
pub async fn with_retries<T, E: Classify, F: Future<Output = Result<T, E>>>(
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
        let delay = asked.unwrap_or_else(|| backoff(attempt));
        if attempt >= attempts || delay >= deadline.saturating_duration_since(Instant::now()) {
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

/// Reads a `Retry-After` header given in seconds. The HTTP-date form is not used by the services called here and is ignored.
pub fn retry_after(headers: &reqwest::header::HeaderMap) -> Option<Duration> {
    let seconds: f64 = headers
        .get(reqwest::header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Duration::try_from_secs_f64(seconds).ok()
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

    async fn tries_until(deadline: Duration, attempts: u32, retry: Retry) -> (u32, Duration) {
        let (start, mut tries) = (Instant::now(), 0);
        let result: Result<(), _> = with_retries(attempts, start + deadline, || {
            tries += 1;
            async move { Err(Failure(retry)) }
        })
        .await;
        assert_eq!(result, Err(Failure(retry)));
        (tries, start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_final_error_is_not_retried() {
        assert_eq!(tries_until(Duration::from_secs(60), 5, Retry::Never).await.0, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_is_waited_out() {
        let (tries, waited) = tries_until(Duration::from_secs(60), 3, Retry::After(Some(Duration::from_secs(7)))).await;
        assert_eq!((tries, waited.as_secs()), (3, 14));
    }

    #[tokio::test(start_paused = true)]
    async fn no_try_starts_after_the_deadline() {
        let (tries, waited) = tries_until(Duration::from_secs(10), 9, Retry::After(Some(Duration::from_secs(7)))).await;
        assert_eq!((tries, waited.as_secs()), (2, 7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_beyond_all_time_ends_the_tries() {
        let (tries, waited) = tries_until(Duration::from_secs(10), 9, Retry::After(Some(Duration::MAX))).await;
        assert_eq!((tries, waited), (1, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_hint_the_delay_doubles_up_to_three_seconds() {
        for (attempt, most) in [(1, 100), (2, 200), (5, 1600), (6, 3000), (30, 3000)] {
            let delay = backoff(attempt).as_millis();
            assert!(delay <= most && delay >= most * 3 / 4, "attempt {attempt}: {delay} ms");
        }
    }
}
