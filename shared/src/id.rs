//! Ids, one type for each kind, so that two swapped arguments do not compile. They are an input,
//! like time.
//!
//! In SQL, JSON and DynamoDB an id is its UUID and nothing else. A kind is converted into another
//! only by [`SellerId::of_user`].

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

/// An id of any kind.
///
/// A plain [`Uuid`] is one, too: an id whose kind is not known before it is looked at, such as the
/// subject of an event.
pub trait Id: Copy {
    /// Wraps a UUID.
    fn from_uuid(uuid: Uuid) -> Self;
}

impl Id for Uuid {
    fn from_uuid(uuid: Uuid) -> Self {
        uuid
    }
}

/// Declares kinds of ids. OpenAPI fields name the type themselves (`#[schema(value_type = Uuid)]`): the
/// kinds have no `ToSchema`, because a derived one would replace `format: uuid` by a reference.
macro_rules! ids {
    ($($(#[doc = $doc:literal])+ $name:ident;)+) => {$(
        $(#[doc = $doc])+
        #[derive(
            Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
            sqlx::Type,
        )]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// The nil id, all of whose bits are zero. The default.
            pub const fn nil() -> Self {
                Self(Uuid::nil())
            }

            /// Wraps a UUID from a place that has one type for every id.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The id with these 128 bits, for tests.
            pub const fn from_u128(bits: u128) -> Self {
                Self(Uuid::from_u128(bits))
            }

            /// The UUID, for a place that has one type for every id.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl Id for $name {
            fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                read(text).ok_or(InvalidId)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                Uuid::inline_schema()
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                Uuid::schema_name()
            }

            fn schema_id() -> std::borrow::Cow<'static, str> {
                Uuid::schema_id()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                Uuid::json_schema(generator)
            }
        }
    )+};
}

ids! {
    /// A product, and the listing and the stock of it.
    ///
    /// The kinds cannot take each other's place:
    ///
    /// ```
    /// use shared::id::{ProductId, SellerId};
    ///
    /// fn find(seller: SellerId, product: ProductId) {}
    /// find(SellerId::from_u128(1), ProductId::from_u128(2));
    /// ```
    ///
    /// ```compile_fail,E0308
    /// use shared::id::{ProductId, SellerId};
    ///
    /// fn find(seller: SellerId, product: ProductId) {}
    /// find(ProductId::from_u128(2), SellerId::from_u128(1));
    /// ```
    ///
    /// There are no implicit conversions, only those with a name:
    ///
    /// ```
    /// use shared::id::{SellerId, UserId};
    ///
    /// let seller: SellerId = SellerId::of_user(UserId::from_u128(2));
    /// ```
    ///
    /// ```compile_fail,E0277
    /// use shared::id::{SellerId, UserId};
    ///
    /// let seller: SellerId = UserId::from_u128(2).into();
    /// ```
    ProductId;

    /// A seller: the owner of products. See [`SellerId::of_user`].
    SellerId;

    /// A user: the subject of a token, and the actor of a change.
    UserId;

    /// A change of a product or stock. Every event that announces the change has the same id.
    EventId;

    /// A request of a client, or the work that was done without one.
    RequestId;

    /// A log-in and the refresh tokens that continue it.
    SessionId;

    /// A run of reconciliation.
    RunId;

    /// The right of one worker to compare a bucket, until it expires.
    LeaseId;
}

impl SellerId {
    /// The seller that a user with the role seller acts for. Each user sells on its own account, so
    /// both have the same UUID.
    pub const fn of_user(user: UserId) -> Self {
        Self(user.0)
    }
}

/// A user in the role of a seller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seller {
    /// The owner of the products.
    pub id: SellerId,
    /// The actor of every change, and the owner of the idempotency keys.
    pub user_id: UserId,
}

impl Seller {
    pub const fn of_user(user_id: UserId) -> Self {
        Self { id: SellerId::of_user(user_id), user_id }
    }
}

/// The text is not a valid UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a valid UUID")]
pub struct InvalidId;

/// A source of new ids: `UUIDv7` (RFC 9562), which sort by creation time.
#[derive(Clone, Debug, Default)]
pub enum Ids {
    /// Random, from a generator per thread that the operating system seeds.
    #[default]
    System,
    /// The same sequence for the same seed.
    Seeded(Arc<Mutex<StdRng>>),
}

impl Ids {
    pub fn seeded(seed: u64) -> Self {
        Self::Seeded(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// Makes an id with the timestamp `now`.
    pub fn next<T: Id>(&self, now: DateTime<Utc>) -> T {
        let mut random = [0; 10];
        match self {
            Self::System => rand::rng().fill_bytes(&mut random),
            Self::Seeded(rng) => {
                rng.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut random);
            }
        }
        let millis = u64::try_from(now.timestamp_millis()).unwrap_or(0);
        T::from_uuid(Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }
}

/// Parses an id in its hyphenated form of 36 characters. Other UUID notations (`urn:uuid:`, braces,
/// no hyphens) are refused, so that each resource has one URL.
pub fn read<T: Id>(text: &str) -> Option<T> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten().map(T::from_uuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "019b0000-0000-7000-8000-000000000007";

    #[test]
    fn ids_sort_by_creation_time() {
        let ids = Ids::seeded(7);
        let earlier: EventId = ids.next(DateTime::from_timestamp_millis(1_000).unwrap());
        let later: EventId = ids.next(DateTime::from_timestamp_millis(1_001).unwrap());
        assert!(earlier < later);
        assert_eq!(earlier.uuid().get_version_num(), 7);
    }

    #[test]
    fn only_the_hyphenated_form_is_parsed() {
        let id = Uuid::from_u128(0x019b_0000_0000_7000_8000_0000_0000_0007);
        assert_eq!(read(TEXT), Some(id));
        assert_eq!(TEXT.parse(), Ok(ProductId::from_uuid(id)));
        let simple = TEXT.replace('-', "");
        for other in [format!("urn:uuid:{TEXT}"), format!("{{{TEXT}}}"), simple, String::new()] {
            assert_eq!(read::<Uuid>(&other), None, "{other}");
            assert_eq!(other.parse::<ProductId>(), Err(InvalidId), "{other}");
        }
    }

    #[test]
    fn same_seed_gives_same_ids() {
        let now = DateTime::from_timestamp_millis(1_000).unwrap();
        let first = |seed| Ids::seeded(seed).next::<RequestId>(now);
        assert_eq!(first(7), first(7));
        assert_ne!(first(7), first(8));
    }

    /// What every kind has in common with its UUID: text, JSON, and the schema of the JSON.
    macro_rules! assert_written_as_uuid {
        ($($name:ident)+) => {$(
            let id: $name = TEXT.parse().unwrap();
            assert_eq!(format!("{id} {id:?}"), format!("{TEXT} {TEXT}"));
            assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{TEXT}\""));
            assert_eq!(serde_json::from_str::<$name>(&format!("\"{TEXT}\"")).unwrap(), id);
            assert_eq!(schemars::schema_for!($name), schemars::schema_for!(Uuid));
            assert_eq!(size_of::<$name>(), size_of::<Uuid>());
        )+};
    }

    #[test]
    fn every_kind_is_written_as_its_uuid() {
        assert_written_as_uuid! {
            ProductId SellerId UserId EventId RequestId SessionId RunId LeaseId
        }
    }

    #[test]
    fn seller_has_the_uuid_of_its_user() {
        let user: UserId = TEXT.parse().unwrap();
        assert_eq!(SellerId::of_user(user).uuid(), user.uuid());
    }
}
