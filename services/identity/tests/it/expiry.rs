//! What the deletion of expired rows leaves alone, how much it deletes at once, and when it runs.

use std::time::Duration;

use identity::delete_expired;
use shared::host::tick::Progress;
use testkit::{Program, eventually, skip_until};
use tokio_util::sync::CancellationToken;

use crate::support::{ANA, ISSUER, PASSWORD, Provider, ResponseExt as _};

const EVE: &str = "eve@example.com";

#[tokio::test]
async fn attempts_are_kept_until_their_window_is_over() {
    let provider = Provider::with_ana().await;
    provider.wait_minutes(16);
    delete_expired::once(&provider.app).await.unwrap();
    for _ in 0..10 {
        provider.log_in(ANA, "another sentence").await.expect(401);
        provider.activate(EVE, "000000").await.expect(422);
        provider.forget_password(EVE).await.expect(202);
    }
    let statuses = async || {
        [
            provider.log_in(ANA, PASSWORD).await.status.as_u16(),
            provider.activate(EVE, "000000").await.status.as_u16(),
            provider.forget_password(EVE).await.status.as_u16(),
        ]
    };
    for minutes in [1, 4, 5, 4] {
        provider.wait_minutes(minutes);
        delete_expired::once(&provider.app).await.unwrap();
        assert_eq!(statuses().await, [429; 3]);
    }
    provider.wait_seconds(59);
    delete_expired::once(&provider.app).await.unwrap();
    assert_eq!((statuses().await, provider.count("attempts").await), ([429; 3], 3));
    provider.wait_seconds(2);
    // A refused activation rolls back after its response, and its row is skipped until then.
    eventually("the deletion of all windows", async || {
        delete_expired::once(&provider.app).await.unwrap();
        (provider.count("attempts").await == 0).then_some(())
    })
    .await;
    assert_eq!(statuses().await, [200, 422, 202]);
}

#[tokio::test]
async fn exchanged_token_is_kept_to_notice_its_second_use() {
    let provider = Provider::with_ana().await;
    let stolen = provider.refresh_token().await;
    let next = provider.refresh(&stolen).await.expect(200).member("refresh_token");
    provider.wait_days(1);
    delete_expired::once(&provider.app).await.unwrap();
    assert_eq!(provider.count("refresh_tokens").await, 2);
    provider.refresh(&stolen).await.expect(401);
    provider.refresh(&next).await.expect(401);
}

/// Statements that leave 1001 expired rows in a table, and the rows that are left of it in the end.
const FULL: [(&str, &[&str], i64); 5] = [
    (
        "attempts",
        &["insert into identity.attempts (action, email, made, since)
           select 'login', n || '@example.com', 1, $1::timestamptz - interval '1 day'
           from generate_series(1, 1001) n"],
        0,
    ),
    (
        "codes",
        &[
            "insert into identity.users
                 (id, email, name, password_hash, roles, activated_at, created_at)
             select gen_random_uuid(), n || '@example.com', 'Ana', '!', array['buyer'], $1, $1
             from generate_series(1, 1001) n",
            "insert into identity.codes (user_id, purpose, hash, expires_at)
             select id, 'reset', sha256('x'), $1::timestamptz - interval '1 day'
             from identity.users",
        ],
        0,
    ),
    (
        "refresh_tokens",
        &[
            "insert into identity.sessions (id, user_id, started_at)
             select gen_random_uuid(), id, $1 from identity.users limit 1",
            "insert into identity.refresh_tokens (hash, session_id, issued_at, expires_at)
             select sha256(n::text::bytea), id, $1::timestamptz - interval '31 days',
                    $1::timestamptz - interval '1 day'
             from identity.sessions, generate_series(1, 1001) n",
        ],
        0,
    ),
    (
        "sessions",
        &["insert into identity.sessions (id, user_id, started_at)
           select gen_random_uuid(), id, $1::timestamptz - interval '31 days'
           from identity.users"],
        // The session of the tokens has just begun.
        1,
    ),
    (
        "users",
        &["insert into identity.users (id, email, name, password_hash, roles, created_at)
           select gen_random_uuid(), 'claim' || n || '@example.com', 'Ana', '!', array['buyer'],
                  $1::timestamptz - interval '8 days'
           from generate_series(1, 1001) n"],
        // Active users stay.
        1001,
    ),
];

#[tokio::test]
async fn full_batch_of_any_table_is_followed_by_the_next() {
    let provider = Provider::start().await;
    for (table, statements, left) in FULL {
        for statement in statements {
            let statement = sqlx::query(*statement).bind(provider.clock.now());
            statement.execute(&provider.database.pool).await.unwrap();
        }
        assert_eq!(provider.count(table).await, left + 1001, "{table}");
        for (progress, count) in [(Progress::More, left + 1), (Progress::Idle, left)] {
            let deleted = delete_expired::once(&provider.app).await.unwrap();
            assert_eq!((deleted, provider.count(table).await), (progress, count), "{table}");
        }
    }
}

/// Counts an attempt whose window was over long ago.
async fn expired_attempt(provider: &Provider) {
    sqlx::query("insert into identity.attempts values ('login', $1, 1, '2020-01-01Z')")
        .bind(EVE)
        .execute(&provider.database.pool)
        .await
        .unwrap();
}

#[tokio::test]
async fn deletion_runs_at_the_start_and_every_ten_minutes() {
    let provider = Provider::start().await;
    expired_attempt(&provider).await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(delete_expired::run(provider.app.clone(), stop.clone()));
    let is_deleted = async || provider.count("attempts").await == 0;
    eventually("the first deletion", async || is_deleted().await.then_some(())).await;
    expired_attempt(&provider).await;
    let waited = skip_until("the next deletion", Duration::from_secs(20), is_deleted).await;
    // Less than an interval, since it began before the row expired.
    assert!(waited >= Duration::from_mins(9), "{waited:?}");
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn program_is_ready_deletes_expired_rows_and_stops() {
    let provider = Provider::start().await;
    expired_attempt(&provider).await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (key, mails) = (path("key"), path("mails"));
    let settings = [
        ("VITRINA_ROLE", "api"),
        ("DATABASE_URL", provider.database.url.as_str()),
        ("VITRINA_AUTH_ISSUER", ISSUER),
        ("VITRINA_IDENTITY_KEY_FILE", &key),
        ("VITRINA_MAIL_DIRECTORY", &mails),
    ];
    let program = Program::start(env!("CARGO_BIN_EXE_identity"), &settings).await;
    assert_eq!(program.get("/readyz").await.unwrap().0, 200);
    assert_eq!(program.get("/.well-known/jwks.json").await.unwrap().0, 200);
    eventually("the deletion", async || (provider.count("attempts").await == 0).then_some(()))
        .await;
    assert_eq!(program.terminate().await, Some(0));
}
