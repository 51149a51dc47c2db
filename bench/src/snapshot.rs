//! Data folders with many products. They are bulk-loaded once, cached, and copied for each run.
//!
//! `copy` loads the rows of PostgreSQL, and batches load the listings. Both equal what the write
//! side and the projector would have written.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use dynoxide::{Database, ImportOptions};
use shared::contract::inventory::Event;
use sqlx::postgres::PgPoolCopyExt as _;
use tempfile::TempDir;
use tokio::process::Command;
use vitrina::edition::TABLE;
use vitrina::edition::data_folder::DataFolder;

use crate::dynamo;
use crate::edition::Edition;
use crate::product::{Generated, generate};
use crate::setup::Setup;

/// Version of the loaded data. Raise it when the data changes, so that old snapshots are replaced.
const FORMAT: u32 = 2;

/// Rows in one batch.
const CHUNK: u64 = 10_000;

/// A copy of the snapshot with `products` products. Dropping the value removes it.
pub(crate) async fn copy(setup: &Setup, products: u64) -> anyhow::Result<TempDir> {
    copy_without(setup, products, None).await
}

/// A copy without listings, for the API of sellers. A full copy of a million products takes long.
pub(crate) async fn copy_rows(setup: &Setup, products: u64) -> anyhow::Result<TempDir> {
    copy_without(setup, products, Some(DataFolder::listings)).await
}

/// A copy without PostgreSQL, for the API of buyers.
pub(crate) async fn copy_listings(setup: &Setup, products: u64) -> anyhow::Result<TempDir> {
    copy_without(setup, products, Some(DataFolder::postgres)).await
}

async fn copy_without(
    setup: &Setup,
    products: u64,
    unwanted: Option<fn(&DataFolder) -> PathBuf>,
) -> anyhow::Result<TempDir> {
    let snapshot = find_or_load(setup, products).await?;
    let folder = setup.folder()?;
    setup.progress.now(&format!("copying the snapshot of {products} products"));
    let data = DataFolder::at(&snapshot)?;
    let unwanted = unwanted.map(|part| part(&data));
    for entry in std::fs::read_dir(data.path())? {
        let path = entry?.path();
        if Some(&path) != unwanted.as_ref() {
            copy_into(&path, folder.path()).await?;
        }
    }
    Ok(folder)
}

/// Copies a file or folder with its owners, since PostgreSQL may run as another user.
async fn copy_into(path: &Path, folder: &Path) -> anyhow::Result<()> {
    let mut copying = Command::new("cp");
    copying.args(["--archive", "--reflink=auto"]).arg(path).arg(folder);
    let copied = copying.status().await.context("running cp")?;
    anyhow::ensure!(copied.success(), "copying {} failed", path.display());
    Ok(())
}

async fn find_or_load(setup: &Setup, products: u64) -> anyhow::Result<PathBuf> {
    let name = format!("{products}-products-");
    let folder = setup.cache.join(format!("{name}{:016x}", content_hash()));
    if folder.exists() {
        return Ok(folder);
    }
    std::fs::create_dir_all(&setup.cache)
        .with_context(|| format!("keeping snapshots in {}", setup.cache.display()))?;
    // Removes snapshots of an older format, and unfinished ones of interrupted runs.
    for entry in std::fs::read_dir(&setup.cache)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|other| other.to_string_lossy().starts_with(&name)) {
            std::fs::remove_dir_all(path).context("removing an old snapshot")?;
        }
    }
    let begun = Instant::now();
    // Built outside the cache: if the user that PostgreSQL runs as cannot enter the cache, the cluster
    // is created elsewhere, and would be missing from the copy.
    let unfinished = setup.folder()?;
    load_rows(setup, unfinished.path(), products).await?;
    let data = DataFolder::at(unfinished.path())?;
    anyhow::ensure!(data.postgres().join("data").is_dir(), "the cluster is in another folder");
    setup.progress.now(&format!("loading {products} listings"));
    let file = data.listings();
    tokio::task::spawn_blocking(move || load_listings(&file, products)).await??;
    keep(unfinished, &folder).await?;
    let took = begun.elapsed().as_secs();
    setup.progress.now(&format!("loaded {products} products in {took} s and cached them"));
    Ok(folder)
}

/// Moves a finished snapshot into the cache atomically.
async fn keep(finished: TempDir, folder: &Path) -> anyhow::Result<()> {
    if std::fs::rename(finished.path(), folder).is_ok() {
        return Ok(());
    }
    // The cache is on another file system: copy, then rename.
    let unfinished = folder.with_extension("unfinished");
    std::fs::create_dir(&unfinished)?;
    copy_into(&finished.path().join("."), &unfinished).await?;
    std::fs::rename(&unfinished, folder).context("keeping a snapshot")
}

/// A hash of everything that determines the content of a snapshot.
fn content_hash() -> u64 {
    let mut hasher = DefaultHasher::new();
    FORMAT.hash(&mut hasher);
    for migration in inventory::MIGRATOR.iter().chain(sync::MIGRATOR.iter()) {
        migration.checksum.hash(&mut hasher);
    }
    (catalog::table::INDEXES, catalog::table::CARD).hash(&mut hasher);
    hasher.finish()
}

/// Writes a row in the text format of `copy`.
type WriteRow = fn(&Generated, &mut String) -> anyhow::Result<()>;

async fn load_rows(setup: &Setup, folder: &Path, products: u64) -> anyhow::Result<()> {
    // Starting it creates the schema and the table of listings.
    let edition = Edition::at(folder, "identity").await?;
    let tables: [(&str, &str, WriteRow); 3] = [
        (
            "products",
            "copy inventory.products (id, seller_id, sku, name, category, attributes, amount, \
             currency, status, version, content_hash, created_at, updated_at) from stdin",
            product_row,
        ),
        (
            "stock",
            "copy inventory.stock (product_id, on_hand, version, updated_at) from stdin",
            stock_row,
        ),
        (
            "journal",
            "copy inventory.journal (aggregate, aggregate_id, version, event_id, change, event, \
             actor, request_id, traceparent, requested_at, committed_at) from stdin",
            journal_row,
        ),
    ];
    for (name, statement, row) in tables {
        setup.progress.now(&format!("loading {products} rows of {name}"));
        let mut copy = edition.pool.copy_in_raw(statement).await?;
        for first in (0..products).step_by(usize::try_from(CHUNK)?) {
            let mut rows = String::new();
            for number in first..(first + CHUNK).min(products) {
                row(&generate(number), &mut rows)?;
            }
            copy.send(rows.as_bytes()).await?;
        }
        copy.finish().await?;
    }
    // The outbox must continue after the positions in the listings.
    sqlx::query("select setval(pg_get_serial_sequence('inventory.outbox', 'position'), $1)")
        .bind(i64::try_from(products)?)
        .execute(&edition.pool)
        .await?;
    sqlx::query("vacuum analyze").execute(&edition.pool).await?;
    Ok(())
}

// No value in these rows contains a tab, a line break or a backslash, so none is escaped.

fn product_row(generated: &Generated, row: &mut String) -> anyhow::Result<()> {
    let product = &generated.product;
    writeln!(
        row,
        "{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}",
        product.id,
        product.seller_id,
        product.sku,
        product.name,
        product.category,
        serde_json::to_string(&product.attributes)?,
        product.price.amount,
        product.price.currency,
        product.status.as_str(),
        product.version,
        product.content_hash.0,
        product.created_at,
        product.updated_at,
    )?;
    Ok(())
}

fn stock_row(generated: &Generated, row: &mut String) -> anyhow::Result<()> {
    let stock = &generated.stock;
    let (id, at) = (generated.product.id, stock.updated_at);
    writeln!(row, "{id}\t{}\t{}\t{at}", stock.on_hand, stock.version)?;
    Ok(())
}

fn journal_row(generated: &Generated, row: &mut String) -> anyhow::Result<()> {
    let event = Event::ProductCreated {
        product: generated.product.clone(),
        stock: generated.stock.clone(),
    };
    let at = generated.product.created_at;
    writeln!(
        row,
        "product\t{}\t1\t{}\tcreated\t{}\t{}\t{}\t00-{:032x}-0000000000000001-00\t{at}\t{at}",
        generated.product.id,
        generated.event_id,
        serde_json::to_string(&event)?,
        generated.product.seller_id,
        generated.request_id,
        generated.request_id.uuid().as_u128(),
    )?;
    Ok(())
}

/// Loads the listings into the file of the store, which no other process has open.
fn load_listings(file: &Path, products: u64) -> anyhow::Result<()> {
    let store = Database::new(file.to_str().context("the file name is not UTF-8")?)?;
    store.enable_bulk_loading()?;
    // In the order of the table: otherwise every put touches another page of the file.
    let mut order: Vec<(u16, u64)> =
        (0..products).map(|number| (generate(number).listing().bucket, number)).collect();
    order.sort_unstable();
    for chunk in order.chunks(usize::try_from(CHUNK)?) {
        let items = chunk
            .iter()
            .map(|(_, number)| dynamo::stored(&generate(*number).listing()))
            .collect::<anyhow::Result<Vec<_>>>()?;
        store.import_items(TABLE, items, ImportOptions::default())?;
    }
    store.disable_bulk_loading()?;
    Ok(())
}
