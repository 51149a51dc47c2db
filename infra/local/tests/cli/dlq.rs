use std::path::Path;

use serde_json::{Value, json};
use shared::contract::routes::CATALOG_QUEUE;
use shared::id::UserId;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};
use testkit::eventually;
use uuid::Uuid;

use crate::{CommandResult, TestEdition};

/// Type and body of each planted message. No body can be parsed.
const PLANTED: [(&str, &str); 3] = [
    ("ProductCreated", "no JSON at all"),
    ("ProductUpdated", r#"{"specversion": "1.0"}"#),
    ("ProductUpdated", "{"),
];

pub(crate) async fn database(data: &Path) -> PgConnection {
    let options = PgConnectOptions::new()
        .socket(data.join("postgres/run"))
        .username("vitrina")
        .database("vitrina");
    PgConnection::connect_with(&options).await.unwrap()
}

struct DlqTest {
    edition: TestEdition,
    database: PgConnection,
}

impl DlqTest {
    /// Starts an edition and plants [`PLANTED`]. Returns once the projector has moved every message
    /// to the dead letters, in this order.
    async fn plant() -> Self {
        let edition = TestEdition::start().await;
        let database = database(edition.data.path()).await;
        let mut dlq = Self { edition, database };
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
            .execute(&mut dlq.database)
            .await
            .unwrap();
        }
        assert_eq!(dlq.wait_for(PLANTED.len()).await.len(), PLANTED.len());
        dlq
    }

    async fn list(&self, filter: &[&str], code: i32) -> Vec<Value> {
        let arguments = [&["dlq", "list", "-o", "json"], filter].concat();
        let listed = self.edition.run(&arguments).await.expect(code).json();
        listed.as_array().unwrap().clone()
    }

    /// Ids of the dead letters that match `filter`.
    async fn ids(&self, filter: &[&str]) -> Vec<i64> {
        let listed = self.list(filter, 3).await;
        listed.iter().map(|dead_letter| dead_letter["id"].as_i64().unwrap()).collect()
    }

    /// Waits until there are exactly `count` dead letters and returns them.
    async fn wait_for(&self, count: usize) -> Vec<Value> {
        eventually(&format!("{count} dead letters"), async || {
            let listed: Value = self.edition.run(&["dlq", "list", "-o", "json"]).await.json();
            Some(listed.as_array().unwrap().clone()).filter(|listed| listed.len() == count)
        })
        .await
    }

    async fn run(&self, arguments: &[&str], code: i32) -> CommandResult {
        self.edition.run(&[&["dlq"], arguments].concat()).await.expect(code)
    }

    /// Actor, action, dead letter and reason of each audit row, oldest first.
    async fn audit(&mut self) -> Vec<(String, String, i64, String)> {
        sqlx::query_as(
            "select actor, action, dead_letter_id, reason from bus.dead_letter_audit
             where at between now() - interval '1 hour' and now() order by id",
        )
        .fetch_all(&mut self.database)
        .await
        .unwrap()
    }

    /// The operator's user id, which is the subject of the operator's tokens.
    async fn operator_id(&mut self) -> String {
        let operator: UserId = sqlx::query_scalar(
            "select id from identity.users where email = 'operator@demo.vitrina.example'",
        )
        .fetch_one(&mut self.database)
        .await
        .unwrap();
        operator.to_string()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_can_be_filtered() {
    let mut dlq = DlqTest::plant().await;
    let all = dlq.ids(&[]).await;
    assert_eq!(all.len(), 3);
    assert_eq!(dlq.ids(&["--type", "ProductUpdated"]).await, all[1..]);
    assert_eq!(dlq.ids(&["--reason", "unreadable"]).await, all);
    assert_eq!(dlq.ids(&["--queue", CATALOG_QUEUE]).await, all);
    let misspelt = dlq.run(&["list", "--queue", "returns"], 1).await;
    assert!(misspelt.stderr.contains("the queues are catalog"), "{misspelt:#?}");
    let reason = dlq.list(&[], 3).await[1]["reason"].as_str().unwrap().to_owned();
    assert_eq!(dlq.ids(&["--reason", &reason]).await, all[1..2], "{reason}");
    assert!(dlq.list(&["--type", "ProductDeleted"], 0).await.is_empty());
    assert!(dlq.list(&["--older-than", "1h"], 0).await.is_empty());
    sqlx::query("update bus.dead_letters set dead_at = now() - interval '2 hours' where id = $1")
        .bind(all[2])
        .execute(&mut dlq.database)
        .await
        .unwrap();
    assert_eq!(dlq.ids(&["--older-than", "1h"]).await, all[2..]);
    assert_eq!(dlq.ids(&["--older-than", "1h", "--type", "ProductUpdated"]).await, all[2..]);
    dlq.list(&["--older-than", "1h", "--type", "ProductCreated"], 0).await;

    let text = dlq.run(&["list"], 3).await.stdout;
    assert_eq!(text.lines().count(), 4, "a header and three dead letters: {text}");
    let header: Vec<&str> = text.lines().next().unwrap().split_whitespace().collect();
    let columns = ["id", "dead", "since", "type", "product", "attempts", "reason", "queue"];
    assert_eq!(header, columns, "{text}");
    for wanted in
        ["reason", "catalog", "ProductCreated", "ProductUpdated", &all[0].to_string(), "unreadable"]
    {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
    for (id, (event_type, body)) in all.iter().zip(PLANTED) {
        let shown = dlq.run(&["show", &id.to_string()], 0).await.json();
        assert_eq!(shown["body"], json!(body));
        assert_eq!(shown["event_type"], json!(event_type));
        assert_eq!(shown["id"], json!(id));
    }
    dlq.run(&["show", "999999"], 1).await;
    let status = dlq.edition.run(&["status", "-o", "json"]).await.expect(3).json();
    assert_eq!(status["dead_letters"], json!(3));
    assert!(dlq.audit().await.is_empty(), "reading leaves no audit row");
    dlq.edition.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redrive_and_discard_settle_the_chosen_and_audit_each() {
    let mut dlq = DlqTest::plant().await;
    let before = dlq.list(&[], 3).await;
    let ids = dlq.ids(&[]).await;
    let [first, second, third] = [0, 1, 2].map(|nth| ids[nth].to_string());

    for action in ["redrive", "discard"] {
        // An empty selection must not mean all of them.
        let refused = dlq.run(&[action], 2).await;
        assert!(refused.stderr.contains("--all"), "{refused:#?}");
        dlq.run(&[action, "--dry-run"], 2).await;
        for (which, count) in [
            (&["--all"][..], 3),
            (&[&first], 1),
            (&[&first, &third], 2),
            (&["--type", "ProductUpdated"], 2),
            (&["--reason", "unreadable"], 3),
            (&["--queue", CATALOG_QUEUE], 3),
            (&["--older-than", "1h"], 0),
            (&[&first, "--type", "ProductUpdated"], 0),
        ] {
            let dry = dlq.run(&[&[action, "--dry-run"], which].concat(), 0).await;
            let would = if action == "redrive" { "redriven" } else { "discarded" };
            assert_eq!(dry.stdout, format!("{count} would be {would}\n"), "{which:?}");
        }
    }
    assert_eq!(dlq.list(&[], 3).await, before, "a dry run changes nothing");
    assert!(dlq.audit().await.is_empty());

    let operator = dlq.operator_id().await;
    let reason = |nth: usize| before[nth]["reason"].as_str().unwrap().to_owned();
    let row =
        |action: &str, nth: usize| (operator.clone(), action.to_owned(), ids[nth], reason(nth));
    let redriven = dlq.run(&["redrive", &first], 0).await;
    assert_eq!(redriven.stdout, "1 redriven\n");
    assert_eq!(dlq.audit().await, [row("redrive", 0)]);
    // The message is still unreadable, so it becomes a new dead letter.
    let again = dlq.wait_for(3).await;
    let last = again.last().unwrap();
    assert!(last["id"].as_i64().unwrap() > ids[2], "{again:#?}");
    assert_eq!(last["reason"], json!(reason(0)));
    assert_eq!(last["event_type"], json!("ProductCreated"));

    assert_eq!(dlq.run(&["discard", &second], 0).await.stdout, "1 discarded\n");
    assert_eq!(dlq.audit().await, [row("redrive", 0), row("discard", 1)]);
    assert_eq!(dlq.ids(&[]).await, [ids[2], last["id"].as_i64().unwrap()]);
    assert_eq!(dlq.run(&["discard", &second], 0).await.stdout, "0 discarded\n");

    let by_type = dlq.run(&["discard", "--type", "ProductUpdated"], 0).await;
    assert_eq!(by_type.stdout, "1 discarded\n");
    assert_eq!(dlq.audit().await[2], row("discard", 2));
    let by_reason = dlq.run(&["discard", "--reason", "no such reason"], 0).await;
    assert_eq!(by_reason.stdout, "0 discarded\n");
    assert_eq!(dlq.run(&["discard", "--all"], 0).await.stdout, "1 discarded\n");
    assert_eq!(
        dlq.audit().await.len(),
        4,
        "one audit row for each dead letter, none when nothing matched"
    );
    assert_eq!(dlq.run(&["list"], 0).await.stdout, "no dead letters\n");
    dlq.edition.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn older_than_settles_old_dead_letters_and_leaves_young_ones() {
    let mut dlq = DlqTest::plant().await;
    let ids = dlq.ids(&[]).await;
    for (action, output) in [("redrive", "1 redriven\n"), ("discard", "1 discarded\n")] {
        sqlx::query(
            "update bus.dead_letters set dead_at = now() - interval '2 hours'
             where id = (select min(id) from bus.dead_letters)",
        )
        .execute(&mut dlq.database)
        .await
        .unwrap();
        let by_age = dlq.run(&[action, "--older-than", "1h"], 0).await;
        assert_eq!(by_age.stdout, output);
    }
    let left = dlq.wait_for(2).await;
    assert_eq!(left[0]["id"], json!(ids[2]));
    dlq.edition.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redrive_with_a_rate_sends_that_many_at_a_time() {
    let mut dlq = DlqTest::plant().await;
    let ids = dlq.ids(&[]).await;
    let redriven = dlq.run(&["redrive", "--all", "--rate", "2"], 0).await;
    // Each fails again at once as a new dead letter, which this command must not redrive too.
    assert_eq!(redriven.stdout, "3 redriven\n");
    let audited: Vec<i64> = dlq.audit().await.iter().map(|row| row.2).collect();
    assert_eq!(audited, ids, "each once, oldest first");
    // All that are settled by one request have one time.
    let at_a_time: Vec<i64> =
        sqlx::query_scalar("select count(*) from bus.dead_letter_audit group by at order by at")
            .fetch_all(&mut dlq.database)
            .await
            .unwrap();
    assert_eq!(at_a_time, [2, 1]);
    dlq.run(&["redrive", "--all", "--rate", "0"], 2).await;
    dlq.edition.stop().await;
}
