//! Settings are read once, in main, and all their faults are reported at once.

pub mod catalogue;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::str::FromStr;

/// A value that never appears in logs or debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// Returns the value. The caller is responsible for keeping it secret.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// All faults of the settings.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .faults.join("; "))]
pub struct ConfigError {
    /// One sentence per fault, which names the setting.
    pub faults: Vec<String>,
}

/// Reads settings from a set of variables and collects faults.
///
/// An empty value counts as absent, as in the shell's `NAME= command`.
#[derive(Clone, Debug)]
pub struct Settings {
    values: BTreeMap<String, String>,
    faults: Vec<String>,
}

impl Settings {
    /// The environment of the process.
    pub fn from_env() -> Self {
        // Any variable may hold what is no UTF-8, and must not stop a program that does not read it.
        let lossy = |text: OsString| text.to_string_lossy().into_owned();
        Self::from_pairs(std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))))
    }

    pub fn from_pairs<K: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let values = pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        Self { values, faults: Vec::new() }
    }

    /// Sets `name`, overriding the environment. Flags take precedence over variables this way.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.values.insert(name.to_owned(), value.into());
        self
    }

    /// The text of `name`, if it is set.
    pub fn text(&self, name: &str) -> Option<&str> {
        debug_assert!(catalogue::contains(name), "{name} is missing in the settings catalogue");
        self.values.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether `name` has an empty value, which counts as absent.
    pub fn has_empty(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(String::is_empty)
    }

    /// The names of all settings that are set.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| name.as_str())
    }

    /// The setting, or `default` if absent. A value that does not parse is a fault.
    pub fn or<T: FromStr>(&mut self, name: &str, default: T) -> T
    where
        T::Err: fmt::Display,
    {
        self.optional(name).unwrap_or(default)
    }

    pub fn optional<T: FromStr>(&mut self, name: &str) -> Option<T>
    where
        T::Err: fmt::Display,
    {
        let text = self.text(name)?.to_owned();
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.faults.push(format!("{name} is wrong: {error}"));
                None
            }
        }
    }

    /// The setting. If absent, notes a fault and returns `T::default()`, which [`Settings::finish`]
    /// keeps from being used.
    pub fn required<T: FromStr + Default>(&mut self, name: &str) -> T
    where
        T::Err: fmt::Display,
    {
        if self.text(name).is_none() {
            self.faults.push(format!("{name} is not set"));
        }
        self.optional(name).unwrap_or_default()
    }

    /// One of `choices`; the first if the setting is absent.
    pub fn one_of<const N: usize>(
        &mut self,
        name: &str,
        choices: [&'static str; N],
    ) -> &'static str {
        let Some(text) = self.text(name) else { return choices[0] };
        let chosen = choices.into_iter().find(|choice| *choice == text);
        if chosen.is_none() {
            self.fault(format!("{name} is wrong: must be one of {}", choices.join(", ")));
        }
        chosen.unwrap_or(choices[0])
    }

    /// Notes a fault: a sentence that names the setting.
    pub fn fault(&mut self, fault: impl Into<String>) {
        self.faults.push(fault.into());
    }

    /// Whether the process runs as an AWS Lambda function, by the variable that Lambda sets.
    pub fn is_function(&self) -> bool {
        self.text("AWS_LAMBDA_RUNTIME_API").is_some()
    }

    /// Returns `value`, or all faults noted so far.
    pub fn finish<T>(self, value: T) -> Result<T, ConfigError> {
        if self.faults.is_empty() { Ok(value) } else { Err(ConfigError { faults: self.faults }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_faults_are_reported_at_once() {
        let mut settings = Settings::from_pairs([("PORT", "many"), ("VITRINA_ROLE", "")]);
        let _: u16 = settings.or("PORT", 8080);
        let _: String = settings.required("VITRINA_ROLE");
        let error = settings.finish(()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "PORT is wrong: invalid digit found in string; VITRINA_ROLE is not set"
        );
    }

    #[test]
    fn secret_is_redacted_in_debug_output() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "[redacted]");
    }
}
