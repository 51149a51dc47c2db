//! `GET /v1/admin/trace/{id}`: where a change is, from the request to the listing.

use std::collections::{BTreeSet, HashMap};

use axum::extract::State;
use shared::bus::dead_letters::DeadLetters;
use shared::bus::selection::Selection;
use shared::contract::routes::CATALOG_QUEUE;
use shared::http::PathId;
use shared::http::auth::Operator;
use shared::http::problem::Problem;
use shared::id::ProductId;
use uuid::Uuid;

use crate::App;
use crate::store::changes;
use crate::trace::{RecordedChange, Sightings, Trace, trace};

/// The most changes in a trace: the latest ones.
const MAX_CHANGES: u16 = 50;

/// The most dead letters to search.
const MAX_DEAD_LETTERS: i64 = 1_000;

/// Traces the changes of a product, of a request or of an event.
#[utoipa::path(
    get, path = "/v1/admin/trace/{id}", tag = "operators", security(("bearer" = [])),
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, description = "The hops of each change", body = Trace),
    ),
)]
pub(crate) async fn get_trace(
    State(app): State<App>,
    Operator(_operator): Operator,
    PathId(id): PathId<Uuid>,
) -> Result<axum::Json<Trace>, Problem> {
    // One more than is shown tells whether there are older changes.
    let mut found = changes::find(&app.pool, id, i64::from(MAX_CHANGES) + 1).await?;
    if found.is_empty() {
        return Err(Problem::not_found());
    }
    let cut = found.len() > usize::from(MAX_CHANGES);
    if cut {
        found.remove(0);
    }
    let sightings = look_up(&app, &found).await?;
    let nowhere = Sightings::default();
    let changes = found
        .iter()
        .map(|change| trace(change, sightings.get(&change.product_id).unwrap_or(&nowhere)))
        .collect();
    Ok(axum::Json(Trace { changes, cut }))
}

/// What listings, queue and dead letters show of these changes, by product.
///
/// Most changes are in their listings, which one call reads. Only for the others are the queue and
/// the dead letters searched, and then the listings again: an event that is projected during the search has
/// left the queue and shows in its listing.
async fn look_up(
    app: &App,
    found: &[RecordedChange],
) -> Result<HashMap<ProductId, Sightings>, Problem> {
    let products: BTreeSet<ProductId> = found.iter().map(|change| change.product_id).collect();
    let products: Vec<ProductId> = products.into_iter().collect();
    let mut listings = app.listings.find_whole(&products).await?;
    let mut sightings: HashMap<ProductId, Sightings> = HashMap::new();
    let elsewhere: BTreeSet<ProductId> = found
        .iter()
        .filter(|change| {
            let listing = listings.get(&change.product_id).and_then(Option::as_ref);
            !listing.is_some_and(|listing| {
                listing.hops.iter().any(|hop| hop.event_id == change.event_id)
            })
        })
        .map(|change| change.product_id)
        .collect();
    let elsewhere: Vec<ProductId> = elsewhere.into_iter().collect();
    if !elsewhere.is_empty() {
        sightings = search(&app.dead_letters, &elsewhere).await?;
        listings.extend(app.listings.find_whole(&elsewhere).await?);
    }
    for (product, listing) in listings {
        let sightings = sightings.entry(product).or_default();
        sightings.is_damaged = listing.is_none();
        sightings.listing = listing;
    }
    Ok(sightings)
}

/// What the projector's queue and its dead letters have of these products.
async fn search(
    dead_letters: &DeadLetters,
    products: &[ProductId],
) -> Result<HashMap<ProductId, Sightings>, Problem> {
    let mut sightings: HashMap<ProductId, Sightings> = HashMap::new();
    // Only the projector puts changes into listings.
    let of_catalogue = Selection { queue: Some(CATALOG_QUEUE.to_owned()), ..Selection::default() };
    match dead_letters {
        DeadLetters::Postgres(queues) => {
            let queue = queues.queue(CATALOG_QUEUE);
            for product in products {
                let waiting = Some(queue.waiting_for(product.uuid()).await?);
                let selection = Selection { subject: Some(product.uuid()), ..of_catalogue.clone() };
                let dead = dead_letters.list(&selection, 0, MAX_DEAD_LETTERS).await?;
                sightings.insert(*product, Sightings { waiting, dead, ..Sightings::default() });
            }
        }
        // SQS shows no waiting messages, and its dead letters only by receiving all of them.
        DeadLetters::Sqs(_) => {
            let all = dead_letters.list(&of_catalogue, 0, MAX_DEAD_LETTERS).await?;
            for dead_letter in all {
                let product = ProductId::from_uuid(dead_letter.subject);
                if products.contains(&product) {
                    sightings.entry(product).or_default().dead.push(dead_letter);
                }
            }
        }
    }
    Ok(sightings)
}
