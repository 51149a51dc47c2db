//! Collects every fault of a request, so that one response names them all.

use shared::http::problem::FieldError;

/// The faults of a request, each with the pointer to its field.
#[derive(Debug, Default)]
pub(crate) struct Faults(pub(crate) Vec<FieldError>);

impl Faults {
    /// Returns the value, or adds the fault at `pointer`.
    pub(crate) fn keep<T, E: ToString>(
        &mut self,
        pointer: &'static str,
        checked: Result<T, E>,
    ) -> Option<T> {
        checked
            .map_err(|fault| {
                self.0.push(FieldError::new(pointer, "invalid", fault.to_string()));
            })
            .ok()
    }
}
