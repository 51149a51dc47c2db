//! The types of events, and which parts of a product each of them changes.

use std::str::FromStr;

use super::inventory::Event;

/// The type of an event, without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    ProductCreated,
    ProductUpdated,
    ProductDeleted,
    StockChanged,
}

/// A set of the parts of a product that have separate versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    pub product: bool,
    pub stock: bool,
}

/// This build does not know the type; a newer one wrote the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the type of an event that this build knows")]
pub struct UnknownEventType;

impl EventType {
    pub const ALL: [Self; 4] =
        [Self::ProductCreated, Self::ProductUpdated, Self::ProductDeleted, Self::StockChanged];

    /// The `type` attribute of the envelope.
    pub fn name(self) -> &'static str {
        match self {
            Self::ProductCreated => "ProductCreated",
            Self::ProductUpdated => "ProductUpdated",
            Self::ProductDeleted => "ProductDeleted",
            Self::StockChanged => "StockChanged",
        }
    }

    /// The parts of a product that an event of this type changes.
    pub fn parts(self) -> Parts {
        match self {
            Self::ProductCreated => Parts::ALL,
            Self::ProductUpdated | Self::ProductDeleted => Parts { product: true, stock: false },
            Self::StockChanged => Parts { product: false, stock: true },
        }
    }
}

impl Parts {
    pub const ALL: Self = Self { product: true, stock: true };
}

impl FromStr for EventType {
    type Err = UnknownEventType;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|known| known.name() == name).ok_or(UnknownEventType)
    }
}

// A new variant of `Event` does not compile until it has a type, and so parts, here.
impl From<&Event> for EventType {
    fn from(event: &Event) -> Self {
        match event {
            Event::ProductCreated { .. } => Self::ProductCreated,
            Event::ProductUpdated { .. } => Self::ProductUpdated,
            Event::ProductDeleted { .. } => Self::ProductDeleted,
            Event::StockChanged { .. } => Self::StockChanged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::envelope::Event as _;

    #[test]
    fn names_are_those_of_the_envelope() {
        assert_eq!(EventType::ALL.map(EventType::name).as_slice(), Event::TYPES);
        for known in EventType::ALL {
            assert_eq!(known.name().parse(), Ok(known));
        }
        assert_eq!("PriceChanged".parse::<EventType>(), Err(UnknownEventType));
    }
}
