//! Every combination of the filters of dead letters, in the list and in the body of every action. The
//! filters and actions come from the API description, so that a new one fails until it has a row.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value, json};
use testkit::Call;
use uuid::Uuid;

use crate::test_bed::{DEAD_LETTERS, OPERATOR, TestBed};

const TYPES: [&str; 2] = ["ProductCreated", "StockChanged"];
const REASONS: [&str; 2] = ["unreadable: not JSON", "timeout after 5 attempts"];

/// A planted dead letter. Each combination of values is there once.
#[derive(Clone, Copy, Debug)]
struct Letter {
    id: i64,
    queue: &'static str,
    event_type: &'static str,
    reason: &'static str,
    /// In seconds.
    age: i64,
}

fn letters() -> Vec<Letter> {
    let mut letters = Vec::new();
    for queue in ["catalog", "returns"] {
        for event_type in TYPES {
            for reason in REASONS {
                for age in [10, 1_000] {
                    // The order of the ids is not that of the values: 7 and 16 have no common factor.
                    let id = i64::try_from(letters.len() * 7 % 16 + 1).unwrap();
                    letters.push(Letter { id, queue, event_type, reason, age });
                }
            }
        }
    }
    letters.sort_by_key(|letter| letter.id);
    letters
}

/// A filter: its name in the API, a value for it, and which letters match.
type Choice = (&'static str, Value, fn(&Letter) -> bool);

/// For each filter, absent or one of its values.
fn choices(ids: bool) -> Vec<Vec<Choice>> {
    let mut all: Vec<Vec<Choice>> = vec![
        vec![("queue", json!("catalog"), |letter| letter.queue == "catalog")],
        vec![
            ("type", json!("ProductCreated"), |letter| letter.event_type == "ProductCreated"),
            ("type", json!("StockChanged"), |letter| letter.event_type == "StockChanged"),
            ("type", json!("Stock"), |_| false),
        ],
        vec![
            ("reason", json!("not JSON"), |letter| letter.reason.contains("not JSON")),
            ("reason", json!("timeout"), |letter| letter.reason.contains("timeout")),
        ],
        vec![
            ("older_than", json!(0), |letter| letter.age > 0),
            ("older_than", json!(100), |letter| letter.age > 100),
        ],
    ];
    if ids {
        all.push(vec![
            ("ids", json!([1, 2, 3, 4, 5, 99]), |letter| letter.id <= 5),
            ("ids", json!([]), |_| false),
        ]);
    }
    all
}

/// Every combination of the choices, with the letters that match all of them.
fn combinations(ids: bool) -> Vec<(Map<String, Value>, Vec<i64>)> {
    let mut combinations: Vec<(Map<String, Value>, Vec<Letter>)> = vec![(Map::new(), letters())];
    for filter in choices(ids) {
        let mut longer = Vec::new();
        for (body, matching) in &combinations {
            longer.push((body.clone(), matching.clone()));
            for (name, value, matches) in &filter {
                let mut body = body.clone();
                body.insert((*name).to_owned(), value.clone());
                let matching = matching.iter().copied().filter(matches).collect();
                longer.push((body, matching));
            }
        }
        combinations = longer;
    }
    let ids = |matching: Vec<Letter>| matching.iter().map(|letter| letter.id).collect();
    combinations.into_iter().map(|(body, matching)| (body, ids(matching))).collect()
}

/// Replaces all dead letters, messages and audit by the planted letters.
async fn plant(bed: &TestBed) {
    let pool = &bed.database.pool;
    let clear = "delete from bus.dead_letters; delete from bus.messages;
                 delete from bus.dead_letter_audit";
    sqlx::raw_sql(clear).execute(pool).await.unwrap();
    for letter in letters() {
        let uuid = Uuid::from_u128(u128::try_from(letter.id).unwrap());
        sqlx::query(
            "insert into bus.dead_letters values ($1, $2, $3, $4, $3, '{}', $5, 5, $6, $6)",
        )
        .bind(letter.id)
        .bind(letter.queue)
        .bind(uuid)
        .bind(letter.event_type)
        .bind(letter.reason)
        .bind(bed.clock.now() - Duration::from_secs(letter.age.unsigned_abs()))
        .execute(pool)
        .await
        .unwrap();
    }
}

async fn ids(bed: &TestBed, statement: &'static str) -> Vec<i64> {
    sqlx::query_scalar(statement).fetch_all(&bed.database.pool).await.unwrap()
}

const LEFT: &str = "select id from bus.dead_letters order by id";
/// The id of a planted letter is the end of that of its event.
const SENT: &str = "select ('x' || right(event_id::text, 8))::bit(32)::bigint
                    from bus.messages order by 1";

#[test]
fn every_filter_and_action_of_dead_letters_has_a_row() {
    let api = serde_json::to_value(sync::routes().to_openapi()).unwrap();
    let names = |choices: Vec<Vec<Choice>>| -> BTreeSet<String> {
        choices.iter().map(|choices| choices[0].0.to_owned()).collect()
    };
    let listed = api["paths"][DEAD_LETTERS]["get"]["parameters"].as_array().unwrap();
    let listed: BTreeSet<String> =
        listed.iter().map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect();
    let mut expected = names(choices(false));
    expected.extend(["limit", "cursor"].map(ToOwned::to_owned));
    assert_eq!(listed, expected);

    let body = &api["components"]["schemas"]["DeadLetterSelection"]["properties"];
    let selected: BTreeSet<String> = body.as_object().unwrap().keys().cloned().collect();
    let mut expected = names(choices(true));
    expected.extend(["all", "limit", "dry_run"].map(ToOwned::to_owned));
    assert_eq!(selected, expected);

    let prefix = format!("{DEAD_LETTERS}/");
    let paths = api["paths"].as_object().unwrap().iter();
    let actions: Vec<&str> = paths
        .filter(|(_, methods)| methods.get("post").is_some())
        .filter_map(|(path, _)| path.strip_prefix(&prefix))
        .collect();
    assert_eq!(actions, ACTIONS);
}

const ACTIONS: [&str; 2] = ["discard", "redrive"];

#[tokio::test]
async fn list_has_what_matches_every_filter_of_a_combination() {
    let bed = TestBed::new().await;
    plant(&bed).await;
    for (filters, expected) in combinations(false) {
        let query: Vec<String> = filters
            .iter()
            .map(|(name, value)| {
                let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
                format!("{name}={}", text.replace(' ', "%20"))
            })
            .collect();
        let query = query.join("&");
        let call = Call::get(&format!("{DEAD_LETTERS}?limit=100&{query}"));
        let listed = bed.ask_as_operator(call).await.expect(200);
        let letters = listed.json["data"].as_array().unwrap().iter();
        let ids: Vec<i64> = letters.map(|letter| letter["id"].as_i64().unwrap()).collect();
        assert_eq!(ids, expected, "{query}");
    }
}

#[tokio::test]
async fn action_settles_what_matches_every_field_of_a_combination() {
    let bed = TestBed::new().await;
    let everything: Vec<i64> = letters().iter().map(|letter| letter.id).collect();
    plant(&bed).await;
    let mut seen = BTreeSet::new();
    for (mut selection, matching) in combinations(true) {
        selection.insert("all".to_owned(), json!(selection.is_empty()));
        // What matches is the same for many combinations; the effect of each set is tried once.
        let is_new = seen.insert(matching.clone());
        for limit in [None, Some(3)] {
            let mut expected = matching.clone();
            if let Some(limit) = limit {
                selection.insert("limit".to_owned(), json!(limit));
                expected.truncate(limit);
            } else {
                selection.remove("limit");
            }
            for action in ACTIONS {
                let what = format!("{action} {selection:?}");
                let mut settle = async |dry_run: bool| {
                    selection.insert("dry_run".to_owned(), json!(dry_run));
                    let call = Call::post(&format!("{DEAD_LETTERS}/{action}"));
                    let call = call.json(&json!(selection));
                    let settled = bed.ask_as_operator(call).await.expect(200).json;
                    let count = if dry_run { 0 } else { expected.len() };
                    let expected =
                        json!({"matched": expected.len(), "settled": count, "dry_run": dry_run});
                    assert_eq!(settled, expected, "{what}");
                };
                settle(true).await;
                assert_eq!(ids(&bed, LEFT).await, everything, "{what}");
                if !is_new {
                    continue;
                }
                settle(false).await;
                let left: Vec<i64> =
                    everything.iter().copied().filter(|id| !expected.contains(id)).collect();
                assert_eq!(ids(&bed, LEFT).await, left, "{what}");
                let sent = if action == "redrive" { expected.clone() } else { vec![] };
                assert_eq!(ids(&bed, SENT).await, sent, "{what}");
                let audited =
                    expected.iter().map(|id| (OPERATOR.to_string(), action.to_owned(), *id));
                assert_eq!(bed.audit().await, audited.collect::<Vec<_>>(), "{what}");
                plant(&bed).await;
            }
        }
    }
    assert!(seen.len() > 10, "{}", seen.len());
}
