//! The environment contract, read once while a function starts. ARCHITECTURE.md lists every variable.

use std::collections::HashMap;

/// A function's environment variables. Holds AWS keys, so it can't be printed.
#[derive(Clone)]
pub struct Env(HashMap<String, String>);

/// What is wrong with the environment; the message names the variable.
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
        /// What would be accepted.
        expected: &'static str,
    },
    /// An HTTP client could not be made, for example because no root certificates are installed.
    #[error("no HTTP client could be made: {0}")]
    HttpClient(String),
}

impl Env {
    /// The variables of this process; those that are not UTF-8 are left out.
    pub fn process() -> Self {
        Self(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
        )
    }

    /// All variables with their values, for a process that is to have them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The variable's value; `None` when it is absent or empty, since CloudFormation can declare a variable but not leave it out.
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
    fn an_empty_variable_is_an_absent_one_and_the_error_names_it() {
        let env = Env::from_iter([("CALLS_TABLE", "")]);
        assert_eq!(env.optional("CALLS_TABLE"), None);
        let error = env.required("CALLS_TABLE").unwrap_err();
        assert_eq!(error.to_string(), "the environment variable CALLS_TABLE is required");
    }
}
