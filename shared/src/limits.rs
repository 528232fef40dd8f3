//! Limits of requests per minute, counted in the memory of one instance of a function.

use std::{num::NonZeroU32, ops::Add, sync::OnceLock, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, Reference},
    middleware::StateInformationMiddleware,
    nanos::Nanos,
    state::keyed::HashMapStateStore,
};
use tokio::time::Instant;

use crate::config::{ConfigError, Env};

/// With more names than this, those that are not limited any more are forgotten.
const MANY_NAMES: usize = 10_000;

/// A limit of requests per minute for each name: the id of an API key, or an address. It is a bucket of as many tokens, which fills evenly.
pub struct Limiter(Option<Limited>);

struct Limited {
    policy: &'static str,
    per_minute: NonZeroU32,
    limiter: RateLimiter<String, HashMapStateStore<String>, RuntimeClock, StateInformationMiddleware>,
}

/// What a limit says of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// The name of the limit.
    pub policy: &'static str,
    /// Requests per minute.
    pub per_minute: u32,
    /// How many more requests are allowed now.
    pub remaining: u32,
    /// When the next request is allowed if none is, or else when all are allowed again.
    pub reset: Duration,
}

/// A request exceeds a limit. The field says when the next one is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {} requests in a minute", .0.per_minute)]
pub struct LimitExceeded(pub Allowance);

/// What a request has counted for a limit. However often the limit is asked, the request counts once.
#[derive(Debug, Default)]
pub struct Counted(OnceLock<Option<Allowance>>);

/// A limit for one request.
#[derive(Clone, Copy)]
pub struct RequestLimit<'a> {
    /// The limit.
    pub limiter: &'a Limiter,
    /// Whose request it is.
    pub name: &'a str,
    /// What the request has counted.
    pub counted: &'a Counted,
}

impl Counted {
    /// What the limit said when the request counted for it.
    pub fn allowance(&self) -> Option<Allowance> {
        self.0.get().copied().flatten()
    }
}

impl RequestLimit<'_> {
    /// Counts the request, unless it has counted already.
    pub fn take(&self) -> Result<(), LimitExceeded> {
        if self.counted.0.get().is_none() {
            let allowance = self.limiter.take(self.name)?;
            // Another part of the same request can have counted meanwhile.
            let _ = self.counted.0.set(allowance);
        }
        Ok(())
    }
}

impl Limiter {
    /// A limit with this name of this many requests per minute; 0 is no limit.
    pub fn per_minute(policy: &'static str, requests: u32) -> Self {
        Self(NonZeroU32::new(requests).map(|per_minute| Limited {
            policy,
            per_minute,
            limiter: RateLimiter::new(
                Quota::per_minute(per_minute),
                HashMapStateStore::default(),
                RuntimeClock(Instant::now()),
            ),
        }))
    }

    /// The limit in the variable `name`, or else `default`.
    pub fn from_env(env: &Env, name: &'static str, policy: &'static str, default: u32) -> Result<Self, ConfigError> {
        let expected = "a number of requests per minute, or 0 for no limit";
        let requests = match env.optional(name) {
            None => default,
            Some(text) => text.parse().map_err(|_| ConfigError::Invalid { name, expected })?,
        };
        Ok(Self::per_minute(policy, requests))
    }

    /// Counts a request of `name`; `None` if there is no limit.
    pub fn take(&self, name: &str) -> Result<Option<Allowance>, LimitExceeded> {
        let Some(limited) = &self.0 else { return Ok(None) };
        if limited.limiter.len() > MANY_NAMES {
            limited.limiter.retain_recent();
        }
        let (policy, per_minute) = (limited.policy, limited.per_minute.get());
        match limited.limiter.check_key(&name.to_owned()) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let reset = match remaining {
                    0 => limited.interval(),
                    remaining => limited.interval() * per_minute.saturating_sub(remaining),
                };
                Ok(Some(Allowance {
                    policy,
                    per_minute,
                    remaining,
                    reset,
                }))
            }
            Err(refused) => Err(LimitExceeded(Allowance {
                policy,
                per_minute,
                remaining: 0,
                reset: refused.wait_time_from(limited.limiter.clock().now()),
            })),
        }
    }
}

impl Limited {
    /// The time in which one more request is allowed.
    fn interval(&self) -> Duration {
        Duration::from_secs(60) / self.per_minute.get()
    }
}

/// The clock of the Tokio runtime, which tests can advance: the time since it was created.
#[derive(Clone)]
struct RuntimeClock(Instant);

impl Clock for RuntimeClock {
    type Instant = Elapsed;

    fn now(&self) -> Elapsed {
        Elapsed(self.0.elapsed().into())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Elapsed(Nanos);

impl Add<Nanos> for Elapsed {
    type Output = Self;

    fn add(self, time: Nanos) -> Self {
        Self(self.0 + time)
    }
}

impl Reference for Elapsed {
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.saturating_sub(earlier.0)
    }

    fn saturating_sub(&self, time: Nanos) -> Self {
        Self(self.0.saturating_sub(time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_minute_has_this_many_requests_of_each_name_and_the_refusal_says_when_the_next_is_allowed() {
        let limiter = Limiter::per_minute("key", 3);
        let remaining = |name| limiter.take(name).map(|allowance| allowance.unwrap().remaining);
        let reset = |name| limiter.take(name).unwrap().unwrap().reset.as_secs();
        assert_eq!(
            [reset("c"), reset("c"), reset("c")],
            [20, 40, 20],
            "until all are allowed, or the next one"
        );
        assert_eq!([remaining("a"), remaining("a"), remaining("a")], [Ok(2), Ok(1), Ok(0)]);
        let refused = limiter.take("a").unwrap_err().0;
        assert_eq!((refused.remaining, refused.reset), (0, Duration::from_secs(20)));
        assert_eq!(remaining("b"), Ok(2));
        tokio::time::advance(refused.reset).await;
        assert_eq!(remaining("a"), Ok(0));
        assert!(remaining("a").is_err());
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(remaining("a"), Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn zero_is_no_limit_and_names_that_are_not_limited_are_forgotten() {
        let unlimited = Limiter::per_minute("key", 0);
        assert!((0..1000).all(|_| unlimited.take("a") == Ok(None)));
        let limiter = Limiter::per_minute("key", 60);
        for name in 0..=MANY_NAMES {
            limiter.take(&name.to_string()).unwrap();
        }
        tokio::time::advance(Duration::from_secs(2)).await;
        limiter.take("last").unwrap();
        assert_eq!(limiter.0.unwrap().limiter.len(), 1);
    }
}
