use std::fs;

use serde_json::{Value, json};

use crate::{TestEdition, run};

/// The rows that begin at lines 2, 5 and 8 are valid.
const FILE: &str = "\u{feff}Artigo;name;description;category;price;on_hand;attr:cor\r\n\
    A-1;Tênis azul;\"Para correr;\r\nou \"\"não\"\"\";shoes;129,90;5;azul\r\n\
    A-2;Bota;;shoes;1.299;5;preta\r\n\
    A-3;Chinelo;;shoes;19.9;0;\r\n\
    ;Sem código;;No Slug;10;muitos;\r\n\
    A-4;Curto;;shoes\r\n\
    A-5;Sandália;;shoes;0,05;1;\r\n";

/// Line and column of every fault. A row may have several.
fn fault_positions(report: &Value) -> Vec<(u64, &str)> {
    report["faults"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| (fault["line"].as_u64().unwrap(), fault["column"].as_str().unwrap_or("")))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn import_creates_valid_rows_once_and_locates_the_faults() {
    let edition = TestEdition::start().await;
    let file = edition.data.path().join("products.csv");
    fs::write(&file, FILE).unwrap();
    let import = ["import", file.to_str().unwrap(), "--map", "Artigo=sku", "-o", "json"];

    let report = edition.run(&import).await.expect(1).json();
    let counts = |report: &Value| {
        ["rows", "created", "already_there", "failed"].map(|name| report[name].as_u64().unwrap())
    };
    assert_eq!(counts(&report), [6, 3, 0, 3], "{report:#}");
    let positions = fault_positions(&report);
    for position in [(4, "price"), (6, "Artigo"), (6, "category"), (6, "on_hand"), (7, "")] {
        assert!(positions.contains(&position), "{position:?} in {positions:?}");
    }
    assert_eq!(positions.len(), 5, "{positions:?}");

    let mut found: Vec<(Value, Value)> = edition
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

    let again = edition.run(&import).await.expect(1).json();
    assert_eq!(counts(&again), [6, 0, 3, 3], "{again:#}");

    // The batch's idempotency key is computed from its content, so the corrected batch has a new key.
    fs::write(&file, FILE.replace("1.299", "1299")).unwrap();
    let fixed = edition.run(&import).await.expect(1).json();
    assert_eq!(counts(&fixed), [6, 1, 3, 2], "{fixed:#}");

    // An existing product that differs from its row is reported and not overwritten.
    fs::write(&file, FILE.replace("19.9", "25")).unwrap();
    let other = edition.run(&import).await.expect(1).json();
    assert_eq!(counts(&other), [6, 0, 2, 4], "{other:#}");
    assert!(fault_positions(&other).contains(&(5, "Artigo")), "{other:#}");
    edition.catalogue(4).await;

    // Of two rows with one SKU, the first is created and the second is at fault, wherever they are.
    let double = "sku,name,category,price\nB-1,One,hats,1\nB-2,Two,hats,2\nB-1,Other,hats,3\n";
    fs::write(&file, double).unwrap();
    let import = ["import", file.to_str().unwrap(), "-o", "json"];
    let report = edition.run(&import).await.expect(1).json();
    assert_eq!(counts(&report), [3, 2, 0, 1], "{report:#}");
    assert_eq!(fault_positions(&report), [(4, "sku")], "{report:#}");
    edition.catalogue(6).await;
    edition.stop().await;
}

#[tokio::test]
async fn import_dry_run_needs_no_edition_and_writes_nothing() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("products.csv");
    fs::write(&file, FILE).unwrap();
    let path = file.to_str().unwrap();
    let dry = ["import", path, "--map", "Artigo=sku", "--dry-run"];
    let result = run(data.path(), &dry).await.expect(1);
    assert!(
        result.stdout.contains("6 rows: 3 valid, 3 invalid; nothing was written"),
        "{result:#?}"
    );
    assert!(result.stdout.contains("line 4, price: "), "{result:#?}");
    let import = ["import", path, "--map", "Artigo=sku"];
    run(data.path(), &import).await.expect(4);
}

#[tokio::test]
async fn import_refuses_a_malformed_file_and_names_the_line() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("products.csv");
    let dry = ["import", file.to_str().unwrap(), "--dry-run"];
    let header = b"sku,name,category,price\n".to_vec();
    for (rest, message) in [
        (&b"1,Caf\xe9,shoes,1\n"[..], "line 2, cell 2 is not in UTF-8"),
        (b"1,\"Cafe,shoes,1\n2,x,shoes,1\n", "line 2: a quote is opened and never closed"),
    ] {
        fs::write(&file, [&header, rest].concat()).unwrap();
        let result = run(data.path(), &dry).await.expect(1);
        assert!(result.stderr.contains(message), "{result:#?}");
    }
    fs::write(&file, "").unwrap();
    let result = run(data.path(), &dry).await.expect(1);
    assert!(result.stderr.contains("is empty"), "{result:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn import_is_in_the_currency_and_for_the_seller_of_its_flags() {
    let edition = TestEdition::start().await;
    edition.run(&["seed", "--products", "2", "--sellers", "2"]).await.expect(0);
    let demo = edition.run(&["token", "seller"]).await.expect(0).stdout;
    let password = fs::read_to_string(edition.data.path().join("demo-password")).unwrap();
    let login = json!({"email": "seller2@demo.vitrina.example", "password": password.trim()});
    let http = reqwest::Client::new();
    let response = http.post(format!("{}/v1/auth/login", edition.running.url)).json(&login).send();
    let tokens: Value = response.await.unwrap().error_for_status().unwrap().json().await.unwrap();
    let second = tokens["access_token"].as_str().unwrap();

    let file = edition.data.path().join("products.csv");
    let path = file.to_str().unwrap();
    let cases: [(&str, &[&str], &str, &str, i64); 4] = [
        ("A", &[], demo.trim(), "EUR", 50_000),
        ("B", &["--currency", "JPY"], demo.trim(), "JPY", 500),
        ("C", &["--seller-email", "seller2@demo.vitrina.example"], second, "EUR", 50_000),
        ("D", &["--token", second, "--currency", "BRL"], second, "BRL", 50_000),
    ];
    for (sku, flags, seller, currency, amount) in cases {
        fs::write(&file, format!("sku,name,category,price\n{sku},Shoe,shoes,500\n")).unwrap();
        edition.run(&[&["import", path], flags].concat()).await.expect(0);
        let products = format!("{}/v1/products?sku={sku}", edition.running.url);
        let found = http.get(products).bearer_auth(seller).send().await.unwrap();
        let found: Value = found.error_for_status().unwrap().json().await.unwrap();
        let price = json!({"amount": amount, "currency": currency});
        assert_eq!(found["data"][0]["price"], price, "{flags:?}: {found:#}");
    }
    // A wrong password is not that of the demo users.
    let email = ["import", path, "--seller-email", "seller2@demo.vitrina.example"];
    edition.run(&[&email[..], &["--password", "a wrong password"]].concat()).await.expect(1);

    // Yen have no decimals. A dry run judges prices as the import will.
    fs::write(&file, "sku,name,category,price\nE,Shoe,shoes,12.50\n").unwrap();
    let dry = ["import", path, "--dry-run"];
    edition.run(&dry).await.expect(0);
    edition.run(&[&dry[..], &["--currency", "JPY"]].concat()).await.expect(1);
    let running = edition.data.path().join("running.json");
    let in_yen = fs::read_to_string(&running).unwrap().replace("EUR", "JPY");
    fs::write(&running, in_yen).unwrap();
    edition.run(&dry).await.expect(1);
    edition.stop().await;
}
