//! How many requests a key or an address may send within a minute to one instance of a function.

use std::net::IpAddr;

use super::scope::Scope;
use crate::{
    calls::Search,
    config::{ConfigError, Env},
    http::{error::ApiError, request::ApiRequest},
    limits::Limiter,
};

/// The limits of keys and addresses.
pub(super) struct Quotas {
    /// Requests of a key.
    keys: Limiter,
    /// Requests of a key that can cost money: transcriptions, and searches in the bucket.
    paid: Limiter,
    /// Requests of an address without a valid key.
    addresses: Limiter,
}

impl Quotas {
    pub(super) fn from_env(env: &Env) -> Result<Self, ConfigError> {
        Ok(Self {
            keys: Limiter::from_env(env, "KEY_REQUESTS_PER_MINUTE", "key", 1200)?,
            paid: Limiter::from_env(env, "KEY_PAID_REQUESTS_PER_MINUTE", "paid", 300)?,
            addresses: Limiter::from_env(env, "ADDRESS_REQUESTS_PER_MINUTE", "address", 1200)?,
        })
    }

    /// Counts a request of this key.
    pub(super) fn count_key(&self, request: &ApiRequest, key_id: &str, scope: Scope) -> Result<(), ApiError> {
        count(request, &self.keys, key_id)?;
        match scope.is_paid(request.method()) {
            true => count(request, &self.paid, key_id),
            false => Ok(()),
        }
    }

    /// Counts a request without a valid key.
    pub(super) fn count_address(&self, request: &ApiRequest) -> Result<(), ApiError> {
        count(
            request,
            &self.addresses,
            &network(request.client_address().unwrap_or_default()),
        )
    }

    /// Where a recording that the index does not know may be searched for this request. Listing the bucket costs money.
    pub(super) fn search<'a>(&'a self, request: &'a ApiRequest) -> Search<'a> {
        match request.key_id() {
            Some(key_id) => Search::BucketWithin(&self.paid, key_id),
            None => Search::Index,
        }
    }
}

/// Who has an address: an IPv4 address by itself, or the network of 64 bits that a provider gives to one customer.
fn network(address: &str) -> String {
    match address.parse() {
        Ok(IpAddr::V6(address)) => hex::encode(&address.octets()[..8]),
        _ => address.to_owned(),
    }
}

fn count(request: &ApiRequest, limiter: &Limiter, name: &str) -> Result<(), ApiError> {
    if let Some(allowance) = limiter.take(name)? {
        request.set_allowance(allowance);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), network("2001:db8:1:2::1"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }
}
