//! Hashing of passwords: slow on purpose, and so kept from slowing down anything else.
//!
//! Promise: however many log in at once, hashing takes a bounded share of the machine, and who
//! would have to wait too long is told so at once.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::password_hash::{self, PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use shared::config::Secret;
use shared::http::problem::{self, Problem};
use tokio::sync::Semaphore;
use tokio::task::JoinError;

/// OWASP Password Storage Cheat Sheet, argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// The hash of a password that nobody has, made with the parameters above: verifying against it
/// takes as long as against a real one.
const NOBODYS: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGhhcyB0aGlzIQ$\
                       AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// How many may wait for each hash that is being made: two seconds' worth, roughly.
const QUEUE: usize = 64;

/// Hashes and verifies passwords. Cheap to clone; clones share their bounds.
#[derive(Clone, Debug)]
pub struct Passwords {
    /// A hash is being made in each.
    slots: Arc<Semaphore>,
    /// Who has a slot or waits for one.
    places: Arc<Semaphore>,
    made: Arc<AtomicU64>,
}

/// Why a password could not be hashed.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    #[error("too many passwords are waiting to be hashed")]
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
                problem::UNAVAILABLE.because("too many are logging in at present").retry_after(2)
            }
            error => Self::internal(error),
        }
    }
}

impl Default for Passwords {
    /// Leaves one processor to everything else, where there is more than one.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self::new(processors.saturating_sub(1).max(1))
    }
}

impl Passwords {
    /// Makes at most `slots` hashes at a time.
    pub fn new(slots: usize) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(slots)),
            places: Arc::new(Semaphore::new(slots * (1 + QUEUE))),
            made: Arc::default(),
        }
    }

    /// How many hashes were made so far. They are what a log-in takes its time for, so requests
    /// that must not be told apart make equally many.
    pub fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// A PHC string of the password.
    pub(crate) async fn hash(&self, password: Secret<String>) -> Result<String, PasswordError> {
        self.run(move || {
            let hash = hasher()?.hash_password(password.expose().as_bytes())?;
            Ok(hash.to_string())
        })
        .await
    }

    /// Whether the password is that of `hash`. Without a hash the answer is no, and takes as long.
    pub(crate) async fn verify(
        &self,
        password: Secret<String>,
        hash: Option<String>,
    ) -> Result<bool, PasswordError> {
        self.run(move || {
            let stored = hash.as_deref().unwrap_or(NOBODYS);
            match hasher()?.verify_password(password.expose().as_bytes(), stored) {
                Ok(()) => Ok(hash.is_some()),
                Err(password_hash::Error::PasswordInvalid) => Ok(false),
                Err(error) => Err(error),
            }
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
        self.made.fetch_add(1, Ordering::Relaxed);
        // The permits go along: the work ends even if the request that wanted it is gone.
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
    use super::*;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_password_is_good_for_its_own_hash_only() {
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
    async fn where_there_is_no_user_the_work_is_the_same_and_no_password_is_right() {
        let passwords = Passwords::new(1);
        let real = passwords.hash(secret("correct horse")).await.unwrap();
        let parameters = |hash: &str| hash.split('$').take(4).collect::<Vec<_>>().join("$");
        assert_eq!(parameters(NOBODYS), parameters(&real));
        assert_eq!(NOBODYS.len(), real.len());
        assert!(!passwords.verify(secret(""), None).await.unwrap());
    }

    #[tokio::test]
    async fn who_would_wait_too_long_is_told_at_once() {
        let passwords = Passwords::new(1);
        let places = u32::try_from(QUEUE + 1).unwrap();
        let all = passwords.places.acquire_many(places).await.unwrap();
        let refused = passwords.hash(secret("correct horse")).await;
        assert!(matches!(refused, Err(PasswordError::Busy)));
        drop(all);
        assert!(passwords.hash(secret("correct horse")).await.is_ok());
    }
}
