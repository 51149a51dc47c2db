//! Which fields of the described responses have been seen with a telling value.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::openapi::{DOCUMENT, OPERATIONS, Operation};

/// The kinds of object in the responses of some operations, with the instances seen.
#[derive(Default)]
pub(super) struct Coverage {
    objects: BTreeMap<String, Object>,
    /// Operations with their statuses that have no response yet.
    unanswered: BTreeSet<(String, String)>,
}

#[derive(Default)]
struct Object {
    /// Paths of scalar fields, with their types.
    fields: BTreeMap<String, &'static Value>,
    instances: Vec<BTreeMap<String, Value>>,
}

/// The parts of an object schema, with those of its nested objects.
#[derive(Default)]
struct Parts {
    fields: BTreeMap<String, &'static Value>,
    /// Paths of arrays of objects, with the name and the schema of an element.
    arrays: BTreeMap<String, (String, &'static Value)>,
}

impl Coverage {
    /// Of the described responses, except for problems, of the operations that `is_wanted`.
    pub(super) fn of(is_wanted: impl Fn(&Operation) -> bool) -> Self {
        let mut coverage = Self::default();
        for operation in OPERATIONS.iter().filter(|operation| is_wanted(operation)) {
            for (status, response) in operation.responses() {
                let Some(schema) = schema_of(response) else { continue };
                coverage.unanswered.insert((operation.name(), status.clone()));
                coverage.describe(&name_of(schema, &operation.name()), schema);
            }
        }
        coverage
    }

    fn describe(&mut self, name: &str, schema: &'static Value) {
        if self.objects.contains_key(name) {
            return;
        }
        let parts = Parts::of(name, schema);
        self.objects.entry(name.to_owned()).or_default().fields = parts.fields;
        for (element, schema) in parts.arrays.values() {
            self.describe(element, schema);
        }
    }

    /// Adds a response that a test has compared with what it expects.
    pub(super) fn add(&mut self, operation: &str, status: u16, body: &Value) {
        let status = status.to_string();
        let found = OPERATIONS.iter().find(|described| described.name() == operation).unwrap();
        let schema = schema_of(&found.responses()[&status]).unwrap();
        self.unanswered.remove(&(operation.to_owned(), status));
        self.add_object(&name_of(schema, operation), schema, body);
    }

    fn add_object(&mut self, name: &str, schema: &'static Value, body: &Value) {
        let parts = Parts::of(name, schema);
        let value = |path: &String| {
            // A body that is not an object is its own only field.
            let mut parts = path.split('.').filter(|part| !part.is_empty());
            parts.try_fold(body, |body, part| body.get(part))
        };
        let seen =
            parts.fields.keys().filter_map(|path| Some((path.clone(), value(path)?.clone())));
        self.objects.get_mut(name).unwrap().instances.push(seen.collect());
        for (path, (element, schema)) in &parts.arrays {
            for body in value(path).and_then(Value::as_array).into_iter().flatten() {
                self.add_object(element, schema, body);
            }
        }
    }

    /// Everything that the responses seen so far leave open.
    pub(super) fn gaps(&self) -> Vec<String> {
        let unanswered = self.unanswered.iter();
        let mut gaps: Vec<String> =
            unanswered.map(|(operation, status)| format!("{operation} {status}: never")).collect();
        for (name, object) in &self.objects {
            object.add_gaps(name, &mut gaps);
        }
        gaps
    }
}

impl Object {
    fn add_gaps(&self, name: &str, gaps: &mut Vec<String>) {
        for (field, schema) in &self.fields {
            let values = self.instances.iter().filter_map(|instance| instance.get(field));
            let values: Vec<&Value> = values.collect();
            if !values.iter().any(|value| is_telling(value)) {
                gaps.push(format!(
                    "{name}.{field}: never has a value that an empty one differs from"
                ));
            }
            for variant in schema["enum"].as_array().into_iter().flatten() {
                if !values.contains(&variant) {
                    gaps.push(format!("{name}.{field}: is never {variant}"));
                }
            }
            // If two fields are always equal, exchanging them would not show.
            for (other, _) in self.fields.range(field.clone()..).skip(1) {
                let may_be_exchanged = kind(schema) == kind(self.fields[other]);
                let differ = |it: &BTreeMap<String, Value>| match (it.get(field), it.get(other)) {
                    (Some(a), Some(b)) => a != b && !a.is_null() && !b.is_null(),
                    _ => false,
                };
                if may_be_exchanged && !self.instances.iter().any(differ) {
                    gaps.push(format!("{name}: {field} and {other} are never different"));
                }
            }
        }
    }
}

impl Parts {
    fn of(name: &str, schema: &'static Value) -> Self {
        let mut parts = Self::default();
        parts.add(name, "", resolve(schema));
        parts
    }

    fn add(&mut self, name: &str, path: &str, schema: &'static Value) {
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.add(name, path, resolve(part));
        }
        let Some(properties) = schema["properties"].as_object() else {
            assert!(schema["allOf"].is_array() || schema["type"] != "object", "{name} {path}");
            if schema["allOf"].is_null() {
                self.fields.insert(path.to_owned(), schema);
            }
            return;
        };
        for (property, schema) in properties {
            let path =
                if path.is_empty() { property.clone() } else { format!("{path}.{property}") };
            let resolved = resolve(schema);
            assert!(resolved["oneOf"].is_null() && resolved["anyOf"].is_null(), "{name}.{path}");
            if resolved["type"] == "array" {
                let items = &resolved["items"];
                let element = name_of(items, &format!("{name}.{path}"));
                self.arrays.insert(path, (element, items));
            } else {
                self.add(name, &path, resolved);
            }
        }
    }
}

/// The schema of a response with a JSON body or a text, but not of a problem.
fn schema_of(response: &'static Value) -> Option<&'static Value> {
    let contents = response["content"].as_object()?;
    let (_, content) = contents.iter().find(|(kind, _)| *kind != "application/problem+json")?;
    Some(&content["schema"])
}

fn resolve(schema: &'static Value) -> &'static Value {
    match schema["$ref"].as_str() {
        Some(target) => DOCUMENT.pointer(target.trim_start_matches('#')).unwrap(),
        None => schema,
    }
}

fn name_of(schema: &Value, otherwise: &str) -> String {
    let target = schema["$ref"].as_str().and_then(|target| target.rsplit('/').next());
    target.unwrap_or(otherwise).to_owned()
}

/// Fields of one kind can be exchanged without a change of the form.
fn kind(schema: &Value) -> String {
    let is_null = |kind: &Value| kind == "null";
    let types = match &schema["type"] {
        Value::Array(types) => types.iter().find(|kind| !is_null(kind)).unwrap(),
        one => one,
    };
    let number = ["integer", "number"].iter().any(|kind| types == kind);
    let format = if number { &Value::Null } else { &schema["format"] };
    format!("{} {format}", if number { "number" } else { types.as_str().unwrap_or_default() })
}

/// Whether a value differs from what a forgotten one would be.
fn is_telling(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

/// The first place at which two values differ, with both.
pub(super) fn first_difference(found: &Value, expected: &Value) -> Option<String> {
    let at = |place: String, found: Option<&Value>, expected: Option<&Value>| {
        if found == expected {
            return None;
        }
        let inner = found.zip(expected).and_then(|(a, b)| first_difference(a, b));
        Some(inner.map_or_else(
            || format!("{place}: {found:?} instead of {expected:?}"),
            |inner| format!("{place}.{inner}"),
        ))
    };
    match (found, expected) {
        (Value::Object(a), Value::Object(b)) => {
            let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            names.into_iter().find_map(|name| at(name.clone(), a.get(name), b.get(name)))
        }
        (Value::Array(a), Value::Array(b)) => {
            (0..a.len().max(b.len())).find_map(|nth| at(nth.to_string(), a.get(nth), b.get(nth)))
        }
        _ => (found != expected).then(|| format!("{found} instead of {expected}")),
    }
}

#[test]
fn difference_is_named_by_its_place() {
    use serde_json::json;
    let (a, b) = (json!({"a": [1, {"b": 2}], "c": null}), json!({"a": [1, {"b": 3}], "c": null}));
    assert_eq!(first_difference(&a, &a), None);
    assert_eq!(first_difference(&a, &b).as_deref(), Some("a.1.b.2 instead of 3"));
    assert!(first_difference(&json!({"a": null}), &json!({})).is_some());
    assert!(first_difference(&json!([1]), &json!([1, 2])).is_some());
}

#[test]
fn coverage_names_fields_that_are_empty_equal_or_unseen() {
    use serde_json::json;
    let outbox = "GET /v1/admin/outbox";
    let mut coverage = Coverage::of(|operation| operation.name() == outbox);
    assert!(coverage.gaps().contains(&format!("{outbox} 200: never")), "{:?}", coverage.gaps());
    coverage.add(outbox, 200, &json!({"pending": 3, "repairs": 3, "oldest_committed_at": null}));
    let gaps = coverage.gaps();
    assert_eq!(gaps.len(), 2, "{gaps:?}");
    assert!(gaps[0].contains("Backlog.oldest_committed_at: never has"), "{gaps:?}");
    assert!(gaps[1].contains("pending and repairs are never different"), "{gaps:?}");
    let time = "2027-01-01T00:00:00Z";
    coverage.add(outbox, 200, &json!({"pending": 3, "repairs": 4, "oldest_committed_at": time}));
    assert_eq!(coverage.gaps(), Vec::<String>::new());
}
