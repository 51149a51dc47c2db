//! Password hashing: slow on purpose, and limited so that it does not slow down anything else.
//!
//! Promise: however many clients log in at once, hashing takes a bounded share of the machine, and
//! requests that would have to wait too long are refused at once.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::password_hash::{self, PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use shared::config::Secret;
use shared::http::problem::{self, Problem};
use shared::telemetry;
use tokio::sync::Semaphore;
use tokio::task::JoinError;

/// OWASP Password Storage Cheat Sheet, argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// A hash that no password matches, with the parameters above. Verifying against it takes as long as
/// against a real one, so that timing does not reveal whether an account exists.
const DUMMY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGhhcyB0aGlzIQ$\
                       AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Requests that may wait per running hash: roughly two seconds of work.
const QUEUE: usize = 64;

/// Hashes and verifies passwords. Cheap to clone; clones share their limits.
#[derive(Clone, Debug)]
pub struct Passwords {
    /// One permit per running hash.
    slots: Arc<Semaphore>,
    /// One permit per request that has a slot or waits for one.
    places: Arc<Semaphore>,
    hashes: Arc<AtomicU64>,
}

/// Why a password could not be hashed.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    #[error("too many passwords wait to be hashed")]
    Busy,
    #[error("hashing a password")]
    Hash(#[source] password_hash::Error),
    #[error("hashing a password on another thread")]
    Thread(#[source] JoinError),
}

impl From<PasswordError> for Problem {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => {
                problem::UNAVAILABLE.because("too many log-ins at the moment").retry_after(2)
            }
            error => Self::internal(error),
        }
    }
}

impl Default for Passwords {
    /// Leaves one processor to everything else, if there is more than one.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self::new(processors.saturating_sub(1).max(1))
    }
}

impl Passwords {
    /// Runs at most `slots` hashes at a time.
    pub fn new(slots: usize) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(slots)),
            places: Arc::new(Semaphore::new(slots * (1 + QUEUE))),
            hashes: Arc::default(),
        }
    }

    /// Number of hashes so far. Hashing dominates the time of a log-in, so requests that must take
    /// equally long compute equally many.
    pub fn hashes(&self) -> u64 {
        self.hashes.load(Ordering::Relaxed)
    }

    /// Hashes a password into a PHC string.
    pub(crate) async fn hash(&self, password: Secret<String>) -> Result<String, PasswordError> {
        let hashes = Arc::clone(&self.hashes);
        self.run(move || {
            let hash = hasher()?.hash_password(password.expose().as_bytes())?;
            hashes.fetch_add(1, Ordering::Relaxed);
            Ok(hash.to_string())
        })
        .await
    }

    /// Whether the password matches `hash`. Without a hash, or with an invalid one, it does not, which
    /// takes equally long: an operator may store an invalid hash to lock a user out.
    pub(crate) async fn verify(
        &self,
        password: Secret<String>,
        hash: Option<String>,
    ) -> Result<bool, PasswordError> {
        let hashes = Arc::clone(&self.hashes);
        self.run(move || {
            let matches = |stored: &str| {
                let verified = hasher()?.verify_password(password.expose().as_bytes(), stored);
                let matches = match verified {
                    Ok(()) => true,
                    Err(password_hash::Error::PasswordInvalid) => false,
                    Err(error) => return Err(error),
                };
                hashes.fetch_add(1, Ordering::Relaxed);
                Ok(matches)
            };
            let Some(hash) = hash else { return matches(DUMMY).map(|_| false) };
            matches(&hash).or_else(|error| {
                let error = telemetry::causes(&error);
                // At each attempt, as often as clients like: no warning.
                tracing::debug!(
                    error,
                    "a stored password hash is invalid, so no password matches it"
                );
                matches(DUMMY).map(|_| false)
            })
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, password_hash::Error> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let place =
            Arc::clone(&self.places).try_acquire_owned().map_err(|_| PasswordError::Busy)?;
        let slot =
            Arc::clone(&self.slots).acquire_owned().await.map_err(|_| PasswordError::Busy)?;
        // The permits move to the thread: the work goes on even if its request is dropped.
        let hashing = tokio::task::spawn_blocking(move || {
            let result = work();
            drop((slot, place));
            result
        });
        hashing.await.map_err(PasswordError::Thread)?.map_err(PasswordError::Hash)
    }
}

fn hasher() -> Result<Argon2<'static>, password_hash::Error> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use testkit::within;

    use super::*;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[tokio::test]
    async fn password_matches_its_own_hash_only() {
        let passwords = Passwords::new(2);
        let hash = passwords.hash(secret("correct horse")).await.unwrap();
        let again = passwords.hash(secret("correct horse")).await.unwrap();
        assert_ne!(hash, again, "every hash has its own salt");
        let verify = async |text, hash: &str| {
            let hash = Some(hash.to_owned());
            passwords.verify(secret(text), hash).await.unwrap()
        };
        assert!(verify("correct horse", &hash).await);
        assert!(!verify("correct hors", &hash).await);
    }

    #[tokio::test]
    async fn missing_hash_costs_the_same_and_matches_no_password() {
        let passwords = Passwords::new(1);
        let real = passwords.hash(secret("correct horse")).await.unwrap();
        let parameters = |hash: &str| hash.split('$').take(4).collect::<Vec<_>>().join("$");
        assert_eq!(parameters(DUMMY), parameters(&real));
        assert_eq!(DUMMY.len(), real.len());
        // What OWASP recommends, as numbers: both could become weak together.
        assert!(real.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{real}");
        assert!(!passwords.verify(secret(""), None).await.unwrap());
    }

    #[tokio::test]
    async fn invalid_hash_costs_the_same_and_matches_no_password() {
        let passwords = Passwords::new(1);
        let real = passwords.hash(secret("correct horse")).await.unwrap();
        let (parameters, _) = real.rsplit_once('$').unwrap();
        let other = real.replace("argon2id", "scrypt");
        for invalid in ["", "!", "correct horse", "$argon2id$", parameters, &other] {
            let before = passwords.hashes();
            let verified = passwords.verify(secret("correct horse"), Some(invalid.to_owned()));
            assert!(!verified.await.unwrap(), "{invalid:?}");
            assert_eq!(passwords.hashes() - before, 1, "{invalid:?}");
        }
    }

    #[tokio::test]
    async fn request_beyond_the_queue_is_refused_at_once() {
        for slots in [1, 2] {
            let passwords = Passwords::new(slots);
            // One running and 64 waiting for each slot.
            let places = u32::try_from(65 * slots).unwrap();
            let all = passwords.places.try_acquire_many(places).unwrap();
            let refused = passwords.hash(secret("correct horse")).await;
            assert!(matches!(refused, Err(PasswordError::Busy)));
            drop(all);
            assert!(passwords.hash(secret("correct horse")).await.is_ok());
        }
    }

    #[tokio::test]
    async fn hash_keeps_its_slot_when_its_request_is_dropped() {
        let passwords = Passwords::new(1);
        let (begun, running) = tokio::sync::oneshot::channel();
        let (finish, finished) = std::sync::mpsc::channel();
        let mut request = Box::pin(passwords.run(move || {
            begun.send(()).unwrap();
            finished.recv().unwrap();
            Ok(())
        }));
        tokio::select! {
            ended = &mut request => panic!("{ended:?}"),
            running = within("the hash", running) => running.unwrap(),
        }
        drop(request);
        let free = || (passwords.slots.available_permits(), passwords.places.available_permits());
        assert_eq!(free(), (0, QUEUE));
        finish.send(()).unwrap();
        let all = [(&passwords.slots, 1), (&passwords.places, 1 + QUEUE)];
        for (semaphore, permits) in all {
            let permits = semaphore.acquire_many(permits.try_into().unwrap());
            drop(within("the end of the hash", permits).await.unwrap());
        }
    }
}
