//! The queues of a table of routes.

use sqlx::PgPool;

use super::queue::Queue;
use crate::clock::Clock;
use crate::contract::routes::{self, Route};

/// Every queue of a table of routes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Queues {
    pool: PgPool,
    clock: Clock,
    names: Vec<&'static str>,
}

impl Queues {
    pub fn new(pool: PgPool, clock: Clock, routes: &[Route]) -> Self {
        Self { pool, clock, names: routes::queues(routes) }
    }

    pub(in crate::bus) fn names(&self) -> Vec<&'static str> {
        self.names.clone()
    }

    /// The queues, in the order of the routes.
    pub fn all(&self) -> Vec<Queue> {
        self.names.iter().map(|name| self.queue(name)).collect()
    }

    /// The queue with this name in the routes.
    pub fn queue(&self, name: &str) -> Queue {
        Queue::new(self.pool.clone(), self.clock.clone(), name)
    }

    pub(in crate::bus) fn pool(&self) -> &PgPool {
        &self.pool
    }
}
