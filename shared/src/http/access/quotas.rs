//! How many requests a key or an address may send within a minute to one instance of a function.

use std::net::IpAddr;

use super::scope::Scope;
use crate::{
    calls::Search,
    config::{ConfigError, Env},
    http::{error::ApiError, request::ApiRequest},
    limits::{Limiter, RequestLimit},
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
    pub(super) fn count_key(&self, request: &ApiRequest, key_id: &str) -> Result<(), ApiError> {
        count(request, &self.keys, key_id)
    }

    /// Counts a request of this key that costs money, if it needs this scope for that.
    pub(super) fn count_paid(&self, request: &ApiRequest, key_id: &str, scope: Scope) -> Result<(), ApiError> {
        match scope.is_paid(request.method()) {
            true => Ok(self.paid(request, key_id).take()?),
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

    /// Where a recording that the index does not have may be searched for this request. Listing the bucket costs money.
    pub(super) fn search<'a>(&'a self, request: &'a ApiRequest) -> Search<'a> {
        match request.key_id() {
            Some(key_id) => Search::BucketWithin(self.paid(request, key_id)),
            None => Search::Index,
        }
    }

    fn paid<'a>(&'a self, request: &'a ApiRequest, key_id: &'a str) -> RequestLimit<'a> {
        RequestLimit {
            limiter: &self.paid,
            name: key_id,
            counted: request.paid(),
        }
    }
}

/// Who has an address: an IPv4 address by itself, or the network of 64 bits that a provider gives to one customer.
fn network(address: &str) -> String {
    match address.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V6(address)) => hex::encode(&address.octets()[..8]),
        Ok(IpAddr::V4(address)) => address.to_string(),
        Err(_) => address.to_owned(),
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

    #[test]
    fn an_ipv4_address_is_the_same_in_both_spellings_of_its_ipv6_form() {
        for mapped in ["::ffff:192.0.2.1", "::ffff:c000:201"] {
            assert_eq!(network(mapped), network("192.0.2.1"), "{mapped}");
        }
        assert_ne!(network("::ffff:192.0.2.1"), network("::ffff:192.0.2.2"));
    }
}
