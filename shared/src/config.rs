//! Environment variables, read once when a function starts. ARCHITECTURE.md lists all of them.

use std::collections::HashMap;

/// A function's environment variables. They include AWS keys, so the type implements neither `Debug` nor `Display`.
#[derive(Clone)]
pub struct Env(HashMap<String, String>);

/// A required variable is missing or has an unusable value; the message names the variable.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The variable is absent or empty.
    #[error("the environment variable {0} is required")]
    Missing(&'static str),
    /// The variable has a value that can't be used.
    #[error("the environment variable {name} must be {expected}")]
    Invalid {
        /// The variable's name.
        name: &'static str,
        /// Which values are accepted.
        expected: &'static str,
    },
    /// The HTTP client could not be created, for example because no root certificates are installed.
    #[error("the HTTP client could not be created: {0}")]
    HttpClient(String),
}

impl Env {
    /// The variables of this process, without those that are not UTF-8.
    pub fn process() -> Self {
        Self(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
        )
    }

    /// All variables with their values, to pass on to a child process.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The variable's value. An empty variable counts as absent, because template.yaml passes optional parameters with an empty default.
    pub fn optional(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The variable's value, or an error that names it.
    pub fn required(&self, name: &'static str) -> Result<&str, ConfigError> {
        self.optional(name).ok_or(ConfigError::Missing(name))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self(
            variables
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_counts_as_absent_and_the_error_names_it() {
        let env = Env::from_iter([("CALLS_TABLE", "")]);
        assert_eq!(env.optional("CALLS_TABLE"), None);
        let error = env.required("CALLS_TABLE").unwrap_err();
        assert_eq!(error.to_string(), "the environment variable CALLS_TABLE is required");
    }
}
