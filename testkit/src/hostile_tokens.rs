//! Well-formed tokens that no service may accept, in one place: a test of anything that looks at a
//! token tries them all, and a row that is added here is tried everywhere.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use shared::http::auth::Role;
use shared::id::UserId;

use crate::Tokens;

/// A token and what is wrong with it.
pub type NamedToken = (&'static str, String);

fn part(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

/// A token with this header and these claims, signed over both.
fn assemble(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

impl Tokens {
    fn header(&self) -> Value {
        json!({"typ": "JWT", "alg": "EdDSA", "kid": self.kid})
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }

    /// Tokens that name `subject` with `roles` and differ from a valid one in one way each. Each must be
    /// refused as if there were no token.
    pub fn hostile(&self, subject: UserId, roles: &[Role]) -> Vec<NamedToken> {
        let mut all = self.with_bad_signatures(subject, roles);
        all.extend(self.with_bad_claims(subject, roles));
        all
    }

    fn with_bad_signatures(&self, subject: UserId, roles: &[Role]) -> Vec<NamedToken> {
        let claims = self.claims(json!({"sub": subject, "roles": roles}));
        let good = assemble(&self.header(), &claims, |message| self.sign(message));
        let (message, signature) = good.rsplit_once('.').unwrap();
        let header = |name: &str, value: Value| {
            let mut header = self.header();
            header[name] = value;
            header
        };
        let forger = Self::with_key(&self.kid, self.clock.clone());
        let forged = |header: &Value| assemble(header, &claims, |message| forger.sign(message));
        let symmetric = |secret: &[u8]| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
            let sign = |message: &[u8]| hmac::sign(&key, message).as_ref().to_vec();
            assemble(&header("alg", json!("HS256")), &claims, sign)
        };
        let public = self.pair.public_key().as_ref();
        let others = self.claims(json!({"sub": UserId::from_u128(0xbad), "roles": roles}));
        let of_others = assemble(&self.header(), &others, |message| self.sign(message));
        let unnamed = json!({"typ": "JWT", "alg": "EdDSA"});
        let published = forger.keys().keys[0].clone();
        vec![
            (
                "alg none without a signature",
                assemble(&header("alg", json!("none")), &claims, |_| vec![]),
            ),
            (
                "alg none with the signature of a valid token",
                format!("{}.{}.{signature}", part(&header("alg", json!("none"))), part(&claims)),
            ),
            (
                "alg none in mixed case",
                assemble(&header("alg", json!("nOnE")), &claims, |_| vec![]),
            ),
            ("alg HS256 with the public key as its secret", symmetric(public)),
            (
                "alg HS256 with the published text of the key",
                symmetric(URL_SAFE_NO_PAD.encode(public).as_bytes()),
            ),
            ("alg HS256 with an empty secret", symmetric(b"")),
            (
                "alg ES256 over a valid signature",
                assemble(&header("alg", json!("ES256")), &claims, |message| self.sign(message)),
            ),
            ("another key under the same id", forged(&self.header())),
            ("another key under an unknown id", forged(&header("kid", json!("unknown")))),
            ("another key under an empty id", forged(&header("kid", json!("")))),
            ("another key under a path as its id", forged(&header("kid", json!("../../dev/null")))),
            ("another key without an id", forged(&unnamed)),
            ("another key that the header brings along", forged(&header("jwk", json!(published)))),
            (
                "another key at an address in the header",
                forged(&header("jku", json!("http://127.0.0.1:9/jwks.json"))),
            ),
            (
                "the signature of a token of another subject",
                format!("{message}.{}", of_others.rsplit_once('.').unwrap().1),
            ),
            ("an empty signature", format!("{message}.")),
            ("no signature", message.to_owned()),
            ("a signature that is too short", good[..good.len() - 4].to_owned()),
            ("a fourth part", format!("{good}.{signature}")),
        ]
    }

    fn with_bad_claims(&self, subject: UserId, roles: &[Role]) -> Vec<NamedToken> {
        let now = self.clock.now().timestamp();
        let with = |name: &str, value: Value| {
            self.with_claims(json!({"sub": subject, "roles": roles, name: value}))
        };
        let without = |name: &str| {
            let mut claims = self.claims(json!({"sub": subject, "roles": roles}));
            claims.as_object_mut().unwrap().remove(name);
            assemble(&self.header(), &claims, |message| self.sign(message))
        };
        vec![
            ("expired just now", with("exp", json!(now))),
            ("expired an hour ago", with("exp", json!(now - 3600))),
            ("expiry missing", without("exp")),
            ("expiry null", with("exp", Value::Null)),
            ("expiry as text", with("exp", json!((now + 3600).to_string()))),
            ("not valid before the next hour", with("nbf", json!(now + 3600))),
            ("another issuer", with("iss", json!("https://issuer.example"))),
            ("the issuer with a slash", with("iss", json!(format!("{}/", self.issuer)))),
            ("issuer missing", without("iss")),
            ("issuer null", with("iss", Value::Null)),
            ("another audience", with("aud", json!("another"))),
            ("an audience that begins like ours", with("aud", json!("vitrina-admin"))),
            ("our audience in upper case", with("aud", json!("VITRINA"))),
            ("other audiences", with("aud", json!(["another", "vitrina2"]))),
            ("no audience in a list", with("aud", json!([]))),
            ("audience missing", without("aud")),
            ("a refresh token of the issuer", with("token_use", json!("refresh"))),
            ("subject missing", without("sub")),
            ("subject null", with("sub", Value::Null)),
            ("subject as a number", with("sub", json!(1))),
            (
                "claims in a list",
                assemble(&self.header(), &json!([{"sub": subject}]), |message| self.sign(message)),
            ),
        ]
    }

    /// Valid tokens of `subject` that lack `role`. Each must be refused where the role is required.
    pub fn without_role(&self, subject: UserId, role: Role) -> Vec<NamedToken> {
        let name = role.as_str();
        let others: Vec<Role> = Role::ALL.into_iter().filter(|other| *other != role).collect();
        let mut tokens = Vec::new();
        for (what, claims) in [
            ("roles missing", json!({})),
            ("no roles", json!({"roles": []})),
            ("roles null", json!({"roles": null})),
            ("every other role", json!({"roles": others})),
            ("an unknown role", json!({"roles": ["admin", "*", "root"]})),
            ("the role as text", json!({"roles": name})),
            ("the role as a member", json!({"roles": {name: true}})),
            ("the role in a nested list", json!({"roles": [[name]]})),
            ("the role in upper case", json!({"roles": [name.to_uppercase()]})),
            ("the role with a blank", json!({"roles": [format!(" {name}")]})),
            ("the role among others in one text", json!({"roles": [format!("buyer,{name}")]})),
            ("the role in another claim", json!({"role": [name], "groups": [name], "scope": name})),
            ("the role as a group of Cognito", json!({"cognito:groups": [name]})),
        ] {
            let mut all = json!({"sub": subject});
            all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
            tokens.push((what, self.with_claims(all)));
        }
        tokens
    }
}
