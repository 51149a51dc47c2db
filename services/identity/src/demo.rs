//! The users that a local edition begins with.

use shared::auth::Role;
use shared::config::Secret;

use crate::App;
use crate::account::Email;
use crate::passwords::PasswordError;
use crate::store::users::{self, NewUser};

/// Address, name and role of each.
pub const USERS: [(&str, &str, Role); 3] = [
    ("seller@demo.vitrina.example", "Demo Seller", Role::Seller),
    ("buyer@demo.vitrina.example", "Demo Buyer", Role::Buyer),
    ("operator@demo.vitrina.example", "Demo Operator", Role::Operator),
];

/// Why the users are not there.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error("storing the demo users")]
    Store(#[from] sqlx::Error),
}

/// Makes those of [`USERS`] that are missing, active and with this password. Who is there keeps
/// the password that he has.
///
/// It may be any password: whoever starts the edition decides how well it is guarded.
pub async fn ensure_users(app: &App, password: &Secret<String>) -> Result<(), DemoError> {
    let mut missing = Vec::new();
    for (address, name, role) in USERS {
        if app.find_user(address).await?.is_none()
            && let Ok(email) = Email::parse(address)
        {
            missing.push((email, name, role));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    // One hash for all: they have one password, and everybody knows that they do.
    let hash = app.passwords.hash(password.clone()).await?;
    let now = app.clock.now();
    for (email, name, role) in &missing {
        let user =
            NewUser { id: app.ids.next(now), email, name, password_hash: &hash, role: *role, now };
        users::put_active(&app.pool, &user).await?;
    }
    Ok(())
}
