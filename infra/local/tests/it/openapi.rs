//! Every answer is held against the description of the API: its status, its content type and its
//! body. A test that sends through [`send`] tests the description as well as what it is about.

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use jsonschema::Validator;
use reqwest::RequestBuilder;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::{Map, Value, json};
use vitrina::edition;

/// The description that the edition serves.
pub(crate) static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::to_value(edition::openapi()).unwrap());

/// What is described of one method of one address.
pub(crate) static OPERATIONS: LazyLock<Vec<Operation>> = LazyLock::new(|| {
    let mut operations = Vec::new();
    for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
        for (method, described) in item.as_object().unwrap() {
            let method = method.to_uppercase();
            operations.push(Operation { method, path: path.clone(), described });
        }
    }
    operations
});

static VALIDATORS: LazyLock<HashMap<String, Validator>> = LazyLock::new(|| {
    let mut validators = HashMap::new();
    for operation in OPERATIONS.iter() {
        for response in operation.responses().values() {
            for content in response["content"].as_object().into_iter().flat_map(Map::values) {
                let schema = &content["schema"];
                validators.entry(schema.to_string()).or_insert_with(|| validator(schema));
            }
        }
    }
    validators
});

pub(crate) struct Operation {
    pub(crate) method: String,
    /// With names in braces.
    pub(crate) path: String,
    pub(crate) described: &'static Value,
}

/// An answer, read whole, that is as it is described.
#[derive(Debug)]
pub(crate) struct Answer {
    /// What was asked for, if that is described.
    pub(crate) operation: Option<&'static Operation>,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    /// Null where the body is no JSON.
    pub(crate) json: Value,
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl Operation {
    /// `GET /v1/products/{id}`
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    pub(crate) fn responses(&self) -> &'static Map<String, Value> {
        self.described["responses"].as_object().unwrap()
    }

    /// The statuses that it may be answered with for what it is asked.
    pub(crate) fn statuses(&self) -> impl Iterator<Item = u16> {
        self.responses().keys().filter_map(|status| status.parse().ok())
    }

    pub(crate) fn is_secured(&self) -> bool {
        self.described.get("security").is_some()
    }

    pub(crate) fn takes_body(&self) -> bool {
        self.described.get("requestBody").is_some()
    }

    /// Whether it has a parameter in this place.
    pub(crate) fn takes(&self, place: &str) -> bool {
        self.parameters().any(|parameter| parameter["in"] == place)
    }

    pub(crate) fn takes_header(&self, name: &str) -> bool {
        self.parameters().any(|parameter| parameter["name"] == name)
    }

    fn parameters(&self) -> impl Iterator<Item = &'static Value> {
        self.described.get("parameters").and_then(Value::as_array).into_iter().flatten()
    }

    /// Whether an address is one of this operation's. Names in braces stand for anything.
    fn has_path(&self, path: &str) -> bool {
        let (own, asked) = (self.path.split('/'), path.split('/'));
        own.clone().count() == asked.clone().count()
            && own.zip(asked).all(|(own, asked)| own.starts_with('{') || own == asked)
    }
}

/// The operation that a request is for.
fn find(method: &str, path: &str) -> Option<&'static Operation> {
    // Where an address with a name and one without would do, the latter is meant.
    let named = |operation: &&Operation| operation.path.matches('{').count();
    let path = OPERATIONS.iter().filter(|o| o.has_path(path)).min_by_key(named)?.path.as_str();
    OPERATIONS.iter().find(|operation| operation.path == path && operation.method == method)
}

/// Sends a request to the edition. Panics where it is not answered, or not as it is described.
pub(crate) async fn send(request: RequestBuilder) -> Answer {
    try_send(request).await.unwrap()
}

/// The same, for an edition that may be gone.
pub(crate) async fn try_send(request: RequestBuilder) -> Result<Answer, reqwest::Error> {
    let (client, request) = request.build_split();
    let request = request?;
    let (method, path) = (request.method().to_string(), request.url().path().to_owned());
    let response = client.execute(request).await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await?;
    let json = serde_json::from_str(&text).unwrap_or_default();
    let operation = find(&method, &path);
    let answer = Answer { operation, status, headers, text, json };
    if let Err(fault) = check(&answer) {
        panic!("{method} {path} is not answered as it is described: {fault}\n{answer:#?}");
    }
    Ok(answer)
}

fn check(answer: &Answer) -> Result<(), String> {
    let refusal = json!({"content": {"application/problem+json": {
        "schema": {"$ref": "#/components/schemas/Problem"}
    }}});
    let Some(operation) = answer.operation else {
        // Beyond the described addresses there are pages for people, and refusals.
        return if answer.status < 400 { Ok(()) } else { check_body(&refusal, answer) };
    };
    let responses = operation.responses();
    let response = match responses.get(&answer.status.to_string()) {
        Some(response) => response,
        // What any request may be answered with is described once.
        None if matches!(answer.status, 408 | 429 | 500..) => &responses["default"],
        None => return Err(format!("{} is not described", answer.status)),
    };
    check_body(response, answer)
}

fn check_body(response: &Value, answer: &Answer) -> Result<(), String> {
    let kind = answer.headers.get(CONTENT_TYPE).map_or("", |kind| kind.to_str().unwrap());
    let kind = kind.split(';').next().unwrap_or_default();
    let Some(contents) = response["content"].as_object() else {
        let empty = kind.is_empty() && answer.text.is_empty();
        return if empty { Ok(()) } else { Err("no body is described".to_owned()) };
    };
    let content = contents.get(kind).ok_or_else(|| format!("{kind:?} is not described"))?;
    let text = Value::String(answer.text.clone());
    let body = if kind.ends_with("json") { &answer.json } else { &text };
    let validator = &VALIDATORS[&content["schema"].to_string()];
    let faults: Vec<String> = validator
        .iter_errors(body)
        .take(5)
        .map(|fault| format!("{}: {fault}", fault.instance_path()))
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
}

/// Validates bodies against a schema of the description. Formats count, and so does a field that
/// is not described: clients may not know of it, and nobody may have meant to tell it.
fn validator(schema: &Value) -> Validator {
    let mut root = schema.clone();
    let mut components = DOCUMENT["components"].clone();
    close(&mut root);
    close(&mut components);
    root["components"] = components;
    root["open"] = DOCUMENT["components"].clone();
    jsonschema::options().should_validate_formats(true).build(&root).unwrap()
}

/// Lets every object have no field but those that are described.
fn close(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(close),
        Value::Object(schema) => {
            for (keyword, inner) in schema.iter_mut() {
                // A part of an object knows nothing of the other parts' fields.
                if keyword == "allOf" { leave_open(inner) } else { close(inner) }
            }
            let is_object = schema.get("properties").is_some_and(Value::is_object);
            let is_closed = schema.contains_key("additionalProperties");
            if (is_object || schema.contains_key("allOf")) && !is_closed {
                schema.insert("unevaluatedProperties".to_owned(), json!(false));
            }
        }
        _ => {}
    }
}

fn leave_open(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(leave_open),
        Value::Object(schema) => {
            for (keyword, inner) in schema.iter_mut() {
                match inner {
                    Value::String(target) if keyword == "$ref" => {
                        *target = target.replace("#/components/", "#/open/");
                    }
                    inner => leave_open(inner),
                }
            }
        }
        _ => {}
    }
}

#[test]
fn an_answer_that_is_not_described_is_noticed() {
    let answer = |status, kind: &'static str, json: Value| {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, kind.parse().unwrap());
        let operation = find("GET", "/v1/catalog/categories");
        Answer { operation, status, headers, text: json.to_string(), json }
    };
    let good = json!({"data": [{"slug": "shoes"}]});
    check(&answer(200, "application/json; charset=utf-8", good.clone())).unwrap();
    check(&answer(201, "application/json", good.clone())).unwrap_err();
    check(&answer(200, "text/plain", good)).unwrap_err();
    check(&answer(200, "application/json", json!({"data": [{"slug": 1}]}))).unwrap_err();
    check(&answer(200, "application/json", json!({"data": [{}]}))).unwrap_err();
    check(&answer(200, "application/json", json!({"data": [], "secret": 1}))).unwrap_err();
    check(&answer(503, "application/problem+json", json!({"title": "No"}))).unwrap_err();
    let problem = json!({"type": "/x", "title": "No", "status": 503, "code": "unavailable"});
    check(&answer(503, "application/problem+json", problem.clone())).unwrap();
    check(&answer(404, "application/problem+json", problem.clone())).unwrap_err();
    let nowhere = |answer| check(&Answer { operation: find("GET", "/v1/nowhere"), ..answer });
    nowhere(answer(404, "application/problem+json", problem)).unwrap();
    nowhere(answer(404, "text/plain", json!("no"))).unwrap_err();
}
