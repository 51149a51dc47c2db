//! Collects every fault of an input, so that one response reports all of them.

use crate::http::escape_pointer;
use crate::http::problem::FieldError;

/// The faults found so far, in the order in which they were found.
#[derive(Debug, Default)]
pub struct Faults(Vec<FieldError>);

impl Faults {
    /// Adds a fault at `pointer`, a JSON Pointer (RFC 6901).
    pub fn add(&mut self, pointer: &str, detail: impl Into<String>) {
        self.0.push(FieldError::new(pointer, "invalid", detail));
    }

    /// Returns the value of `checked`, or adds its error.
    pub fn check<T, E: ToString>(&mut self, pointer: &str, checked: Result<T, E>) -> Option<T> {
        checked.map_err(|error| self.add(pointer, error.to_string())).ok()
    }

    /// Returns the faults, where a value is missing because of one of them.
    pub fn into_errors(self) -> Vec<FieldError> {
        self.0
    }

    /// Returns `value` if no fault was added.
    pub fn or<T>(self, value: T) -> Result<T, Vec<FieldError>> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }
}

/// The JSON Pointer of a member of an object in the document.
pub fn pointer_to(object: &str, member: &str) -> String {
    format!("/{object}/{}", escape_pointer(member))
}
