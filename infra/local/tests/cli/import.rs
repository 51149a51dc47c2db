use std::fs;

use serde_json::{Value, json};

use crate::{World, run};

/// Lines 2, 3, 5 and 8 are good.
const FILE: &str = "\u{feff}Artigo;name;description;category;price;on_hand;attr:cor\r\n\
    A-1;Tênis azul;\"Para correr;\r\nou \"\"não\"\"\";shoes;129,90;5;azul\r\n\
    A-2;Bota;;shoes;1.299;5;preta\r\n\
    A-3;Chinelo;;shoes;19.9;0;\r\n\
    ;Sem código;;No Slug;10;muitos;\r\n\
    A-4;Curto;;shoes\r\n\
    A-5;Sandália;;shoes;0,05;1;\r\n";

/// Line and column of every fault, which a row may have several of.
fn places(report: &Value) -> Vec<(u64, &str)> {
    report["faults"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| (fault["line"].as_u64().unwrap(), fault["column"].as_str().unwrap_or("")))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_creates_the_good_rows_names_the_bad_ones_and_doubles_nothing() {
    let world = World::start().await;
    let file = world.data.path().join("products.csv");
    fs::write(&file, FILE).unwrap();
    let import = ["import", file.to_str().unwrap(), "--map", "Artigo=sku", "-o", "json"];

    let report = world.run(&import).await.expect(1).json();
    let counted = |report: &Value| {
        ["rows", "created", "already_there", "failed"].map(|name| report[name].as_u64().unwrap())
    };
    assert_eq!(counted(&report), [6, 3, 0, 3], "{report:#}");
    let places = places(&report);
    for place in [(4, "price"), (6, "Artigo"), (6, "category"), (6, "on_hand"), (7, "")] {
        assert!(places.contains(&place), "{place:?} in {places:?}");
    }
    assert_eq!(places.len(), 5, "{places:?}");

    let mut found: Vec<(Value, Value)> = world
        .catalogue(3)
        .await
        .into_iter()
        .map(|product| (product["name"].clone(), product["price"]["amount"].clone()))
        .collect();
    found.sort_by_key(|(name, _)| name.to_string());
    assert_eq!(
        found,
        [
            (json!("Chinelo"), json!(1990)),
            (json!("Sandália"), json!(5)),
            (json!("Tênis azul"), json!(12_990)),
        ]
    );

    let again = world.run(&import).await.expect(1).json();
    assert_eq!(counted(&again), [6, 0, 3, 3], "{again:#}");

    // The batch has another content now, and with it another key.
    fs::write(&file, FILE.replace("1.299", "1299")).unwrap();
    let mended = world.run(&import).await.expect(1).json();
    assert_eq!(counted(&mended), [6, 1, 3, 2], "{mended:#}");

    // What differs from what is there is not overwritten.
    fs::write(&file, FILE.replace("19.9", "25")).unwrap();
    let other = world.run(&import).await.expect(1).json();
    assert_eq!(counted(&other), [6, 0, 2, 4], "{other:#}");
    assert!(self::places(&other).contains(&(5, "Artigo")), "{other:#}");
    world.catalogue(4).await;
    world.stop().await;
}

#[tokio::test]
async fn a_dry_run_needs_no_edition_and_writes_nothing() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("products.csv");
    fs::write(&file, FILE).unwrap();
    let path = file.to_str().unwrap();
    let dry = ["import", path, "--map", "Artigo=sku", "--dry-run"];
    let ended = run(data.path(), &dry).await.expect(1);
    assert!(ended.stdout.contains("6 rows: 3 valid, 3 invalid; nothing was written"), "{ended:#?}");
    assert!(ended.stdout.contains("line 4, price: "), "{ended:#?}");
    let wet = ["import", path, "--map", "Artigo=sku"];
    run(data.path(), &wet).await.expect(4);
}

#[tokio::test]
async fn a_file_that_is_no_csv_in_utf_8_is_refused_with_its_line() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("products.csv");
    let dry = ["import", file.to_str().unwrap(), "--dry-run"];
    let header = b"sku,name,category,price\n".to_vec();
    for (rest, said) in [
        (&b"1,Caf\xe9,shoes,1\n"[..], "line 2, cell 2 is not in UTF-8"),
        (b"1,\"Cafe,shoes,1\n2,x,shoes,1\n", "line 2: a quote is opened and never closed"),
    ] {
        fs::write(&file, [&header, rest].concat()).unwrap();
        let ended = run(data.path(), &dry).await.expect(1);
        assert!(ended.stderr.contains(said), "{ended:#?}");
    }
    fs::write(&file, "").unwrap();
    let ended = run(data.path(), &dry).await.expect(1);
    assert!(ended.stderr.contains("is empty"), "{ended:#?}");
}
