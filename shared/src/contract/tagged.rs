//! Reads an adjacently tagged enum from a known tag and content that is still JSON.
//!
//! The derived reader of a flattened field copies all content into a buffer before it looks at the
//! tag. Here the content is read straight into its type.

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::value::RawValue;

/// `{"type": .., "data": ..}`, in two parts.
pub(super) struct Tagged<'de> {
    type_name: &'de str,
    data: &'de RawValue,
    next: Field,
}

enum Field {
    Type,
    Data,
    End,
}

impl<'de> Tagged<'de> {
    pub(super) fn new(type_name: &'de str, data: &'de RawValue) -> Self {
        Self { type_name, data, next: Field::Type }
    }

    pub(super) fn read<E: DeserializeOwned>(self) -> Result<E, serde_json::Error> {
        E::deserialize(self)
    }
}

impl<'de> Deserializer<'de> for Tagged<'de> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_map(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

impl<'de> MapAccess<'de> for Tagged<'de> {
    type Error = serde_json::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Self::Error> {
        let key = match self.next {
            Field::Type => "type",
            Field::Data => "data",
            Field::End => return Ok(None),
        };
        seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, Self::Error> {
        match self.next {
            Field::Type => {
                self.next = Field::Data;
                seed.deserialize(BorrowedStrDeserializer::new(self.type_name))
            }
            Field::Data | Field::End => {
                self.next = Field::End;
                seed.deserialize(self.data)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(tag = "type", content = "data")]
    enum Signal {
        On { lumen: u32 },
        Off {},
    }

    fn read(type_name: &str, data: &str) -> Result<Signal, String> {
        let data: Box<RawValue> = serde_json::from_str(data).unwrap();
        Tagged::new(type_name, &data).read().map_err(|error: serde_json::Error| error.to_string())
    }

    #[test]
    fn tag_picks_the_variant_and_content_fills_it() {
        assert_eq!(read("On", r#"{"lumen": 7, "new": []}"#), Ok(Signal::On { lumen: 7 }));
        assert_eq!(read("Off", "{}"), Ok(Signal::Off {}));
    }

    #[test]
    fn unknown_tags_and_wrong_contents_are_errors() {
        assert!(read("Dim", "{}").unwrap_err().contains("unknown variant `Dim`"));
        assert!(read("On", "{}").unwrap_err().contains("missing field `lumen`"));
        assert!(read("On", "null").is_err());
    }
}
