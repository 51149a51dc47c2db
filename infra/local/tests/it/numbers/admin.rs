//! Every field of every response to an operator, with its value in a situation that the test made.

use std::sync::Arc;

use axum::Router;
use serde_json::{Value, json};
use shared::bus::message::Outcome;
use shared::host::health::{self, Health, Table};
use shared::host::intake;
use shared::id::ProductId;
use testkit::Call;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::coverage::{Coverage, first_difference};
use super::drift;
use super::situation::{OPERATOR, Situation, TABLE, advance, at, traceparent_of};

/// Statuses of the health of a process; its metrics have a table of their own.
const HEALTH: [&str; 2] = ["GET /healthz", "GET /readyz"];

struct Admin {
    coverage: Coverage,
}

impl Admin {
    /// Sends a request, and asserts the whole response.
    async fn expect(
        &mut self,
        it: &Situation,
        operation: &'static str,
        call: Call,
        status: u16,
        expected: Value,
    ) {
        let response = it.operate(operation, call).await.expect(status);
        assert_eq!(first_difference(&response.json, &expected), None, "{operation}");
        self.coverage.add(operation, status, &expected);
    }
}

#[tokio::test]
async fn every_admin_field_has_its_value_in_a_situation() {
    let coverage = Coverage::of(|operation| {
        operation.path.starts_with("/v1/admin/") || HEALTH.contains(&operation.name().as_str())
    });
    let mut admin = Admin { coverage };
    admin.outbox().await;
    admin.queues().await;
    admin.reconciliations().await;
    admin.dead_letters().await;
    admin.trace().await;
    admin.health().await;
    let gaps = admin.coverage.gaps();
    assert!(gaps.is_empty(), "give these a value in this file:\n{}", gaps.join("\n"));
}

impl Admin {
    async fn outbox(&mut self) {
        let it = Situation::new().await;
        it.create_many(1, 10_000).await;
        it.publish().await;
        for nth in 1..5 {
            it.create(nth).await;
            advance(&it.clocks.api, 10_000);
        }
        it.execute(
            "insert into inventory.repair_requests (product_id, part, seen_version, requested_at)
             select id, 'product', 7, '2026-01-01Z' from inventory.products limit 3",
        )
        .await;
        let backlog = json!({"pending": 4, "oldest_committed_at": at(10_250), "repairs": 3});
        let path = "/v1/admin/outbox";
        self.expect(&it, "GET /v1/admin/outbox", Call::get(path), 200, backlog).await;
    }

    async fn queues(&mut self) {
        let it = Situation::new().await;
        for nth in 0..6 {
            it.create(nth).await;
            it.publish().await;
            advance(&it.clocks.bus, 5_000);
        }
        advance(&it.clocks.queue, 60_000);
        advance(&it.clocks.operator, 60_000);
        let first = it.queue.receive(1).await.unwrap().remove(0);
        let dead = Outcome::Dead { reason: "planted".to_owned() };
        it.queue.settle(vec![(first, dead)]).await.unwrap();
        assert_eq!(it.queue.receive(2).await.unwrap().len(), 2);
        let depth = json!({
            "queue": "catalog", "visible": 3, "in_flight": 2, "dead_letters": 1,
            "oldest_sent_at": at(6_750),
        });
        let queues = json!({"data": [depth]});
        let path = "/v1/admin/queues";
        self.expect(&it, "GET /v1/admin/queues", Call::get(path), 200, queues).await;
    }

    /// A background pass that a deep run supersedes, a run in progress and a waiting run.
    async fn reconciliations(&mut self) {
        let it = Situation::new().await;
        let (now, stopped) = (CancellationToken::new(), CancellationToken::new());
        stopped.cancel();
        let units = || {
            let counted = it.reads.take();
            let read = ["Query", "BatchGetItem"];
            read.iter().filter_map(|name| counted.get(*name)).map(|usage| usage.units).sum::<f64>()
        };
        let none = json!({
            "started_at": null, "finished_at": null, "deep": false, "requested_by": OPERATOR,
            "progress": {"buckets_done": 0, "buckets": 1024},
            "compared": 0, "missing": 0, "stale": 0, "ahead": 0, "extra": 0, "altered": 0,
            "stock": 0, "moving": 0, "repaired": 0, "oldest_divergence": null, "read_units": 0.0,
        });

        it.reconciler.once(&now).await.unwrap();
        let id: Uuid = sqlx::query_scalar("select id from sync.runs")
            .fetch_one(&it.database.pool)
            .await
            .unwrap();
        let mut background = with(
            &none,
            &json!({
                "id": id, "state": "superseded", "deep": true, "requested_at": at(10_000),
                "started_at": at(10_000), "finished_at": at(80_000), "read_units": units(),
                "progress": {"buckets_done": 8, "buckets": 1024},
            }),
        );
        background.as_object_mut().unwrap().remove("requested_by");

        advance(&it.clocks.api, 20_000);
        drift::plant(&it).await;
        it.reads.take();
        advance(&it.clocks.operator, 60_000);
        let pending = json!({"state": "pending", "deep": true, "requested_at": at(80_000)});
        let deep = self.request(&it, &with(&none, &pending)).await;
        advance(&it.clocks.reconciler, 80_000);
        it.reconciler.once(&stopped).await.unwrap();
        let running = with(&deep, &json!({"state": "running", "started_at": at(90_000)}));
        self.read(&it, &running).await;
        advance(&it.clocks.reconciler, 5_500);
        it.reconciler.once(&now).await.unwrap();
        let finished = with(
            &running,
            &json!({
                "state": "finished", "finished_at": at(95_500), "read_units": units(),
                "progress": {"buckets_done": 1024, "buckets": 1024},
                "compared": 29, "missing": 1, "stale": 2, "ahead": 3, "extra": 4, "altered": 5,
                "stock": 6, "moving": 7, "repaired": 20, "oldest_divergence": at(28_250),
            }),
        );
        self.read(&it, &finished).await;

        advance(&it.clocks.operator, 7_000);
        let requested = json!({"state": "pending", "requested_at": at(87_000)});
        let second = self.request(&it, &with(&none, &requested)).await;
        advance(&it.clocks.reconciler, 1_500);
        it.reconciler.once(&stopped).await.unwrap();
        let second = with(&second, &json!({"state": "running", "started_at": at(97_000)}));
        advance(&it.clocks.operator, 1_000);
        let requested = json!({"state": "pending", "requested_at": at(88_000)});
        let third = self.request(&it, &with(&none, &requested)).await;
        self.read(&it, &background).await;
        let runs = [third, second, finished, background];
        self.read_pages(&it, "reconciliations", &runs).await;
    }

    /// Requests a run. Its id is in the `Location` of the response.
    async fn request(&mut self, it: &Situation, expected: &Value) -> Value {
        let operation = "POST /v1/admin/reconciliations";
        let body = json!({"deep": expected["deep"]});
        let call = Call::post("/v1/admin/reconciliations").json(&body);
        let response = it.operate(operation, call).await.expect(202);
        let id = response.header("location").strip_prefix("/v1/admin/reconciliations/").unwrap();
        let expected = with(expected, &json!({"id": id}));
        assert_eq!(response.json, expected);
        self.coverage.add(operation, 202, &expected);
        expected
    }

    async fn read(&mut self, it: &Situation, expected: &Value) {
        let call =
            Call::get(&format!("/v1/admin/reconciliations/{}", expected["id"].as_str().unwrap()));
        let operation = "GET /v1/admin/reconciliations/{id}";
        self.expect(it, operation, call, 200, expected.clone()).await;
    }

    /// Reads a list in two pages: all but the last entry, and the last one.
    async fn read_pages(&mut self, it: &Situation, name: &str, entries: &[Value]) {
        let operation = format!("GET /v1/admin/{name}");
        let path = format!("/v1/admin/{name}?limit={}", entries.len() - 1);
        let first = it.operate(&operation, Call::get(&path)).await.expect(200).json;
        let cursor = first["page"]["next_cursor"].as_str().unwrap();
        let (last, others) = entries.split_last().unwrap();
        let page = json!({"next_cursor": cursor, "has_more": true});
        assert_eq!(first, json!({"data": others, "page": page}));
        self.coverage.add(&operation, 200, &first);
        let rest = it.operate(&operation, Call::get(&format!("{path}&cursor={cursor}"))).await;
        let page = json!({"next_cursor": null, "has_more": false});
        let expected = json!({"data": [last], "page": page});
        assert_eq!(rest.expect(200).json, expected);
        self.coverage.add(&operation, 200, &expected);
    }

    /// A letter that was received three times, and one that was received once.
    async fn dead_letters(&mut self) {
        let it = Situation::new().await;
        let id = it.create(0).await;
        it.publish().await;
        for _ in 0..2 {
            assert_eq!(it.queue.receive(1).await.unwrap().len(), 1);
            advance(&it.clocks.queue, 31_000);
        }
        advance(&it.clocks.bus, 8_000);
        it.set_stock(id, 9).await;
        it.publish().await;
        it.execute("update bus.messages set body = '#' || body").await;
        let body: String = sqlx::query_scalar("select body from bus.messages order by id limit 1")
            .fetch_one(&it.database.pool)
            .await
            .unwrap();
        intake::once(&it.queue, &it.clocks.intake, &it.projector).await.unwrap();

        let ids: Vec<i64> = sqlx::query_scalar("select id from bus.dead_letters order by id")
            .fetch_all(&it.database.pool)
            .await
            .unwrap();
        let (created, counted) =
            (it.event_id(id, "product", 1).await, it.event_id(id, "stock", 2).await);
        let first = json!({
            "id": ids[0], "queue": "catalog", "event_id": created, "event_type": "ProductCreated",
            "subject": id, "attempts": 3, "sent_at": at(1_750), "dead_at": at(64_000),
            "reason": "unreadable: reading an event: expected value at line 1 column 1",
        });
        let second = with(
            &first,
            &json!({
                "id": ids[1], "event_id": counted, "event_type": "StockChanged", "attempts": 1,
                "sent_at": at(9_750),
            }),
        );
        self.read_pages(&it, "dead-letters", &[first.clone(), second]).await;
        let call = Call::get(&format!("/v1/admin/dead-letters/{}", ids[0]));
        let whole = with(&first, &json!({"body": body}));
        self.expect(&it, "GET /v1/admin/dead-letters/{id}", call, 200, whole).await;

        for (operation, left) in
            [("POST /v1/admin/dead-letters/redrive", 2), ("POST /v1/admin/dead-letters/discard", 1)]
        {
            let path = operation.split(' ').nth(1).unwrap();
            let dry = Call::post(path).json(&json!({"all": true, "dry_run": true}));
            let expected = json!({"matched": left, "settled": 0, "dry_run": true});
            self.expect(&it, operation, dry, 200, expected).await;
            let one = Call::post(path).json(&json!({"all": true, "limit": 1}));
            let expected = json!({"matched": 1, "settled": 1, "dry_run": false});
            self.expect(&it, operation, one, 200, expected).await;
        }
    }

    async fn trace(&mut self) {
        let it = Situation::new().await;
        let id = it.create(0).await;
        it.publish().await;
        it.project().await;
        let operation = "GET /v1/admin/trace/{id}";
        let path = format!("/v1/admin/trace/{id}");
        let created = change(&it, id, "product", 1).await;
        let listed = with(
            &created,
            &json!({
                "change": "created",
                "hops": [
                    {"name": "requested", "at": at(0)}, {"name": "committed", "at": at(250)},
                    {"name": "published", "at": at(1_500)}, {"name": "received", "at": at(2_500)},
                    {"name": "projected", "at": at(2_875)},
                ],
                "gaps": [
                    {"name": "writing", "milliseconds": 250.0},
                    {"name": "in the outbox", "milliseconds": 1_250.0},
                    {"name": "in the queue", "milliseconds": 1_000.0},
                    {"name": "projecting", "milliseconds": 375.0},
                ],
                "state": "in the listing", "complete": true,
            }),
        );
        let whole = json!({"changes": [listed], "cut": false});
        self.expect(&it, operation, Call::get(&path), 200, whole.clone()).await;
        for other in ["event_id", "request_id"] {
            let path = format!("/v1/admin/trace/{}", created[other].as_str().unwrap());
            self.expect(&it, operation, Call::get(&path), 200, whole.clone()).await;
        }

        // The oldest of 51 changes is left out.
        let mut pending = Vec::new();
        for nth in 1..=50 {
            advance(&it.clocks.request, 125);
            advance(&it.clocks.api, 250);
            it.set_stock(id, 100 + nth).await;
            let (requested, committed) = (125 * nth, 250 + 250 * nth);
            let gap = f64::from(u32::try_from(committed - requested).unwrap());
            pending.push(with(
                &change(&it, id, "stock", nth + 1).await,
                &json!({
                    "change": "set",
                    "hops": [
                        {"name": "requested", "at": at(requested)},
                        {"name": "committed", "at": at(committed)},
                    ],
                    "gaps": [{"name": "writing", "milliseconds": gap}],
                    "state": "in the outbox", "complete": false,
                }),
            ));
        }
        let cut = json!({"changes": pending, "cut": true});
        self.expect(&it, operation, Call::get(&path), 200, cut).await;
    }

    async fn health(&mut self) {
        let it = Situation::new().await;
        let pool = &it.database.pool;
        let table = |name: &str| {
            let (client, probe) = (it.client.clone(), catalog::probe_key());
            Arc::new(Table { client, name: name.to_owned(), probe })
        };
        let router = |table_name| {
            let health = Health {
                postgres: Some(Arc::new(pool.clone())),
                dynamodb: Some(table(table_name)),
                queues: Vec::new(),
            };
            Router::from(health::routes().with_state(health))
        };
        let alive = Call::get("/healthz").send(&router(TABLE)).await.expect(200).text;
        assert_eq!(alive, "ok\n");
        self.coverage.add("GET /healthz", 200, &json!(alive));
        let mut ready = async |table, status, expected: Value| {
            let response = Call::get("/readyz").send(&router(table)).await.expect(status);
            assert_eq!(response.json, expected);
            self.coverage.add("GET /readyz", status, &expected);
        };
        ready(TABLE, 200, json!({"ready": true, "postgres": true, "dynamodb": true})).await;
        let absent = "no-such-table";
        ready(absent, 503, json!({"ready": false, "postgres": true, "dynamodb": false})).await;
        pool.close().await;
        ready(TABLE, 503, json!({"ready": false, "postgres": false, "dynamodb": true})).await;
    }
}

/// What the journal has of a change, as a trace shows it.
async fn change(it: &Situation, id: ProductId, aggregate: &str, version: i64) -> Value {
    let event = it.event_id(id, aggregate, version).await;
    let request: Uuid =
        sqlx::query_scalar("select request_id from inventory.journal where event_id = $1")
            .bind(event)
            .fetch_one(&it.database.pool)
            .await
            .unwrap();
    json!({
        "product_id": id, "aggregate": aggregate, "version": version, "event_id": event,
        "request_id": request, "traceparent": traceparent_of(request),
    })
}

/// An object with some members replaced or added.
fn with(object: &Value, members: &Value) -> Value {
    let mut object = object.clone();
    object.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    object
}
