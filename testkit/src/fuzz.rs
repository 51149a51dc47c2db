//! Fuzz targets: decoders of external input, on arbitrary bytes. A panic is a fault.

use std::path::Path;
use std::sync::LazyLock;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use axum::extract::FromRequestParts as _;
use axum::http::{HeaderValue, Request, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

use shared::clock::Clock;
use shared::contract::envelope::{self, Received};
use shared::contract::inventory::Event;
use shared::expected::Expected;
use shared::http::auth::{AuthConfig, KeySource, Verifier};
use shared::http::page::{decode_cursor, encode_cursor};
use shared::http::{IdempotencyKey, IfMatch, etag};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_all().build().unwrap());

/// Fixed, so that a saved input keeps its meaning.
static KEY: LazyLock<Ed25519KeyPair> =
    LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap());

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let x = URL_SAFE_NO_PAD.encode(KEY.public_key().as_ref());
    let keys = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "test"}]});
    let config = AuthConfig {
        issuer: "https://identity.test".to_owned(),
        audience: "vitrina".to_owned(),
        keys: KeySource::Fixed(serde_json::from_value(keys).unwrap()),
        roles_claim: "roles".to_owned(),
    };
    Verifier::new(config, Clock::fixed(DateTime::from_timestamp(1_800_000_000, 0).unwrap()))
});

/// A message of the bus. An accepted event is unchanged after it is written and read again.
pub fn event(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(Received::Known(envelope)) = envelope::read::<Event>(text) {
        let written = serde_json::to_string(&envelope).unwrap();
        let Ok(Received::Known(again)) = envelope::read::<Event>(&written) else {
            panic!("{written} cannot be read again")
        };
        assert_eq!(serde_json::to_string(&again).unwrap(), written);
    }
}

/// A cursor. An accepted sort key is unchanged after it is encoded and decoded again.
pub fn cursor(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(key) = decode_cursor("shoes", text) {
        assert_eq!(decode_cursor("shoes", &encode_cursor("shoes", &key)).unwrap(), key);
    }
}

/// A token without a valid signature. It is refused, whatever its claims.
pub fn token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let refused = RUNTIME.block_on(VERIFIER.verify(text)).unwrap_err();
    assert_eq!(refused.kind.status, 401);
}

/// The claims of a token with a valid signature. Expiry, issuer and audience decide its acceptance.
pub fn claims(data: &[u8]) {
    let head = URL_SAFE_NO_PAD.encode(br#"{"alg":"EdDSA","kid":"test"}"#);
    let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(data));
    let signature = URL_SAFE_NO_PAD.encode(KEY.sign(signed.as_bytes()).as_ref());
    let verified = RUNTIME.block_on(VERIFIER.verify(&format!("{signed}.{signature}")));
    if verified.is_ok() {
        let claims: serde_json::Value = serde_json::from_slice(data).unwrap();
        assert!(claims["exp"].as_i64().unwrap() > 1_800_000_000);
        assert_eq!(claims["iss"], "https://identity.test");
        let audiences = claims["aud"].as_array();
        let is_meant = audiences.is_some_and(|all| all.iter().any(|one| one == "vitrina"));
        assert!(is_meant || claims["aud"] == "vitrina");
    }
}

/// The headers `If-Match` and `Idempotency-Key`. Parsed values appear in them as written.
pub fn headers(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let request = Request::builder()
        .header(header::IF_MATCH, value.clone())
        .header("idempotency-key", value)
        .body(())
        .unwrap();
    let (mut parts, ()) = request.into_parts();
    match RUNTIME.block_on(IfMatch::from_request_parts(&mut parts, &())) {
        Ok(IfMatch(Expected::OneOf(versions))) => {
            let text = std::str::from_utf8(data).unwrap();
            assert!(!versions.is_empty());
            assert!(versions.iter().all(|version| text.contains(&etag(*version))));
        }
        Ok(IfMatch(Expected::Any)) => assert_eq!(data.trim_ascii(), b"*"),
        Err(refused) => assert_eq!(refused.kind.status, 412),
    }
    if let Ok(IdempotencyKey(key)) =
        RUNTIME.block_on(IdempotencyKey::from_request_parts(&mut parts, &()))
    {
        let key = key.unwrap();
        assert!(key.as_bytes() == data && (1..=255).contains(&key.len()));
    }
}

/// Runs a target on each of its inputs in `fuzz/corpus`.
pub fn replay(target: &str, run: fn(&[u8])) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut count = 0;
    for file in std::fs::read_dir(root.join("fuzz/corpus").join(target)).unwrap() {
        run(&std::fs::read(file.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 0, "no inputs are stored for {target}");
}
