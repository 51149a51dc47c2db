use crate::TestEdition;

#[tokio::test(flavor = "multi_thread")]
async fn load_sends_each_request_and_reports_responses_and_lag() {
    let edition = TestEdition::start().await;
    let arguments = ["load", "--rate", "50", "--seconds", "2", "--creates", "20"];
    let report =
        edition.run(&[&arguments[..], &["--output", "json"]].concat()).await.expect(0).json();
    assert_eq!(
        (&report["creates"]["answered"], &report["creates"]["refused"]),
        (&20.into(), &0.into())
    );
    assert_eq!(
        (&report["reads"]["answered"], &report["reads"]["refused"]),
        (&80.into(), &0.into())
    );
    let lag = &report["commit_to_visible"];
    assert_eq!(lag["looked_for"], 20);
    let (p50, p99) = (lag["p50_ms"].as_f64().unwrap(), lag["p99_ms"].as_f64().unwrap());
    assert!(0.0 < p50 && p50 <= p99, "{lag}");
    assert_eq!(edition.catalogue(20).await.len(), 20);

    let table = edition.run(&arguments).await.expect(0).stdout;
    for line in ["creates", "reads", "commit to visible"] {
        assert!(table.contains(line), "{table}");
    }
    edition.stop().await;
}
