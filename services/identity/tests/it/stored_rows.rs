//! Every column of every table, with its value: whatever is written is read back here.

use identity::delete_expired;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
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
    assert!(password_hash.starts_with("$argon2id$"), "{password_hash}");
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
    provider.activate(ANA, &code).await.expect(204);
    assert_eq!(all(&provider, "codes", "user_id").await, [Value::Null; 0]);
    let active = account(json!("2026-03-01T12:01:00+00:00"), password_hash);
    assert_eq!(all(&provider, "users", "id").await, [active]);

    provider.wait_minutes(1);
    provider.forget_password(ANA).await.expect(202);
    let reset = provider.code(ANA).await;
    let sent = stored("reset", &reset, 0, "2026-03-01T12:17:00+00:00");
    assert_eq!(all(&provider, "codes", "user_id").await, [sent]);
    provider.reset_password(ANA, &reset, "another sentence").await.expect(204);
    let user = all(&provider, "users", "id").await.remove(0);
    let new_hash = user["password_hash"].as_str().unwrap();
    assert_ne!(new_hash, password_hash);
    assert_eq!(user, account(json!("2026-03-01T12:01:00+00:00"), new_hash));

    // Sign-up and reset sent a mail each; each code was sent once or twice.
    let counted = |action: &str, made: i64, since: &str| json!({"action": action, "email": ANA, "made": made, "since": since});
    let begun = "2026-03-01T12:00:00+00:00";
    let mut expected = vec![counted("mail", 2, begun)];
    let attempts = all(&provider, "attempts", "action, email").await;
    let code_attempts = attempts.iter().find(|row| row["action"] == "code");
    expected.splice(0..0, code_attempts.map(|_| counted("code", 3, "2026-03-01T12:01:00+00:00")));
    assert_eq!(attempts, expected);
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
