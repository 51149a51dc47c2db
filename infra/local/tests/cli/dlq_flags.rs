//! Every combination of the flags that select dead letters. The letters are planted in the table, so that
//! there is one for each combination of values, and one of a queue that this edition does not consume.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::TestEdition;
use crate::dlq::database;

/// Id, queue, type, reason and age in minutes of each letter.
const LETTERS: [(i64, &str, &str, &str, i32); 6] = [
    (1, "catalog", "ProductCreated", "timeout", 1),
    (2, "returns", "ProductCreated", "timeout", 90),
    (3, "catalog", "ProductUpdated", "timeout", 90),
    (4, "catalog", "ProductCreated", "unreadable: no JSON", 90),
    (5, "catalog", "ProductCreated", "timeout", 90),
    (6, "returns", "ProductUpdated", "unreadable: no JSON", 1),
];

/// A flag with its value, and the letters that it selects.
const FLAGS: [([&str; 2], &[i64]); 4] = [
    (["--queue", "catalog"], &[1, 3, 4, 5]),
    (["--type", "ProductCreated"], &[1, 2, 4, 5]),
    (["--reason", "timeout"], &[1, 2, 3, 5]),
    (["--older-than", "1h"], &[2, 3, 4, 5]),
];

#[tokio::test(flavor = "multi_thread")]
async fn flags_select_what_matches_all_of_them() {
    let edition = TestEdition::start().await;
    let mut database = database(edition.data.path()).await;
    for (id, queue, event_type, reason, age) in LETTERS {
        sqlx::query(
            "insert into bus.dead_letters
             values ($1, $2, $3, $4, $3, '{}', $5, 5, now(), now() - make_interval(mins => $6))",
        )
        .bind(id)
        .bind(queue)
        .bind(Uuid::from_u128(id.unsigned_abs().into()))
        .bind(event_type)
        .bind(reason)
        .bind(age)
        .execute(&mut database)
        .await
        .unwrap();
    }
    for chosen in 0..1_u32 << FLAGS.len() {
        let mut flags = Vec::new();
        let mut expected: BTreeSet<i64> = LETTERS.iter().map(|letter| letter.0).collect();
        for (nth, (flag, selected)) in FLAGS.iter().enumerate() {
            if (chosen >> nth) & 1 == 1 {
                flags.extend(flag);
                expected.retain(|id| selected.contains(id));
            }
        }
        assert!(!expected.is_empty(), "{flags:?} selects nothing");
        let listed = edition.run(&[&["dlq", "list", "-o", "json"], &flags[..]].concat()).await;
        let listed = listed.expect(3).json();
        let ids = listed.as_array().unwrap().iter().map(|letter| letter["id"].as_i64().unwrap());
        assert_eq!(
            ids.collect::<Vec<_>>(),
            expected.iter().copied().collect::<Vec<_>>(),
            "{flags:?}"
        );
        if flags.is_empty() {
            flags.push("--all");
        }
        // With an id and without one, by turns.
        let is_by_id = chosen % 2 == 1;
        if is_by_id {
            flags.extend(["5", "6"]);
            expected.retain(|id| [5, 6].contains(id));
        }
        let (action, done) =
            if chosen % 4 < 2 { ("redrive", "redriven") } else { ("discard", "discarded") };
        // Alternately with a rate and without one.
        if action == "redrive" && chosen % 8 < 4 {
            flags.extend(["--rate", "1"]);
        }
        let counted = edition.run(&[&["dlq", action, "--dry-run"], &flags[..]].concat()).await;
        let sentence = format!("{} would be {done}\n", expected.len());
        assert_eq!(counted.expect(0).stdout, sentence, "{action} {flags:?}");
    }
    let left: i64 = sqlx::query_scalar("select count(*) from bus.dead_letters")
        .fetch_one(&mut database)
        .await
        .unwrap();
    assert_eq!(left, 6, "a dry run settled some");

    // More than two pages of the API, the oldest first.
    sqlx::query(
        "insert into bus.dead_letters
         select 1000 - n, 'catalog', gen_random_uuid(), 'StockChanged', gen_random_uuid(), '{}',
                'damaged', 5, now(), now() - make_interval(days => 1, secs => n)
         from generate_series(1, 250) n",
    )
    .execute(&mut database)
    .await
    .unwrap();
    let listed = edition.run(&["dlq", "list", "--reason", "damaged", "-o", "json"]).await;
    let listed = listed.expect(3).json();
    let ids: Vec<i64> =
        listed.as_array().unwrap().iter().map(|letter| letter["id"].as_i64().unwrap()).collect();
    assert_eq!(ids, (750..1000).collect::<Vec<_>>());
    edition.stop().await;
}
