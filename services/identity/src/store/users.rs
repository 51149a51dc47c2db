//! Users.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use shared::http::auth::Role;
use shared::id::UserId;
use sqlx::{PgExecutor, PgPool};

use crate::account::{Email, Signup};
use shared::database::{DecodeError, StoreError, doing};

/// A user and the roles that its tokens carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub roles: BTreeSet<Role>,
}

/// What a log-in is checked against.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    pub user: User,
    pub password_hash: String,
    pub is_active: bool,
}

/// Result of a sign-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignedUp {
    /// The account waits for its code; `again` if the address had been claimed before.
    Pending { again: bool },
    /// The address has an active account, which is left unchanged.
    AlreadyActive,
}

/// A user to insert.
#[derive(Clone, Debug)]
pub(crate) struct NewUser<'a> {
    pub id: UserId,
    pub email: &'a Email,
    pub name: &'a str,
    pub password_hash: &'a str,
    pub role: Role,
    pub now: DateTime<Utc>,
}

impl<'a> NewUser<'a> {
    pub(crate) fn new(
        signup: &'a Signup,
        id: UserId,
        password_hash: &'a str,
        now: DateTime<Utc>,
    ) -> Self {
        Self { id, email: &signup.email, name: &signup.name, password_hash, role: signup.role, now }
    }
}

/// Claims an address, with the code that activates it.
///
/// Until a code proves that the mailbox was read, an address has no owner and any client may claim it:
/// otherwise a stranger could lock the owner out. The latest claim replaces name, password, role and
/// code in one statement. A code therefore activates exactly the password it was requested with, and
/// codes of earlier claims are invalid. If the first password were kept, the owner's code would activate
/// a stranger's password. If earlier codes stayed valid, the owner's code would activate a stranger's
/// later claim. One case remains: an owner enters the code of a mail that a stranger caused. That mail
/// warns of it.
pub(crate) async fn claim(
    executor: impl PgExecutor<'_>,
    user: &NewUser<'_>,
    code_hash: &[u8; 32],
    code_expires_at: DateTime<Utc>,
) -> Result<SignedUp, StoreError> {
    let claimed = sqlx::query_scalar!(
        "with claimed as (
             insert into identity.users (id, email, name, password_hash, roles, created_at)
             values ($1, $2, $3, $4, array[$5::text], $6)
             on conflict on constraint users_email do update
             set name = excluded.name, password_hash = excluded.password_hash,
                 roles = excluded.roles
             where users.activated_at is null
             returning id)
         insert into identity.codes (user_id, purpose, hash, expires_at)
         select id, 'activation', $7, $8 from claimed
         on conflict on constraint codes_pkey do update
         set hash = excluded.hash, attempts = 0, expires_at = excluded.expires_at
         returning user_id",
        user.id as UserId,
        user.email.as_str(),
        user.name,
        user.password_hash,
        user.role.as_str(),
        user.now,
        code_hash.as_slice(),
        code_expires_at,
    )
    .fetch_optional(executor)
    .await
    .map_err(doing("claiming an address in identity.users"))?;
    Ok(match claimed {
        Some(id) => SignedUp::Pending { again: id != user.id },
        None => SignedUp::AlreadyActive,
    })
}

/// Inserts an active user, or replaces a claim that was never activated. Keeps an active user.
pub(crate) async fn put_active(pool: &PgPool, user: &NewUser<'_>) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into identity.users
             (id, email, name, password_hash, roles, activated_at, created_at)
         values ($1, $2, $3, $4, array[$5::text], $6, $6)
         on conflict on constraint users_email do update
         set name = excluded.name, password_hash = excluded.password_hash,
             roles = excluded.roles, activated_at = excluded.activated_at
         where users.activated_at is null",
        user.id as UserId,
        user.email.as_str(),
        user.name,
        user.password_hash,
        user.role.as_str(),
        user.now,
    )
    .execute(pool)
    .await
    .map_err(doing("inserting into identity.users"))?;
    Ok(())
}

pub(crate) async fn find_credentials(
    pool: &PgPool,
    email: &Email,
) -> Result<Option<Credentials>, StoreError> {
    let failed = doing("reading credentials from identity.users");
    let row = sqlx::query!(
        r#"select id, password_hash, roles, activated_at is not null as "is_active!"
           from identity.users where email = $1"#,
        email.as_str(),
    )
    .fetch_optional(pool)
    .await
    .map_err(&failed)?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Credentials {
        user: user(row.id, &row.roles).map_err(failed)?,
        password_hash: row.password_hash,
        is_active: row.is_active,
    }))
}

pub(crate) async fn activate(
    executor: impl PgExecutor<'_>,
    id: UserId,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update identity.users set activated_at = $2 where id = $1 and activated_at is null",
        id as UserId,
        now,
    )
    .execute(executor)
    .await
    .map_err(doing("activating a row of identity.users"))?;
    Ok(())
}

pub(crate) async fn set_password(
    executor: impl PgExecutor<'_>,
    id: UserId,
    password_hash: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update identity.users set password_hash = $2 where id = $1",
        id as UserId,
        password_hash,
    )
    .execute(executor)
    .await
    .map_err(doing("setting a password in identity.users"))?;
    Ok(())
}

pub(super) fn user(id: UserId, roles: &[String]) -> Result<User, sqlx::Error> {
    let roles = roles.iter().map(|name| name.parse::<Role>()).collect::<Result<_, _>>();
    let roles = roles.map_err(|error| DecodeError {
        table: "identity.users",
        column: "roles",
        row: id.to_string(),
        source: error.into(),
    })?;
    Ok(User { id, roles })
}
