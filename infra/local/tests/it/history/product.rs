//! Model of a product: a register with a version.

use super::linearizable::Model;

/// A call about one product. `None` in `if_match` accepts any version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Create { name: String },
    Rename { name: String, if_match: Option<i64> },
    Delete { if_match: Option<i64> },
    Restore,
    Read,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Response {
    Shown {
        version: i64,
        name: String,
    },
    /// Deleted.
    Done,
    /// The product has another version than `if_match`.
    Stale,
    NotFound,
}

/// State of a product.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ProductModel {
    Absent,
    Living { version: i64, name: String },
    Deleted { version: i64, name: String },
}

impl ProductModel {
    fn shown(self) -> (Self, Response) {
        let response = match &self {
            Self::Living { version, name } => {
                Response::Shown { version: *version, name: name.clone() }
            }
            Self::Absent | Self::Deleted { .. } => Response::NotFound,
        };
        (self, response)
    }
}

impl Model for ProductModel {
    type Call = Call;
    type Response = Response;

    fn apply(&self, call: &Call) -> (Self, Response) {
        match (call, self) {
            (Call::Create { name }, Self::Absent) => {
                Self::Living { version: 1, name: name.clone() }.shown()
            }
            (
                Call::Rename { if_match: Some(expected), .. }
                | Call::Delete { if_match: Some(expected) },
                Self::Living { version, .. },
            ) if expected != version => (self.clone(), Response::Stale),
            (Call::Rename { name, .. }, Self::Living { version, name: before })
                if name != before =>
            {
                Self::Living { version: version + 1, name: name.clone() }.shown()
            }
            (Call::Delete { .. }, Self::Living { version, name }) => {
                (Self::Deleted { version: version + 1, name: name.clone() }, Response::Done)
            }
            (Call::Restore, Self::Deleted { version, name }) => {
                Self::Living { version: version + 1, name: name.clone() }.shown()
            }
            _ => self.clone().shown(),
        }
    }

    fn is_past(&self, response: &Response) -> bool {
        match (self, response) {
            (
                Self::Living { version, .. } | Self::Deleted { version, .. },
                Response::Shown { version: shown, .. },
            ) => shown < version,
            _ => false,
        }
    }
}
