//! The page that says what it costs.

use std::fmt::Write as _;

use crate::model::{Each, FREE_USERS, Line, Model, total};

const MILLION: f64 = 1e6;

/// Goals of a million, API Gateway apart.
pub(crate) const CREATES: f64 = 6.00;
pub(crate) const LISTINGS: f64 = 1.45;

pub(crate) fn write(model: &Model) -> String {
    let Model { counts, prices, .. } = model;
    let mut page = format!(
        "# What it costs\n\n\
         Written by `VITRINA_TEST_WRITE=1 cargo test -p vitrina --test cost` from calls that are counted \
         on the wire of a real run, from the list prices in [`../prices.yaml`](../prices.yaml) ({}, {}), and \
         from what [`../workloads.yaml`](../workloads.yaml) supposes of durations and months. A test fails \
         when it is out of date. Free tiers (but for users), discounts and taxes are left out.\n\n",
        prices.region, prices.currency
    );
    per_million(&mut page, model);
    counted(&mut page, model);
    months(&mut page, model);
    let _ = writeln!(
        page,
        "## What the figures rest on\n\n\
         Write and read units are what the local store says that DynamoDB would charge, index by index; \
         messages come in batches of {}, as they do under load. When it is quiet and each comes alone, a \
         million creates cost ${:.2}. Durations are supposed, and not measured on AWS. The share of \
         PostgreSQL is not in the figures for a million: its capacity is paid by the hour, used or not \
         (one ACU ${:.2} a month).\n\n\
         Each price names where it was read (three repeat what somebody read in Cognito's and Secrets Manager's \
         own tables); from memory, and read nowhere when this was written: {}.",
        model.workloads.batch,
        total(&model.propagation(&alone(&counts.create), MILLION)),
        prices.of("aurora-acu-hour", 730.0),
        prices.unsourced().join(", "),
    );
    page
}

/// The same where each event comes to the projector in a batch of its own.
pub(crate) fn alone(each: &Each) -> Each {
    // Which categories are noted is looked at once a batch.
    let looks = (1.0 - each.batches) * 0.5;
    Each { batches: 1.0, reads: each.reads + looks, ..*each }
}

fn per_million(page: &mut String, model: &Model) {
    let counts = &model.counts;
    let creates = model.propagation(&counts.create, MILLION);
    page.push_str("## A million creates, from the commit to the listing\n\n");
    table(page, &creates);
    let _ = writeln!(
        page,
        "\n{} Of the {:.0} write units six are entries in indexes; without the two over sellers, which \
         decision 0003 calls the first to go, it would be ${:.2}. Apart from that: the function that answers \
         the seller ${:.2}, API Gateway ${:.2}, the bus's archive ${:.2}.\n",
        against(total(&creates), CREATES),
        counts.create.writes,
        total(&creates) - model.prices.of("dynamodb-write-unit", 2.0 * MILLION),
        model.function("inventory-api", MILLION),
        model.prices.of("http-api-request", MILLION),
        model.archive(&counts.create, MILLION),
    );
    let listings = model.reading(&counts.listing, MILLION);
    page.push_str("## A million pages of twenty that no cache knew\n\n");
    table(page, &listings);
    let everything = total(&model.reading(&counts.listing_of_everything, MILLION));
    let _ = writeln!(
        page,
        "\n{} This is what is in stock; in and out of stock together are two queries, and cost \
         ${everything:.2}. Apart from that: API Gateway ${:.2}.\n",
        against(total(&listings), LISTINGS),
        model.prices.of("http-api-request", MILLION),
    );
}

fn against(is: f64, goal: f64) -> String {
    let how = if is <= goal { "kept" } else { "missed" };
    format!("The goal is ${goal:.2}: {how}.")
}

fn counted(page: &mut String, model: &Model) {
    let counts = &model.counts;
    page.push_str(
        "## What was counted, of one\n\n\
         | | events | bytes of them | projector | write units | read units |\n\
         |---|---|---|---|---|---|\n",
    );
    for (what, each) in [
        ("create", &counts.create),
        ("change of a price", &counts.change),
        ("sale of a piece", &counts.sale),
        ("page, in stock", &counts.listing),
        ("page, everything", &counts.listing_of_everything),
        ("product by its id", &counts.product),
    ] {
        let Each { events, event_bytes, batches, writes, reads, .. } = each;
        let _ = writeln!(
            page,
            "| {what} | {events:.0} | {event_bytes:.0} | {batches:.2} | {writes:.2} | {reads:.2} |"
        );
    }
    page.push('\n');
}

fn months(page: &mut String, model: &Model) {
    let stages = &model.workloads.stages;
    let months: Vec<Vec<Line>> = stages.iter().map(|stage| model.month(stage)).collect();
    page.push_str("## A month, in dollars\n\n");
    for stage in stages {
        let _ = writeln!(page, "- **{}**: {}.", stage.name, stage.says);
    }
    page.push_str("\n| |");
    for stage in stages {
        let _ = write!(page, " {} |", stage.name);
    }
    page.push_str("\n|---|");
    page.push_str(&"---:|".repeat(stages.len()));
    page.push('\n');
    for (row, first) in months[0].iter().enumerate() {
        let _ = write!(page, "| {} |", first.what);
        for month in &months {
            let _ = write!(page, " {:.2} |", month[row].usd);
        }
        page.push('\n');
    }
    page.push_str("| **together** |");
    for month in &months {
        let _ = write!(page, " **{:.2}** |", total(month));
    }
    page.push_str(
        "\n\nUsers are in the tier Lite, as the stack sets it. In Essentials, which a new user pool gets \
         by itself, they would be, instead:",
    );
    let dearer = |users: f64| model.prices.of("cognito-essentials-user", users);
    let paid = stages.iter().filter(|stage| stage.active_users > FREE_USERS);
    let said = paid
        .map(|stage| format!(" {} ${:.2}", stage.name, dearer(stage.active_users - FREE_USERS)));
    page.push_str(&said.collect::<Vec<_>>().join(","));
    page.push_str(".\n\n");
}

fn table(page: &mut String, lines: &[Line]) {
    page.push_str("| | $ |\n|---|---:|\n");
    for Line { what, usd } in lines {
        let _ = writeln!(page, "| {what} | {usd:.3} |");
    }
    let _ = writeln!(page, "| **together** | **{:.2}** |", total(lines));
}
