use std::path::Path;

use serde_json::{Value, json};
use shared::contract::routes::CATALOG_QUEUE;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{DEADLINE, Ended, World, run};

/// A message of each of these types and bodies is planted, none of which anybody can read.
const PLANTED: [(&str, &str); 3] = [
    ("ProductCreated", "no JSON at all"),
    ("ProductUpdated", r#"{"specversion": "1.0"}"#),
    ("ProductUpdated", "{"),
];

async fn database(data: &Path) -> PgConnection {
    let options = PgConnectOptions::new()
        .socket(data.join("postgres/run"))
        .username("vitrina")
        .database("vitrina");
    PgConnection::connect_with(&options).await.unwrap()
}

struct Letters {
    world: World,
    database: PgConnection,
}

impl Letters {
    /// An edition whose projector has buried everything in [`PLANTED`], in this order.
    async fn plant() -> Self {
        let world = World::start().await;
        let database = database(world.data.path()).await;
        let mut letters = Self { world, database };
        for (nth, (event_type, body)) in PLANTED.into_iter().enumerate() {
            sqlx::query(
                "insert into bus.messages
                     (queue, event_id, event_type, subject, body, sent_at, visible_at)
                 values ($1, $2, $3, $2, $4, now(), now())",
            )
            .bind(CATALOG_QUEUE)
            .bind(Uuid::from_u128(nth as u128 + 1))
            .bind(event_type)
            .bind(body)
            .execute(&mut letters.database)
            .await
            .unwrap();
        }
        assert_eq!(letters.buried(PLANTED.len()).await.len(), PLANTED.len());
        letters
    }

    async fn list(&self, which: &[&str], code: i32) -> Vec<Value> {
        let arguments = [&["dlq", "list", "-o", "json"], which].concat();
        let listed = self.world.run(&arguments).await.expect(code).json();
        listed.as_array().unwrap().clone()
    }

    /// Numbers of the letters that fit.
    async fn ids(&self, which: &[&str]) -> Vec<i64> {
        let listed = self.list(which, 3).await;
        listed.iter().map(|letter| letter["id"].as_i64().unwrap()).collect()
    }

    /// All letters, as soon as there are `count`.
    async fn buried(&self, count: usize) -> Vec<Value> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let listed: Value = self.world.run(&["dlq", "list", "-o", "json"]).await.json();
            let listed = listed.as_array().unwrap();
            if listed.len() == count {
                return listed.clone();
            }
            assert!(Instant::now() < deadline, "{count} letters are not buried: {listed:#?}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    async fn dlq(&self, arguments: &[&str], code: i32) -> Ended {
        self.world.run(&[&["dlq"], arguments].concat()).await.expect(code)
    }

    /// Who did what with which letter, in order, since this test began.
    async fn audit(&mut self) -> Vec<(String, String, i64, String)> {
        sqlx::query_as(
            "select actor, action, dead_letter_id, reason from bus.dead_letter_audit
             where at between now() - interval '5 minutes' and now() order by id",
        )
        .fetch_all(&mut self.database)
        .await
        .unwrap()
    }

    /// What the tokens of the operator say that he is called.
    async fn operator(&mut self) -> String {
        let operator: Uuid = sqlx::query_scalar(
            "select id from identity.users where email = 'operator@demo.vitrina.example'",
        )
        .fetch_one(&mut self.database)
        .await
        .unwrap();
        operator.to_string()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_and_shown_by_what_is_known_of_them() {
    let mut letters = Letters::plant().await;
    let all = letters.ids(&[]).await;
    assert_eq!(all.len(), 3);
    assert_eq!(letters.ids(&["--type", "ProductUpdated"]).await, all[1..]);
    assert_eq!(letters.ids(&["--reason", "unreadable"]).await, all);
    let reason = letters.list(&[], 3).await[1]["reason"].as_str().unwrap().to_owned();
    assert_eq!(letters.ids(&["--reason", &reason]).await, all[1..2], "{reason}");
    assert!(letters.list(&["--type", "ProductDeleted"], 0).await.is_empty());
    assert!(letters.list(&["--older-than", "1h"], 0).await.is_empty());
    sqlx::query("update bus.dead_letters set dead_at = now() - interval '2 hours' where id = $1")
        .bind(all[2])
        .execute(&mut letters.database)
        .await
        .unwrap();
    assert_eq!(letters.ids(&["--older-than", "1h"]).await, all[2..]);
    assert_eq!(letters.ids(&["--older-than", "1h", "--type", "ProductUpdated"]).await, all[2..]);
    letters.list(&["--older-than", "1h", "--type", "ProductCreated"], 0).await;

    let text = letters.dlq(&["list"], 3).await.stdout;
    assert_eq!(text.lines().count(), 4, "a head and three letters: {text}");
    for wanted in ["reason", "ProductCreated", "ProductUpdated", &all[0].to_string(), "unreadable"]
    {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
    for (id, (event_type, body)) in all.iter().zip(PLANTED) {
        let shown = letters.dlq(&["show", &id.to_string()], 0).await.json();
        assert_eq!(shown["body"], json!(body));
        assert_eq!(shown["event_type"], json!(event_type));
        assert_eq!(shown["id"], json!(id));
    }
    letters.dlq(&["show", "999999"], 1).await;
    let status = letters.world.run(&["status", "-o", "json"]).await.expect(3).json();
    assert_eq!(status["dead_letters"], json!(3));
    assert!(letters.audit().await.is_empty(), "who only looks leaves no row");
    letters.world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_is_redriven_dies_again_one_that_is_discarded_is_gone_and_each_has_its_row() {
    let mut letters = Letters::plant().await;
    let before = letters.list(&[], 3).await;
    let ids = letters.ids(&[]).await;
    let [first, second, third] = [0, 1, 2].map(|nth| ids[nth].to_string());

    for action in ["redrive", "discard"] {
        // Nothing is not everything.
        let refused = letters.dlq(&[action], 2).await;
        assert!(refused.stderr.contains("--all"), "{refused:#?}");
        letters.dlq(&[action, "--dry-run"], 2).await;
        for (which, count) in [
            (&["--all"][..], 3),
            (&[&first], 1),
            (&[&first, &third], 2),
            (&["--type", "ProductUpdated"], 2),
            (&["--reason", "unreadable"], 3),
            (&["--older-than", "1h"], 0),
            (&[&first, "--type", "ProductUpdated"], 0),
        ] {
            let dry = letters.dlq(&[&[action, "--dry-run"], which].concat(), 0).await;
            let would = if action == "redrive" { "redriven" } else { "discarded" };
            assert_eq!(dry.stdout, format!("{count} would be {would}\n"), "{which:?}");
        }
    }
    assert_eq!(letters.list(&[], 3).await, before, "a dry run changes nothing");
    assert!(letters.audit().await.is_empty());

    let operator = letters.operator().await;
    let reason = |nth: usize| before[nth]["reason"].as_str().unwrap().to_owned();
    let row =
        |action: &str, nth: usize| (operator.clone(), action.to_owned(), ids[nth], reason(nth));
    let redriven = letters.dlq(&["redrive", &first], 0).await;
    assert_eq!(redriven.stdout, "1 redriven\n");
    assert_eq!(letters.audit().await, [row("redrive", 0)]);
    // It is as unreadable as before, and another letter then.
    let again = letters.buried(3).await;
    let last = again.last().unwrap();
    assert!(last["id"].as_i64().unwrap() > ids[2], "{again:#?}");
    assert_eq!(last["reason"], json!(reason(0)));
    assert_eq!(last["event_type"], json!("ProductCreated"));

    assert_eq!(letters.dlq(&["discard", &second], 0).await.stdout, "1 discarded\n");
    assert_eq!(letters.audit().await, [row("redrive", 0), row("discard", 1)]);
    assert_eq!(letters.ids(&[]).await, [ids[2], last["id"].as_i64().unwrap()]);
    assert_eq!(letters.dlq(&["discard", &second], 0).await.stdout, "0 discarded\n");

    let by_type = letters.dlq(&["discard", "--type", "ProductUpdated"], 0).await;
    assert_eq!(by_type.stdout, "1 discarded\n");
    assert_eq!(letters.audit().await[2], row("discard", 2));
    let by_reason = letters.dlq(&["discard", "--reason", "no such reason"], 0).await;
    assert_eq!(by_reason.stdout, "0 discarded\n");
    assert_eq!(letters.dlq(&["discard", "--all"], 0).await.stdout, "1 discarded\n");
    assert_eq!(letters.audit().await.len(), 4, "a row for each letter, and none for none");
    assert_eq!(letters.dlq(&["list"], 0).await.stdout, "no dead letters\n");
    letters.world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_of_a_certain_age_are_redriven_and_discarded_and_younger_ones_stay() {
    let mut letters = Letters::plant().await;
    let ids = letters.ids(&[]).await;
    for (action, said) in [("redrive", "1 redriven\n"), ("discard", "1 discarded\n")] {
        sqlx::query(
            "update bus.dead_letters set dead_at = now() - interval '2 hours'
             where id = (select min(id) from bus.dead_letters)",
        )
        .execute(&mut letters.database)
        .await
        .unwrap();
        let by_age = letters.dlq(&[action, "--older-than", "1h"], 0).await;
        assert_eq!(by_age.stdout, said);
    }
    let left = letters.buried(2).await;
    assert_eq!(left[0]["id"], json!(ids[2]));
    letters.world.stop().await;
}

#[tokio::test]
async fn without_an_edition_there_are_no_dead_letters_to_look_at() {
    let data = tempfile::tempdir().unwrap();
    run(data.path(), &["dlq", "list"]).await.expect(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_are_redriven_at_a_rate_go_bit_by_bit_and_each_once() {
    let mut letters = Letters::plant().await;
    let begun = Instant::now();
    let redriven = letters.dlq(&["redrive", "--all", "--rate", "2"], 0).await;
    // They die again at once, and are not taken for letters that are still to be redriven.
    assert_eq!(redriven.stdout, "3 redriven\n");
    assert!(begun.elapsed() >= std::time::Duration::from_secs(1), "two, and a second later one");
    assert_eq!(letters.audit().await.len(), 3);
    letters.dlq(&["redrive", "--all", "--rate", "0"], 2).await;
    letters.world.stop().await;
}
