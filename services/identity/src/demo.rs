//! The users that a local edition starts with.

use std::collections::BTreeMap;

use shared::config::Secret;
use shared::http::auth::Role;

use crate::App;
use crate::account::Email;
use crate::passwords::PasswordError;
use crate::store::users::{self, NewUser, User};
use shared::database::StoreError;

/// Address, name and role of each demo user.
pub const USERS: [(&str, &str, Role); 3] = [
    ("seller@demo.vitrina.example", "Demo Seller", Role::Seller),
    ("buyer@demo.vitrina.example", "Demo Buyer", Role::Buyer),
    ("operator@demo.vitrina.example", "Demo Operator", Role::Operator),
];

/// One of [`USERS`] as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoUser {
    pub email: &'static str,
    pub user: User,
    /// Whether the password given to [`ensure_users`] logs this user in.
    pub has_given_password: bool,
}

/// Why the demo users could not be created.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error("storing the demo users")]
    Store(#[from] StoreError),
}

/// Creates each of [`USERS`] that is missing, active and with this password, and returns all of them.
/// Existing users keep their password.
///
/// Any password is accepted: the operator decides how well the local edition is guarded.
pub async fn ensure_users(
    app: &App,
    password: &Secret<String>,
) -> Result<Vec<DemoUser>, DemoError> {
    let mut missing = Vec::new();
    for (address, name, role) in USERS {
        if app.find_user(address).await?.is_none()
            && let Ok(email) = Email::parse(address)
        {
            missing.push((email, name, role));
        }
    }
    // Whether the given password matches, by stored hash: users often share one, and each check is
    // slow.
    let mut known = BTreeMap::new();
    if !missing.is_empty() {
        // One hash for all: that they share a password is no secret.
        let hash = app.passwords.hash(password.clone()).await?;
        let now = app.clock.now();
        for (email, name, role) in &missing {
            let id = app.ids.next(now);
            let user = NewUser { id, email, name, password_hash: &hash, role: *role, now };
            users::put_active(&app.pool, &user).await?;
        }
        known.insert(hash, true);
    }
    let mut found = Vec::new();
    for (address, ..) in USERS {
        let Ok(email) = Email::parse(address) else { continue };
        let stored = users::find_credentials(&app.pool, &email).await?;
        let Some(stored) = stored.filter(|stored| stored.is_active) else { continue };
        let hash = stored.password_hash;
        let has_given_password = match known.get(&hash) {
            Some(has_given_password) => *has_given_password,
            None => app.passwords.verify(password.clone(), Some(hash.clone())).await?,
        };
        known.insert(hash, has_given_password);
        found.push(DemoUser { email: address, user: stored.user, has_given_password });
    }
    Ok(found)
}
