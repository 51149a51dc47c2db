use std::collections::BTreeSet;

use crate::{World, run};

#[tokio::test(flavor = "multi_thread")]
async fn seeded_products_of_every_seller_come_to_the_catalogue_and_a_second_run_adds() {
    let world = World::start().await;
    let seeded = world.run(&["seed", "--products", "230", "--sellers", "3"]).await.expect(0);
    assert!(seeded.stdout.starts_with("230 products of 3 sellers in "), "{seeded:#?}");
    assert_eq!(seeded.stdout.lines().count(), 1, "{seeded:#?}");
    let found = world.catalogue(230).await;
    let of_all = |field: &str| -> BTreeSet<String> {
        found.iter().map(|product| product[field].to_string()).collect()
    };
    assert_eq!(of_all("seller_id").len(), 3);
    assert!(of_all("category").len() >= 15, "{:?}", of_all("category"));
    assert_eq!(of_all("in_stock").len(), 2);

    world.run(&["seed", "--products", "20", "--sellers", "3"]).await.expect(0);
    let sellers: BTreeSet<String> =
        world.catalogue(250).await.iter().map(|product| product["seller_id"].to_string()).collect();
    assert_eq!(sellers, of_all("seller_id"), "sellers stay for the next run");
    world.stop().await;
}

#[tokio::test]
async fn without_an_edition_there_is_nothing_to_seed() {
    let data = tempfile::tempdir().unwrap();
    let ended = run(data.path(), &["seed"]).await.expect(4);
    assert!(ended.stderr.contains("no vitrina runs on"), "{ended:#?}");
    assert_eq!(ended.stdout, "");
}
