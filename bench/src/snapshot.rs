//! Data folders with many products in them: loaded in bulk once, kept, and copied for a run.
//!
//! PostgreSQL gets its rows by `copy`, the listings are put in batches into their store, both as
//! the write side and the projector would have left them.

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
use crate::product::{Made, made};
use crate::world::World;

/// Changed by whoever changes what is loaded.
const FORMAT: u32 = 2;

/// Rows that are sent at once.
const CHUNK: u64 = 10_000;

/// A copy of the snapshot with `products` products, which goes with the value. No edition runs on
/// it.
pub(crate) async fn copy(world: &World, products: u64) -> anyhow::Result<TempDir> {
    copy_without(world, products, None).await
}

/// The same without listings: what sellers work on. The whole of a million products takes a while.
pub(crate) async fn copy_rows(world: &World, products: u64) -> anyhow::Result<TempDir> {
    copy_without(world, products, Some(DataFolder::listings)).await
}

/// The same without products in PostgreSQL: what buyers look at.
pub(crate) async fn copy_listings(world: &World, products: u64) -> anyhow::Result<TempDir> {
    copy_without(world, products, Some(DataFolder::postgres)).await
}

async fn copy_without(
    world: &World,
    products: u64,
    unwanted: Option<fn(&DataFolder) -> PathBuf>,
) -> anyhow::Result<TempDir> {
    let snapshot = find_or_load(world, products).await?;
    let folder = world.folder()?;
    world.watch.now(&format!("copying the snapshot of {products} products"));
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

/// Owners and all: PostgreSQL may have to run as another user.
async fn copy_into(path: &Path, folder: &Path) -> anyhow::Result<()> {
    let mut copying = Command::new("cp");
    copying.args(["--archive", "--reflink=auto"]).arg(path).arg(folder);
    let copied = copying.status().await.context("running cp")?;
    anyhow::ensure!(copied.success(), "copying {} failed", path.display());
    Ok(())
}

async fn find_or_load(world: &World, products: u64) -> anyhow::Result<PathBuf> {
    let name = format!("{products}-products-");
    let folder = world.cache.join(format!("{name}{:016x}", shape()));
    if folder.exists() {
        return Ok(folder);
    }
    std::fs::create_dir_all(&world.cache)
        .with_context(|| format!("keeping snapshots in {}", world.cache.display()))?;
    // Those of another shape are of no use any more, nor is what a run left that was ended.
    for entry in std::fs::read_dir(&world.cache)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|other| other.to_string_lossy().starts_with(&name)) {
            std::fs::remove_dir_all(path).context("removing an old snapshot")?;
        }
    }
    let begun = Instant::now();
    // Not where it is kept: the user that PostgreSQL runs as may not get through to there, and the
    // cluster would lie somewhere else, where no copy has it.
    let made = world.folder()?;
    load_rows(world, made.path(), products).await?;
    let data = DataFolder::at(made.path())?;
    anyhow::ensure!(data.postgres().join("data").is_dir(), "the cluster lies somewhere else");
    world.watch.now(&format!("loading {products} listings"));
    let file = data.listings();
    tokio::task::spawn_blocking(move || load_listings(&file, products)).await??;
    keep(made, &folder).await?;
    let took = begun.elapsed().as_secs();
    world.watch.now(&format!("loaded {products} products in {took} s; they are kept"));
    Ok(folder)
}

/// Moves what was made to where it is kept, whole or not at all.
async fn keep(made: TempDir, folder: &Path) -> anyhow::Result<()> {
    if std::fs::rename(made.path(), folder).is_ok() {
        return Ok(());
    }
    // It is another file system.
    let unfinished = folder.with_extension("unfinished");
    std::fs::create_dir(&unfinished)?;
    copy_into(&made.path().join("."), &unfinished).await?;
    std::fs::rename(&unfinished, folder).context("keeping a snapshot")
}

/// A number that changes with whatever a snapshot consists of.
fn shape() -> u64 {
    let mut hasher = DefaultHasher::new();
    FORMAT.hash(&mut hasher);
    for migration in inventory::MIGRATOR.iter().chain(sync::MIGRATOR.iter()) {
        migration.checksum.hash(&mut hasher);
    }
    (catalog::table::INDEXES, catalog::table::CARD).hash(&mut hasher);
    hasher.finish()
}

/// Writes a row as `copy` reads it.
type WriteRow = fn(&Made, &mut String) -> anyhow::Result<()>;

async fn load_rows(world: &World, folder: &Path, products: u64) -> anyhow::Result<()> {
    // Its start makes the schema and the table of listings.
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
        world.watch.now(&format!("loading {products} rows of {name}"));
        let mut copy = edition.pool.copy_in_raw(statement).await?;
        for first in (0..products).step_by(usize::try_from(CHUNK)?) {
            let mut rows = String::new();
            for number in first..(first + CHUNK).min(products) {
                row(&made(number), &mut rows)?;
            }
            copy.send(rows.as_bytes()).await?;
        }
        copy.finish().await?;
    }
    // The listings have seen that many positions.
    sqlx::query("select setval(pg_get_serial_sequence('inventory.outbox', 'position'), $1)")
        .bind(i64::try_from(products)?)
        .execute(&edition.pool)
        .await?;
    sqlx::query("vacuum analyze").execute(&edition.pool).await?;
    Ok(())
}

// No value in these rows has a tab, a line break or a backslash.

fn product_row(made: &Made, row: &mut String) -> anyhow::Result<()> {
    let product = &made.product;
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

fn stock_row(made: &Made, row: &mut String) -> anyhow::Result<()> {
    let stock = &made.stock;
    let (id, at) = (made.product.id, stock.updated_at);
    writeln!(row, "{id}\t{}\t{}\t{at}", stock.on_hand, stock.version)?;
    Ok(())
}

fn journal_row(made: &Made, row: &mut String) -> anyhow::Result<()> {
    let event = Event::ProductCreated { product: made.product.clone(), stock: made.stock.clone() };
    let at = made.product.created_at;
    writeln!(
        row,
        "product\t{}\t1\t{}\tcreated\t{}\t{}\t{}\t00-{:032x}-0000000000000001-00\t{at}\t{at}",
        made.product.id,
        made.event_id,
        serde_json::to_string(&event)?,
        made.product.seller_id,
        made.request_id,
        made.request_id.as_u128(),
    )?;
    Ok(())
}

/// Puts the listings into the file of the store, which nobody else has open.
fn load_listings(file: &Path, products: u64) -> anyhow::Result<()> {
    let store = Database::new(file.to_str().context("the file's name is no text")?)?;
    store.enable_bulk_loading()?;
    // By bucket, as they lie in the table: otherwise every put touches another page.
    let mut order: Vec<(u16, u64)> =
        (0..products).map(|number| (made(number).listing().bucket, number)).collect();
    order.sort_unstable();
    for some in order.chunks(usize::try_from(CHUNK)?) {
        let items = some
            .iter()
            .map(|(_, number)| dynamo::stored(&made(*number).listing()))
            .collect::<anyhow::Result<Vec<_>>>()?;
        store.import_items(TABLE, items, ImportOptions::default())?;
    }
    store.disable_bulk_loading()?;
    Ok(())
}
