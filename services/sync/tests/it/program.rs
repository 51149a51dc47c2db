//! The service's program as processes.

use serde_json::{Value, json};
use shared::contract::sync_feed::bucket_of;
use testkit::{Program, eventually};

use crate::test_bed::{OPERATOR, TABLE, TestBed};

const PROGRAM: &str = env!("CARGO_BIN_EXE_sync");

/// Starts the program in a process role, over the stores of `bed`.
async fn start(bed: &TestBed, process_role: &str) -> Program {
    let auth = bed.tokens.settings().await;
    let mut settings: Vec<(&str, &str)> =
        auth.iter().map(|(name, value)| (*name, value.as_str())).collect();
    settings.extend([
        ("VITRINA_ROLE", process_role),
        ("VITRINA_SYNC_SLICE", "0"),
        ("VITRINA_LISTINGS_TABLE", TABLE),
        ("DATABASE_URL", bed.database.url.as_str()),
        ("AWS_ENDPOINT_URL", bed.dynamo.endpoint.as_str()),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "local"),
        ("AWS_SECRET_ACCESS_KEY", "local"),
    ]);
    Program::start(PROGRAM, &settings).await
}

#[tokio::test]
async fn each_process_role_reports_its_readiness() {
    let bed = TestBed::new().await;
    for (process_role, expected, api, queue) in [
        ("api", json!({"ready": true, "postgres": true}), 401, false),
        ("reconcile", json!({"ready": true, "postgres": true, "dynamodb": true}), 404, true),
    ] {
        let program = start(&bed, process_role).await;
        let (status, ready) = program.get("/readyz").await.unwrap();
        assert_eq!(status, 200, "{process_role}: {ready}");
        assert_eq!(serde_json::from_str::<Value>(&ready).unwrap(), expected, "{process_role}");
        assert_eq!(program.get("/v1/admin/queues").await.unwrap().0, api, "{process_role}");
        let (_, metrics) = program.get("/metrics").await.unwrap();
        let has_queue = metrics.contains("vitrina_queue_visible{queue=\"catalog\"}");
        assert_eq!(has_queue, queue, "{process_role}: {metrics}");
        assert_eq!(program.terminate().await, Some(0), "{process_role}");
    }
}

#[tokio::test]
async fn process_counts_queued_messages_as_in_flight() {
    let (bed, ids) = TestBed::with_products(2).await;
    // Published and not projected.
    bed.set_stock(ids[0], 9).await;
    bed.publish().await;
    bed.remove(ids[1]).await;
    let id = bed.reconciler.request(OPERATOR, false).await.unwrap();
    bed.leave_only(id, &ids.iter().map(|id| bucket_of(*id).into()).collect::<Vec<_>>()).await;
    let program = start(&bed, "reconcile").await;
    eventually("the run", async || bed.run(id).await.finished_at).await;
    let findings = bed.run(id).await.findings;
    assert_eq!((findings.compared, findings.moving), (2, 1), "{findings:?}");
    assert_eq!((findings.differences(), findings.missing), (1, 1), "{findings:?}");
    assert_eq!(program.terminate().await, Some(0));
}
