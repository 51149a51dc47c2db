//! Sends requests and validates every response against the API description: its status, its content
//! type and its body, and its headers against the table of [`cache_headers`]. A test that uses [`send`]
//! also tests both.

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use jsonschema::Validator;
use reqwest::RequestBuilder;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::{Map, Value, json};
use vitrina::edition;

use crate::cache_headers;

/// The API description that the edition serves.
pub(crate) static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::to_value(edition::openapi()).unwrap());

/// All described operations.
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

/// One method of one path, as described.
pub(crate) struct Operation {
    pub(crate) method: String,
    /// With parameter names in braces.
    pub(crate) path: String,
    pub(crate) described: &'static Value,
}

/// A complete response that matches its description.
#[derive(Debug)]
pub(crate) struct ApiResponse {
    /// The operation of the request, if it is described.
    pub(crate) operation: Option<&'static Operation>,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    /// Null if the body is not JSON.
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

    /// Statuses that are described for this operation only.
    pub(crate) fn statuses(&self) -> impl Iterator<Item = u16> {
        self.responses().keys().filter_map(|status| status.parse().ok())
    }

    pub(crate) fn is_secured(&self) -> bool {
        self.described.get("security").is_some()
    }

    pub(crate) fn takes_body(&self) -> bool {
        self.described.get("requestBody").is_some()
    }

    /// Whether it has a parameter in this location, such as `query`.
    pub(crate) fn takes(&self, location: &str) -> bool {
        self.parameters().any(|parameter| parameter["in"] == location)
    }

    pub(crate) fn takes_header(&self, name: &str) -> bool {
        self.takes_parameter(name)
    }

    pub(crate) fn takes_parameter(&self, name: &str) -> bool {
        self.parameters().any(|parameter| parameter["name"] == name)
    }

    fn parameters(&self) -> impl Iterator<Item = &'static Value> {
        self.described.get("parameters").and_then(Value::as_array).into_iter().flatten()
    }

    /// Whether a path matches this operation's. Names in braces match any segment.
    fn has_path(&self, path: &str) -> bool {
        let (own, requested) = (self.path.split('/'), path.split('/'));
        own.clone().count() == requested.clone().count()
            && own.zip(requested).all(|(own, requested)| own.starts_with('{') || own == requested)
    }
}

/// The operation that a request is for.
fn find(method: &str, path: &str) -> Option<&'static Operation> {
    // A literal segment takes precedence over a parameter.
    let parameters = |operation: &&Operation| operation.path.matches('{').count();
    let path = OPERATIONS.iter().filter(|o| o.has_path(path)).min_by_key(parameters)?.path.as_str();
    OPERATIONS.iter().find(|operation| operation.path == path && operation.method == method)
}

/// The path of a route of the API: an emulator of AWS serves a stage below a prefix.
fn route_path(path: &str) -> String {
    path.find("/v1/").map_or(path, |at| &path[at..]).to_owned()
}

/// Sends a request to the edition. Panics if there is no response, or one that is not as described.
pub(crate) async fn send(request: RequestBuilder) -> ApiResponse {
    try_send(request).await.unwrap()
}

/// As [`send`], for an edition that may be down.
pub(crate) async fn try_send(request: RequestBuilder) -> Result<ApiResponse, reqwest::Error> {
    let (client, request) = request.build_split();
    let request = request?;
    let (method, path) = (request.method().to_string(), route_path(request.url().path()));
    let received = client.execute(request).await?;
    let (status, headers) = (received.status().as_u16(), received.headers().clone());
    let text = received.text().await?;
    let json = serde_json::from_str(&text).unwrap_or_default();
    let operation = find(&method, &path);
    let response = ApiResponse { operation, status, headers, text, json };
    let route = operation.map(Operation::name);
    let ApiResponse { headers, json, .. } = &response;
    let cached = cache_headers::check(route.as_deref(), status, headers, json);
    if let Err(fault) = check(&response).and(cached) {
        panic!("{method} {path} does not match its description: {fault}\n{response:#?}");
    }
    Ok(response)
}

fn check(response: &ApiResponse) -> Result<(), String> {
    let refusal = json!({"content": {"application/problem+json": {
        "schema": {"$ref": "#/components/schemas/Problem"}
    }}});
    let Some(operation) = response.operation else {
        // Undescribed paths serve pages for a browser, and problems.
        return if response.status < 400 { Ok(()) } else { check_body(&refusal, response) };
    };
    let responses = operation.responses();
    let described = match responses.get(&response.status.to_string()) {
        Some(described) => described,
        // Statuses that any request may get are described once, as `default`.
        None if matches!(response.status, 408 | 429 | 500..) => &responses["default"],
        None => return Err(format!("{} is not described", response.status)),
    };
    check_body(described, response)
}

fn check_body(described: &Value, response: &ApiResponse) -> Result<(), String> {
    let kind = response.headers.get(CONTENT_TYPE).map_or("", |kind| kind.to_str().unwrap());
    let kind = kind.split(';').next().unwrap_or_default();
    let Some(contents) = described["content"].as_object() else {
        // API Gateway gives a type to responses of functions that have none, also without a body.
        let is_from_gateway = response.headers.contains_key("apigw-requestid");
        let empty = (kind.is_empty() || is_from_gateway) && response.text.is_empty();
        return if empty { Ok(()) } else { Err("the description has no body".to_owned()) };
    };
    let content = contents.get(kind).ok_or_else(|| format!("{kind:?} is not described"))?;
    let text = Value::String(response.text.clone());
    let body = if kind.ends_with("json") { &response.json } else { &text };
    let validator = &VALIDATORS[&content["schema"].to_string()];
    let faults: Vec<String> = validator
        .iter_errors(body)
        .take(5)
        .map(|fault| format!("{}: {fault}", fault.instance_path()))
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
}

/// Validates bodies against a schema of the description. Checks formats and refuses undescribed fields:
/// clients do not expect such a field, and it may expose data by mistake.
fn validator(schema: &Value) -> Validator {
    let mut root = schema.clone();
    let mut components = DOCUMENT["components"].clone();
    close(&mut root);
    close(&mut components);
    root["components"] = components;
    root["open"] = DOCUMENT["components"].clone();
    jsonschema::options().should_validate_formats(true).build(&root).unwrap()
}

/// Makes every object schema refuse undescribed fields.
fn close(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(close),
        Value::Object(schema) => {
            for (keyword, inner) in schema.iter_mut() {
                // A part of `allOf` does not know the fields of the other parts.
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
fn check_refuses_a_response_that_is_not_described() {
    let response = |status, kind: &'static str, json: Value| {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, kind.parse().unwrap());
        let operation = find("GET", "/v1/catalog/categories");
        ApiResponse { operation, status, headers, text: json.to_string(), json }
    };
    let good = json!({"data": [{"slug": "shoes"}]});
    check(&response(200, "application/json; charset=utf-8", good.clone())).unwrap();
    check(&response(201, "application/json", good.clone())).unwrap_err();
    check(&response(200, "text/plain", good)).unwrap_err();
    check(&response(200, "application/json", json!({"data": [{"slug": 1}]}))).unwrap_err();
    check(&response(200, "application/json", json!({"data": [{}]}))).unwrap_err();
    check(&response(200, "application/json", json!({"data": [], "secret": 1}))).unwrap_err();
    check(&response(503, "application/problem+json", json!({"title": "No"}))).unwrap_err();
    let problem = json!({"type": "/x", "title": "No", "status": 503, "code": "unavailable"});
    check(&response(503, "application/problem+json", problem.clone())).unwrap();
    check(&response(404, "application/problem+json", problem.clone())).unwrap_err();
    let undescribed =
        |response| check(&ApiResponse { operation: find("GET", "/v1/nowhere"), ..response });
    undescribed(response(404, "application/problem+json", problem)).unwrap();
    undescribed(response(404, "text/plain", json!("no"))).unwrap_err();
}
