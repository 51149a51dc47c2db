//! Users.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use shared::http::auth::Role;
use sqlx::{PgExecutor, PgPool};
use uuid::Uuid;

use crate::account::{Email, Signup};

/// Who may log in, and as what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: Uuid,
    pub roles: BTreeSet<Role>,
}

/// What a log-in is measured against.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    pub user: User,
    pub password_hash: String,
    pub is_active: bool,
}

/// What became of a sign-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignedUp {
    /// The account waits for the code; `again` if it did before.
    Pending { again: bool },
    /// The address has an active account, which stays as it is.
    AlreadyActive,
}

/// A new user as the store takes it.
#[derive(Clone, Debug)]
pub(crate) struct NewUser<'a> {
    pub id: Uuid,
    pub email: &'a Email,
    pub name: &'a str,
    pub password_hash: &'a str,
    pub role: Role,
    pub now: DateTime<Utc>,
}

impl<'a> NewUser<'a> {
    pub(crate) fn new(
        signup: &'a Signup,
        id: Uuid,
        password_hash: &'a str,
        now: DateTime<Utc>,
    ) -> Self {
        Self { id, email: &signup.email, name: &signup.name, password_hash, role: signup.role, now }
    }
}

/// Claims an address, with the code that activates it.
///
/// Until somebody proves to read its mail, an address belongs to nobody, and anybody may claim it:
/// otherwise a stranger could keep its owner out. The latest claim replaces name, password and role
/// together with the code, in one statement: so a code activates the very password that was sent
/// along with it, and the codes of earlier claims are dead. Were the first password kept, the
/// owner's code would activate a stranger's password; were the codes kept, the stranger's later
/// claim would ride on the code that the owner is just typing in. What remains is an owner who
/// types in the code of a mail that a stranger caused: that mail says so.
pub(crate) async fn claim(
    executor: impl PgExecutor<'_>,
    user: &NewUser<'_>,
    code_hash: &[u8; 32],
    code_expires_at: DateTime<Utc>,
) -> Result<SignedUp, sqlx::Error> {
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
        user.id,
        user.email.as_str(),
        user.name,
        user.password_hash,
        user.role.as_str(),
        user.now,
        code_hash.as_slice(),
        code_expires_at,
    )
    .fetch_optional(executor)
    .await?;
    Ok(match claimed {
        Some(id) => SignedUp::Pending { again: id != user.id },
        None => SignedUp::AlreadyActive,
    })
}

/// Makes a user who is active at once, unless there is one. Replaces what was only claimed.
pub(crate) async fn put_active(pool: &PgPool, user: &NewUser<'_>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into identity.users
             (id, email, name, password_hash, roles, activated_at, created_at)
         values ($1, $2, $3, $4, array[$5::text], $6, $6)
         on conflict on constraint users_email do update
         set name = excluded.name, password_hash = excluded.password_hash,
             roles = excluded.roles, activated_at = excluded.activated_at
         where users.activated_at is null",
        user.id,
        user.email.as_str(),
        user.name,
        user.password_hash,
        user.role.as_str(),
        user.now,
    )
    .execute(pool)
    .await?;
    Ok(())
}

pub(crate) async fn find_credentials(
    pool: &PgPool,
    email: &Email,
) -> Result<Option<Credentials>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select id, password_hash, roles, activated_at is not null as "is_active!"
           from identity.users where email = $1"#,
        email.as_str(),
    )
    .fetch_optional(pool)
    .await?;
    row.map(|row| {
        Ok(Credentials {
            user: User { id: row.id, roles: roles(&row.roles)? },
            password_hash: row.password_hash,
            is_active: row.is_active,
        })
    })
    .transpose()
}

pub(crate) async fn activate(
    executor: impl PgExecutor<'_>,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update identity.users set activated_at = $2 where id = $1 and activated_at is null",
        id,
        now,
    )
    .execute(executor)
    .await?;
    Ok(())
}

pub(crate) async fn set_password(
    executor: impl PgExecutor<'_>,
    id: Uuid,
    password_hash: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!("update identity.users set password_hash = $2 where id = $1", id, password_hash,)
        .execute(executor)
        .await?;
    Ok(())
}

pub(super) fn roles(names: &[String]) -> Result<BTreeSet<Role>, sqlx::Error> {
    names
        .iter()
        .map(|name| name.parse::<Role>())
        .collect::<Result<_, _>>()
        .map_err(|error| sqlx::Error::Decode(error.into()))
}
