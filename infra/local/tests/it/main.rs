//! The whole edition, from a seller's request to a buyer's listing.

mod contract;
mod house;
mod whole_path;
