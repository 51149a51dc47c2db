//! The error of a call to SQS. It is not in `aws`, because the error of dead letters, which `aws` uses,
//! contains it.

/// A call to SQS failed.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct SqsError {
    pub(super) doing: &'static str,
    pub(super) source: Box<dyn std::error::Error + Send + Sync>,
}

pub(super) fn during<E>(doing: &'static str) -> impl Fn(E) -> SqsError
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    move |source| SqsError { doing, source: source.into() }
}
