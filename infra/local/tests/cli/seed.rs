use std::collections::BTreeSet;

use crate::TestEdition;

#[tokio::test(flavor = "multi_thread")]
async fn seed_lists_products_of_every_seller_and_reuses_sellers() {
    let edition = TestEdition::start().await;
    let seeded = edition.run(&["seed", "--products", "230", "--sellers", "3"]).await.expect(0);
    assert!(seeded.stdout.starts_with("230 products of 3 sellers in "), "{seeded:#?}");
    assert_eq!(seeded.stdout.lines().count(), 1, "{seeded:#?}");
    let found = edition.catalogue(230).await;
    let distinct = |field: &str| -> BTreeSet<String> {
        found.iter().map(|product| product[field].to_string()).collect()
    };
    assert_eq!(distinct("seller_id").len(), 3);
    assert!(distinct("category").len() >= 15, "{:?}", distinct("category"));
    assert_eq!(distinct("in_stock").len(), 2);

    edition.run(&["seed", "--products", "20", "--sellers", "3"]).await.expect(0);
    let sellers: BTreeSet<String> = edition
        .catalogue(250)
        .await
        .iter()
        .map(|product| product["seller_id"].to_string())
        .collect();
    assert_eq!(sellers, distinct("seller_id"), "the second run uses the same sellers");
    edition.stop().await;
}
