//! Every column of every table, with its value: whatever is written is read back here.

use identity::{delete_expired, demo};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use shared::config::Secret;
use shared::host::tick::Progress;
use testkit::{rows, within};

use crate::support::{ANA, PASSWORD, Provider, ResponseExt as _, TABLES, other_than, signup};

/// A hash as PostgreSQL shows it.
fn hash(text: &str) -> String {
    format!("\\x{}", testkit::hex(&Sha256::digest(text.as_bytes())))
}

async fn all(provider: &Provider, table: &str, order: &str) -> Vec<Value> {
    rows(&provider.database.pool, &format!("identity.{table}"), order).await
}

#[tokio::test]
async fn every_column_of_an_account_is_read_back() {
    let mut provider = Provider::start().await;
    let code = provider.sign_up(ANA, PASSWORD).await;
    let user = all(&provider, "users", "id").await.remove(0);
    let (id, password_hash) = (&user["id"], user["password_hash"].as_str().unwrap());
    assert!(password_hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{password_hash}");
    let account = |activated_at: Value, password_hash: &str| {
        json!({
            "id": id, "email": ANA, "name": "Ana Souza", "password_hash": password_hash,
            "roles": ["seller"], "activated_at": activated_at,
            "created_at": "2026-03-01T12:00:00+00:00",
        })
    };
    assert_eq!(user, account(Value::Null, password_hash));
    let stored = |purpose: &str, code: &str, attempts: i64, expires_at: &str| {
        json!({
            "user_id": id, "purpose": purpose, "hash": hash(&format!("{purpose}\0{ANA}\0{code}")),
            "attempts": attempts, "expires_at": expires_at,
        })
    };
    let sent = stored("activation", &code, 0, "2026-03-01T12:15:00+00:00");
    assert_eq!(all(&provider, "codes", "user_id").await, [sent]);
    provider.wait_minutes(1);
    provider.activate(ANA, other_than(&code)).await.expect(422);
    let tried = stored("activation", &code, 1, "2026-03-01T12:15:00+00:00");
    assert_eq!(all(&provider, "codes", "user_id").await, [tried]);
    // Sign-up and reset send a mail each. Wrong codes are counted until a correct one is sent.
    let counted = |action: &str, made: i64, since: &str| json!({"action": action, "email": ANA, "made": made, "since": since});
    let (begun, minute) = ("2026-03-01T12:00:00+00:00", "2026-03-01T12:01:00+00:00");
    let attempts = async |provider: &Provider| all(provider, "attempts", "action, email").await;
    let wrong = [counted("code", 1, minute), counted("mail", 1, begun)];
    assert_eq!(attempts(&provider).await, wrong);
    provider.activate(ANA, &code).await.expect(204);
    assert_eq!(attempts(&provider).await, [counted("mail", 1, begun)]);
    assert_eq!(all(&provider, "codes", "user_id").await, [Value::Null; 0]);
    let active = account(json!("2026-03-01T12:01:00+00:00"), password_hash);
    assert_eq!(all(&provider, "users", "id").await, [active]);

    provider.wait_minutes(1);
    provider.forget_password(ANA).await.expect(202);
    let reset = provider.code(ANA).await;
    let sent = stored("reset", &reset, 0, "2026-03-01T12:17:00+00:00");
    assert_eq!(all(&provider, "codes", "user_id").await, [sent]);
    let wrong = provider.reset_password(ANA, other_than(&reset), "another sentence");
    wrong.await.expect(422);
    assert_eq!(attempts(&provider).await.len(), 2);
    provider.reset_password(ANA, &reset, "another sentence").await.expect(204);
    let user = all(&provider, "users", "id").await.remove(0);
    let new_hash = user["password_hash"].as_str().unwrap();
    assert_ne!(new_hash, password_hash);
    assert_eq!(user, account(json!("2026-03-01T12:01:00+00:00"), new_hash));

    assert_eq!(attempts(&provider).await, [counted("mail", 2, begun)]);
}

#[tokio::test]
async fn later_claim_replaces_name_password_role_and_code() {
    let mut provider = Provider::start().await;
    let (operator, name, _) = demo::USERS[2];
    let sign_up = async |provider: &mut Provider, name: &str, role: &str, password: &str| {
        let mut body = signup(operator, password);
        (body["name"], body["role"]) = (json!(name), json!(role));
        provider.post("/v1/auth/signup", body).await.expect(202);
        provider.code(operator).await
    };
    let code = sign_up(&mut provider, "A Stranger", "seller", "a stranger's password").await;
    provider.activate(operator, other_than(&code)).await.expect(422);
    let strangers = all(&provider, "users", "id").await.remove(0);
    provider.wait_minutes(1);
    let code = sign_up(&mut provider, "Ana Lima", "buyer", PASSWORD).await;
    let claimed = |name: &str, role: &str, activated_at: Value, user: &Value| {
        json!({
            "id": strangers["id"], "email": operator, "name": name, "roles": [role],
            "password_hash": user["password_hash"], "activated_at": activated_at,
            "created_at": "2026-03-01T12:00:00+00:00",
        })
    };
    let anas = all(&provider, "users", "id").await;
    assert_eq!(anas, [claimed("Ana Lima", "buyer", Value::Null, &anas[0])]);
    assert_ne!(anas[0]["password_hash"], strangers["password_hash"]);
    let sent = json!({
        "user_id": strangers["id"], "purpose": "activation", "attempts": 0,
        "hash": hash(&format!("activation\0{operator}\0{code}")),
        "expires_at": "2026-03-01T12:16:00+00:00",
    });
    assert_eq!(all(&provider, "codes", "user_id").await, [sent]);

    provider.wait_minutes(1);
    demo::ensure_users(&provider.app, &Secret::new(PASSWORD.to_owned())).await.unwrap();
    let found = all(&provider, "users", "email").await;
    let demos = found.iter().find(|user| user["email"] == operator).unwrap();
    let since = json!("2026-03-01T12:02:00+00:00");
    assert_eq!(*demos, claimed(name, "operator", since, demos));
    assert_ne!(demos["password_hash"], anas[0]["password_hash"]);
}

#[tokio::test]
async fn every_column_of_a_session_is_read_back() {
    let provider = Provider::with_ana().await;
    provider.wait_minutes(1);
    let first = provider.refresh_token().await;
    let user_id = all(&provider, "users", "id").await[0]["id"].clone();
    let begun = all(&provider, "sessions", "id").await.remove(0);
    let session = |revoked_at: Value| {
        json!({
            "id": begun["id"], "user_id": user_id, "started_at": "2026-03-01T12:01:00+00:00",
            "revoked_at": revoked_at,
        })
    };
    assert_eq!(begun, session(Value::Null));
    let token = |token: &str, issued_at: &str, expires_at: &str, rotated_at: Value| {
        json!({
            "hash": hash(token), "session_id": begun["id"], "issued_at": issued_at,
            "expires_at": expires_at, "rotated_at": rotated_at,
        })
    };
    let (at, until) = ("2026-03-01T12:01:00+00:00", "2026-03-31T12:01:00+00:00");
    let tokens = async || all(&provider, "refresh_tokens", "issued_at").await;
    assert_eq!(tokens().await, [token(&first, at, until, Value::Null)]);

    provider.wait_days(1);
    let second = provider.refresh(&first).await.expect(200).member("refresh_token");
    let rotated = "2026-03-02T12:01:00+00:00";
    let next = token(&second, rotated, "2026-04-01T12:01:00+00:00", Value::Null);
    assert_eq!(tokens().await, [token(&first, at, until, json!(rotated)), next]);
    provider.wait_minutes(1);
    provider.log_out(&second).await.expect(204);
    let ended = session(json!("2026-03-02T12:02:00+00:00"));
    assert_eq!(all(&provider, "sessions", "id").await, [ended]);
}

#[tokio::test]
async fn failed_log_in_is_counted_from_its_first() {
    let provider = Provider::with_ana().await;
    provider.wait_minutes(1);
    for _ in 0..3 {
        provider.log_in(ANA, "another sentence").await.expect(401);
        provider.wait_minutes(2);
    }
    let attempts = all(&provider, "attempts", "action").await;
    let log_ins = attempts.iter().find(|row| row["action"] == "login");
    let since = "2026-03-01T12:01:00+00:00";
    let expected = json!({"action": "login", "email": ANA, "made": 3, "since": since});
    assert_eq!(log_ins, Some(&expected), "{attempts:?}");
}

#[tokio::test]
async fn expired_row_that_another_process_deletes_is_skipped() {
    let provider = Provider::with_ana().await;
    let pending = signup("pending@example.com", PASSWORD);
    provider.post("/v1/auth/signup", pending).await.expect(202);
    provider.refresh_token().await;
    provider.log_in(ANA, "another sentence").await.expect(401);
    let counts = async || {
        let mut counts = Vec::new();
        for table in TABLES {
            counts.push(provider.count(table).await);
        }
        counts
    };
    let before = counts().await;
    assert!(before.iter().all(|count| *count > 0), "{before:?}");
    provider.wait_days(40);
    let mut other = provider.database.pool.begin().await.unwrap();
    for table in TABLES {
        let lock = format!("select 1 from identity.{table} for update");
        sqlx::query(sqlx::AssertSqlSafe(lock)).execute(&mut *other).await.unwrap();
    }
    // It neither waits nor fails.
    let deleted = within("the deletion", delete_expired::once(&provider.app)).await;
    assert_eq!((deleted.unwrap(), counts().await), (Progress::Idle, before));
    other.rollback().await.unwrap();
    // Sessions are deleted once they have no tokens.
    for _ in 0..2 {
        delete_expired::once(&provider.app).await.unwrap();
    }
    assert_eq!(counts().await, [1, 0, 0, 0, 0]);
}
