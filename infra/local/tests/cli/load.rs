use crate::{World, run};

#[tokio::test(flavor = "multi_thread")]
async fn a_load_keeps_its_rate_and_says_how_it_was_answered() {
    let world = World::start().await;
    let arguments = ["load", "--rate", "50", "--seconds", "2", "--creates", "20"];
    let seen = world.run(&[&arguments[..], &["--output", "json"]].concat()).await.expect(0).json();
    assert_eq!(
        (&seen["creates"]["answered"], &seen["creates"]["refused"]),
        (&20.into(), &0.into())
    );
    assert_eq!((&seen["reads"]["answered"], &seen["reads"]["refused"]), (&80.into(), &0.into()));
    let lag = &seen["commit_to_visible"];
    assert_eq!(lag["looked_for"], 20);
    assert!(lag["p50_ms"].as_f64().unwrap() > 0.0 && lag["p99_ms"].as_f64().unwrap() < 10_000.0);
    assert_eq!(world.catalogue(20).await.len(), 20);

    let table = world.run(&arguments).await.expect(0).stdout;
    for line in ["creates", "reads", "commit to visible"] {
        assert!(table.contains(line), "{table}");
    }
    world.stop().await;
}

#[tokio::test]
async fn without_an_edition_there_is_nothing_to_load() {
    let data = tempfile::tempdir().unwrap();
    let ended = run(data.path(), &["load"]).await.expect(4);
    assert!(ended.stderr.contains("no vitrina runs on"), "{ended:#?}");
}
