//! The error of a call to SQS. It is not in `aws`, because the error of dead letters, which `aws` uses,
//! contains it.

/// A call to SQS failed.
#[derive(Debug, thiserror::Error)]
#[error("{doing}{}", queue.map(|queue| format!(" of the queue {queue}")).unwrap_or_default())]
pub struct SqsError {
    pub(super) doing: &'static str,
    /// The name of the queue in the routes, where a process has several.
    pub(super) queue: Option<&'static str>,
    pub(super) source: Box<dyn std::error::Error + Send + Sync>,
}

pub(super) fn during<E>(doing: &'static str) -> impl Fn(E) -> SqsError
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    move |source| SqsError { doing, queue: None, source: source.into() }
}

impl SqsError {
    pub(super) fn of_queue(self, name: &'static str) -> Self {
        Self { queue: Some(name), ..self }
    }
}
