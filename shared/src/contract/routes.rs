//! The routes from events to queues.
//!
//! [`ROUTES`] is the single source: the bus of the local edition and the description of the events
//! read it, and the AWS stack creates its rules from `routes.json`, which a test compares with it.

use serde_json::{Value, json};

use super::envelope::Event;
use super::inventory;

/// The queue of the projector in the catalogue.
pub const CATALOG_QUEUE: &str = "catalog";

/// Every route of Vitrina.
pub const ROUTES: &[Route] = &[Route {
    queue: CATALOG_QUEUE,
    source: <inventory::Event as Event>::SOURCE,
    // The projector ignores and counts a type that it does not know yet.
    types: Types::All,
}];

/// A route from a producer's events to a queue. An event enters a queue once, however many routes
/// match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    pub queue: &'static str,
    /// The `source` attribute of the events.
    pub source: &'static str,
    pub types: Types,
}

/// The `type` attributes that a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Types {
    /// All types of the source, including future ones.
    All,
    Only(&'static [&'static str]),
}

impl Route {
    pub fn takes(&self, source: &str, event_type: &str) -> bool {
        let takes_type = match self.types {
            Types::All => true,
            Types::Only(types) => types.contains(&event_type),
        };
        takes_type && self.source == source
    }

    /// The pattern of the rule of EventBridge that matches the same events.
    pub fn event_pattern(&self) -> Value {
        let mut pattern = json!({"source": [event_bridge_source(self.source)]});
        if let Types::Only(types) = self.types {
            pattern["detail-type"] = json!(types);
        }
        pattern
    }
}

/// The queues of `routes`, each once, in the order of their first route.
pub fn queues(routes: &[Route]) -> Vec<&'static str> {
    let mut queues = Vec::new();
    for route in routes {
        if !queues.contains(&route.queue) {
            queues.push(route.queue);
        }
    }
    queues
}

/// The queues that get an event.
pub fn queues_of(routes: &[Route], source: &str, event_type: &str) -> Vec<&'static str> {
    let taking: Vec<Route> =
        routes.iter().filter(|route| route.takes(source, event_type)).copied().collect();
    queues(&taking)
}

/// The commands of `E` that are not routed to exactly one queue.
pub fn misrouted_commands<E: Event>(routes: &[Route]) -> Vec<&'static str> {
    let queues = |command: &str| queues_of(routes, E::SOURCE, command).len();
    E::COMMANDS.iter().copied().filter(|command| queues(command) != 1).collect()
}

/// `routes.json`: the rules of EventBridge, each with the queue that it feeds.
pub fn document(routes: &[Route]) -> Value {
    let rule = |route: &Route| json!({"queue": route.queue, "eventPattern": route.event_pattern()});
    json!({"rules": routes.iter().map(rule).collect::<Vec<_>>()})
}

/// The name of a source on EventBridge: with dots instead of slashes, as in the sources of AWS.
pub fn event_bridge_source(source: &str) -> String {
    source.replace('/', ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOP: &str = "test/shop";

    const TWO_QUEUES: &[Route] = &[
        Route { queue: "all", source: SHOP, types: Types::All },
        Route { queue: "sales", source: SHOP, types: Types::Only(&["Sold"]) },
        Route { queue: "sales", source: SHOP, types: Types::Only(&["Sold", "Refunded"]) },
    ];

    #[test]
    fn event_goes_once_to_each_queue_that_takes_it() {
        assert_eq!(queues_of(TWO_QUEUES, SHOP, "Sold"), ["all", "sales"]);
        assert_eq!(queues_of(TWO_QUEUES, SHOP, "Refunded"), ["all", "sales"]);
        assert_eq!(queues_of(TWO_QUEUES, SHOP, "Opened"), ["all"]);
        assert!(queues_of(TWO_QUEUES, "test/other", "Sold").is_empty());
    }

    /// The name is part of the names of settings and of resources on AWS.
    #[test]
    fn queue_name_is_of_lower_case_letters_digits_and_hyphens() {
        for queue in queues(ROUTES) {
            let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(queue.chars().all(is_allowed), "{queue}");
        }
    }

    #[test]
    fn rule_of_eventbridge_matches_what_the_route_takes() {
        assert_eq!(TWO_QUEUES[0].event_pattern(), json!({"source": ["test.shop"]}));
        let sales = json!({"source": ["test.shop"], "detail-type": ["Sold"]});
        assert_eq!(TWO_QUEUES[1].event_pattern(), sales);
    }

    #[test]
    fn rules_on_aws_are_those_of_the_table() {
        let stored: Value = serde_json::from_str(include_str!("routes.json")).unwrap();
        let current = document(ROUTES);
        assert_eq!(stored, current, "write this to routes.json:\n{current:#}");
    }

    #[test]
    fn catalogue_gets_every_event_of_inventory_alone() {
        for event_type in inventory::Event::TYPES {
            let queues = queues_of(ROUTES, inventory::Event::SOURCE, event_type);
            assert_eq!(queues, [CATALOG_QUEUE]);
        }
        assert!(queues_of(ROUTES, "vitrina/orders", "ProductCreated").is_empty());
        assert_eq!(event_bridge_source(inventory::Event::SOURCE), "vitrina.inventory");
        assert!(misrouted_commands::<inventory::Event>(ROUTES).is_empty());
    }
}
