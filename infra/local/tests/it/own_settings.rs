//! An edition with a database and a token issuer from its settings, and the modes of its files.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::json;
use shared::clock::Clock;
use shared::http::auth::Role;
use shared::id::UserId;
use sqlx::{Connection as _, Executor as _, PgConnection};
use testkit::{Tokens, database, eventually};

use crate::process::Process;

/// A message that a dead process has received, and a count of failures whose window has ended. Messages
/// that become visible without having been received are noted.
const LEFT: &str = "
    create table public.released (id bigint);
    create function public.note_release() returns trigger language plpgsql security definer as
        $$ begin insert into public.released values (new.id); return new; end $$;
    create trigger note_release after update on bus.messages for each row
        when (new.attempts = old.attempts and new.visible_at < old.visible_at)
        execute function public.note_release();
    insert into bus.messages
        (queue, event_id, event_type, subject, body, sent_at, visible_at)
    values ('catalog', gen_random_uuid(), 'ProductUpdated', gen_random_uuid(), '{', now(),
        now() + interval '1 minute');
    insert into identity.attempts (action, email, since, made)
    values ('login', 'left@example.com', now() - interval '1 hour', 3);";

async fn count(database: &mut PgConnection, from: &'static str) -> i64 {
    let query = sqlx::AssertSqlSafe(format!("select count(*) from {from}"));
    sqlx::query_scalar(query).fetch_one(database).await.unwrap()
}

/// Waits until old counts are deleted.
async fn wait_for_deletion(database: &mut PgConnection) {
    eventually("the deletion of old counts", async || {
        let old = count(database, "identity.attempts where email = 'left@example.com'").await;
        (old == 0).then_some(())
    })
    .await;
}

fn assert_private(folder: &Path) {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut secret = 0;
    for file in files {
        let name = file.file_name().into_string().unwrap();
        if name.starts_with("dynamodb.sqlite")
            || ["running.json", "demo-password"].contains(&&*name)
        {
            secret += 1;
            let mode = file.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "others may use {name}: {mode:o}");
        }
    }
    assert!(secret >= 3, "{secret} files");
}

#[tokio::test]
async fn edition_uses_the_database_of_its_settings_and_leaves_it() {
    let (data, store) = (tempfile::tempdir().unwrap(), database(&[]).await);
    let settings = [("DATABASE_URL", store.url.as_str())];
    let process = Process::start_with(data.path(), &settings).await;
    let token = process.token(&reqwest::Client::new(), "seller").await;
    let product = json!({
        "sku": "A", "name": "A", "category": "things", "price": {"amount": 1, "currency": "BRL"},
    });
    let created = reqwest::Client::new().post(format!("{}/v1/products", process.url));
    created.bearer_auth(token).json(&product).send().await.unwrap().error_for_status().unwrap();
    process.terminate().await;
    assert!(!data.path().join("postgres").exists(), "it has a cluster of its own");
    let mut store = PgConnection::connect(&store.url).await.unwrap();
    assert_eq!(count(&mut store, "inventory.products").await, 1);

    // Another process may have received the messages of a shared database.
    store.execute(LEFT).await.unwrap();
    let process = Process::start_with(data.path(), &settings).await;
    wait_for_deletion(&mut store).await;
    assert_eq!(count(&mut store, "public.released").await, 0);
    process.terminate().await;
}

#[tokio::test]
async fn killed_edition_takes_up_what_it_had_received() {
    let data = tempfile::tempdir().unwrap();
    let process = Process::start(data.path()).await;
    assert_private(data.path());
    process.database().await.execute(LEFT).await.unwrap();
    process.kill().await;
    let process = Process::start(data.path()).await;
    let mut store = process.database().await;
    // The message is unreadable, and would wait for a minute.
    eventually("the dead letter", async || {
        (count(&mut store, "bus.dead_letters").await == 1).then_some(())
    })
    .await;
    assert_eq!(count(&mut store, "public.released").await, 1);
    wait_for_deletion(&mut store).await;
    process.terminate().await;
}

#[tokio::test]
async fn edition_accepts_tokens_of_the_issuer_of_its_settings_only() {
    let data = tempfile::tempdir().unwrap();
    let tokens = Tokens::new(Clock::System);
    let issuer = tokens.settings().await;
    let settings: Vec<(&str, &str)> =
        issuer.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let process = Process::start_with(data.path(), &settings).await;
    let http = reqwest::Client::new();
    let list = async |token: String| {
        let list = http.get(format!("{}/v1/products", process.url)).bearer_auth(token);
        list.send().await.unwrap().status().as_u16()
    };
    assert_eq!(list(tokens.token(UserId::from_u128(7), Role::Seller)).await, 200);
    let other = Tokens::with_key("other", Clock::System);
    assert_eq!(list(other.token(UserId::from_u128(7), Role::Seller)).await, 401);
    // The provider of the edition still issues tokens, for other services.
    assert_eq!(list(process.token(&http, "seller").await).await, 401);
    process.terminate().await;
}
