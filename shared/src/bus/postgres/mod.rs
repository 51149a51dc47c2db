//! The local edition's bus and its queues, in tables of PostgreSQL.

pub mod dead_letters;
mod publish;
mod queue;
mod queues;

pub use publish::PgBus;
pub use queue::{Message, Queue, Waiting};
pub use queues::Queues;
