//! The interface of inventory for reconciliation: what it may read, and how it requests a repair.
//!
//! Inventory publishes the view `inventory.sync_feed` and functions, among them
//! `inventory.republish`, `inventory.pending`, `inventory.oldest_pending` and
//! `inventory.categories_in_use`. Its `grants.sql` grants them to [`DATABASE_ROLE`], so that
//! reconciliation cannot reach a table.

use crate::id::ProductId;

/// The database role that may use this contract. The role of reconciliation is a member.
pub const DATABASE_ROLE: &str = "vitrina_sync_feed";

/// The number of buckets that products are spread over.
pub const BUCKETS: u16 = 1024;

/// The bucket of a product: the last ten bits of its id, which are random in a `UUIDv7`.
pub fn bucket_of(id: ProductId) -> u16 {
    let uuid = id.uuid();
    let bytes = uuid.as_bytes();
    (u16::from(bytes[14] & 0b11) << 8) | u16::from(bytes[15])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_is_the_last_ten_bits_of_the_id() {
        assert_eq!(bucket_of(ProductId::from_u128(0)), 0);
        assert_eq!(bucket_of(ProductId::from_u128(0xffff)), 1023);
        assert_eq!(bucket_of(ProductId::from_u128(0x1234_0400)), 0);
        assert_eq!(bucket_of(ProductId::from_u128(0x1234_0305)), 0x305);
    }
}
