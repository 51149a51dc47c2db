//! The lag: how long each change took from its commit to its listing, measured once.

use std::time::Duration;

use shared::contract::inventory::Event;
use shared::contract::product::Product;
use shared::host::intake::{Delivery, Handler as _};

use crate::{Catalogue, delivery, product, stock};

/// A delivered event of a product: its position, and its commit in seconds after the start of the test.
type Sent = (i64, u64);

/// What a batch has, when it is projected, and the lags that are measured.
type Step = (&'static str, u64, &'static [Sent], &'static [u64]);

const STEPS: &[Step] = &[
    ("the first event", 10, &[(1, 2)], &[8]),
    ("the same event an hour later", 3_610, &[(1, 2)], &[]),
    ("the same event with a new one", 3_620, &[(1, 2), (2, 3_617)], &[3]),
    ("a new event that was delivered twice", 3_630, &[(3, 3_625), (3, 3_625)], &[5]),
    (
        "more new events than a listing keeps hops",
        3_650,
        &[(4, 3_640), (5, 3_641), (6, 3_642), (7, 3_643), (8, 3_644), (9, 3_645)],
        &[10, 9, 8, 7, 6, 5],
    ),
    ("an event that is no longer a hop, with a new one", 7_000, &[(2, 3_617), (10, 6_999)], &[1]),
    ("a new event before an old one", 7_010, &[(11, 7_008), (9, 3_645)], &[2]),
    ("events that arrive in the wrong order", 7_030, &[(13, 7_026), (12, 7_025)], &[4]),
    ("an event that was overtaken", 7_040, &[(12, 7_025)], &[]),
    ("an event of the future", 7_050, &[(14, 7_060)], &[0]),
];

/// The sum in whole seconds and the number of measured lags.
fn measured(page: &str) -> (u64, u64) {
    let value = |name: &str| {
        let line = page.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0.0, |value| value.trim().parse::<f64>().unwrap())
    };
    let whole = |name: &str| Duration::from_secs_f64(value(name)).as_secs();
    (whole("vitrina_lag_seconds_sum "), whole("vitrina_lag_seconds_count "))
}

#[tokio::test]
async fn lag_is_measured_once_for_each_change() {
    let recorder = shared::host::metrics_recorder::build();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let recorder = recorder.handle();
    let catalogue = Catalogue::new().await;
    let start = catalogue.clock.now();
    let product = product(catalogue.ids.next(start), start);
    let sent = |(position, committed): &Sent, republished: bool| -> Delivery<Event> {
        let version = Product { version: *position, ..product.clone() }.hashed();
        let event = match position {
            1 => Event::ProductCreated { product: version, stock: stock(5, 1, start) },
            _ => Event::ProductUpdated { product: version },
        };
        let mut delivery = delivery(&event, product.id, *position, start);
        delivery.envelope.time = start + Duration::from_secs(*committed);
        delivery.envelope.republished = republished;
        delivery
    };
    let project = async |deliveries: Vec<Delivery<Event>>| {
        for result in catalogue.projector.handle(&deliveries).await {
            result.unwrap();
        }
        measured(&recorder.render())
    };
    let mut expected = (0, 0);
    for (what, at, events, lags) in STEPS {
        let left = start + Duration::from_secs(*at) - catalogue.clock.now();
        catalogue.clock.advance(left.to_std().unwrap());
        expected.0 += lags.iter().sum::<u64>();
        expected.1 += u64::try_from(lags.len()).unwrap();
        let deliveries = events.iter().map(|event| sent(event, false)).collect();
        assert_eq!(project(deliveries).await, expected, "{what}");
    }
    // A repair changes the listing, and its age is no delay.
    assert_eq!(project(vec![sent(&(15, 5), true)]).await, expected, "a repair");
    let news = vec![sent(&(16, 5), true), sent(&(17, 7_049), false)];
    expected = (expected.0 + 1, expected.1 + 1);
    assert_eq!(project(news).await, expected, "a repair and a change");
}
