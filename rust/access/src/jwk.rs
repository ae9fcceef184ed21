//! Keys for tokens, as JSON Web Keys: RFC 7517, with the parameters of RFC 7518 section 6 and
//! RFC 8037.
//!
//! A key is of one algorithm, which follows from its type. A set with a key that cannot be used is
//! refused as a whole: a server that leaves keys out turns players away without a reason.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::VerifyingKey as Ed25519Key;
use hmac::{Hmac, KeyInit, Mac};
use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::{Signature as EcdsaSignature, VerifyingKey as P256Key};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::limits;

/// Why a set of keys for tokens cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// It is longer than [`limits::JWKS_BYTES`].
    #[error("a set of keys has at most {} bytes", limits::JWKS_BYTES)]
    TooLong,
    /// It is no JSON.
    #[error("a set of keys is JSON; line {line}, column {column} is not")]
    Json {
        /// The line of the first error, from 1.
        line: usize,
        /// The column of the first error, from 1.
        column: usize,
    },
    /// It is JSON, but no set of keys.
    #[error("a set of keys is an object with a list named keys")]
    NoSet,
    /// There are more than [`limits::TOKEN_KEYS`] keys.
    #[error("a set has at most {} keys", limits::TOKEN_KEYS)]
    TooMany,
    /// A key cannot be used.
    #[error("key {index}{}: {problem}", Named(.kid.as_deref()))]
    Key {
        /// The key's position, from 0.
        index: usize,
        /// The key's name, if it has one.
        kid: Option<String>,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// The name of a key in a message.
struct Named<'a>(Option<&'a str>);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |kid| write!(f, " (kid {kid:?})"))
    }
}

/// Tells one key for tokens from another. Holds a hash of the key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenKeyId([u8; 32]);

impl TokenKeyId {
    /// The id of a key of some kind.
    pub(crate) fn of(kind: &str, key: &[u8]) -> Self {
        Self(Sha256::new().chain_update(kind).chain_update(key).finalize().into())
    }
}

impl fmt::Debug for TokenKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An HS256 key may be a weak secret, of which a hash is a hint.
        f.write_str("TokenKeyId(..)")
    }
}

/// A key that verifies tokens.
pub(crate) struct TokenKey {
    pub(crate) kid: Option<String>,
    pub(crate) id: TokenKeyId,
    verifier: Verifier,
}

enum Verifier {
    Hs256(Hmac<Sha256>),
    Es256(P256Key),
    Ed25519(Ed25519Key),
}

impl TokenKey {
    /// Whether the key is of the algorithm that a token's header names.
    pub(crate) fn is_for(&self, alg: &str) -> bool {
        match self.verifier {
            Verifier::Hs256(_) => alg == "HS256",
            Verifier::Es256(_) => alg == "ES256",
            Verifier::Ed25519(_) => is_ed25519(alg),
        }
    }

    /// Whether a signature is the key's.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.verifier {
            Verifier::Hs256(mac) => {
                mac.clone().chain_update(message).verify_slice(signature).is_ok()
            }
            Verifier::Es256(key) => EcdsaSignature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            Verifier::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
        }
    }
}

/// Ed25519 has two names: that of RFC 8037 and that of RFC 9864, which takes its place.
fn is_ed25519(alg: &str) -> bool {
    matches!(alg, "EdDSA" | "Ed25519")
}

/// Reads a set of keys.
pub(crate) fn read_set(json: &[u8]) -> Result<Vec<TokenKey>, JwksError> {
    if json.len() > limits::JWKS_BYTES {
        return Err(JwksError::TooLong);
    }
    // No error of the JSON library is passed on, because it may cite a secret.
    let set: Value = serde_json::from_slice(json)
        .map_err(|error| JwksError::Json { line: error.line(), column: error.column() })?;
    let list = set.get("keys").and_then(Value::as_array).ok_or(JwksError::NoSet)?;
    if list.len() > limits::TOKEN_KEYS {
        return Err(JwksError::TooMany);
    }
    let mut keys: Vec<TokenKey> = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        let kid = value.get("kid").and_then(Value::as_str).map(str::to_owned);
        let wrong = |problem| JwksError::Key { index, kid: kid.clone(), problem };
        let key = Jwk::deserialize(value).map_err(|_| wrong(NO_JWK))?;
        let key = key.verifier().map_err(&wrong)?;
        if key.kid.is_some() && keys.iter().any(|other| other.kid == key.kid) {
            return Err(wrong("another key has the same kid"));
        }
        keys.push(key);
    }
    Ok(keys)
}

/// What is wrong with something that is not even of the right types.
pub(crate) const NO_JWK: &str = "a key is an object with a kty and texts, see RFC 7517";

/// A JSON Web Key, public or private. Has no `Debug`, so that no key gets into a log.
#[derive(Default, Deserialize, Serialize)]
pub(crate) struct Jwk {
    pub(crate) kty: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) crv: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) alg: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kid: Option<String>,
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    pub(crate) usage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_ops: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) k: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) x: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) y: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) d: Option<String>,
}

/// The three types of keys.
pub(crate) enum Kind {
    /// A secret that both sides share.
    Oct,
    /// A point on the curve P-256.
    P256,
    /// A point on edwards25519.
    Ed25519,
}

impl Jwk {
    /// The key's type; what the key says about its algorithm must agree.
    pub(crate) fn kind(&self) -> Result<Kind, &'static str> {
        let kind = match (&*self.kty, self.crv.as_deref()) {
            ("oct", None) => Kind::Oct,
            ("EC", Some("P-256")) => Kind::P256,
            ("OKP", Some("Ed25519")) => Kind::Ed25519,
            ("oct", _) => return Err("a key of kty oct has no crv"),
            ("EC", _) => return Err("crv is P-256"),
            ("OKP", _) => return Err("crv is Ed25519"),
            _ => return Err("kty is oct, EC or OKP"),
        };
        let Some(alg) = self.alg.as_deref() else { return Ok(kind) };
        match kind {
            Kind::Oct if alg != "HS256" => Err("alg is HS256 for a key of kty oct"),
            Kind::P256 if alg != "ES256" => Err("alg is ES256 for a key of kty EC"),
            Kind::Ed25519 if !is_ed25519(alg) => Err("alg is EdDSA for a key of kty OKP"),
            _ => Ok(kind),
        }
    }

    /// The secret of a key of kty oct.
    pub(crate) fn secret(&self) -> Result<Vec<u8>, &'static str> {
        let k = self.k.as_deref().ok_or("k is missing")?;
        let secret = Base64UrlUnpadded::decode_vec(k).map_err(|_| "k is base64url, unpadded")?;
        if secret.len() < limits::HS256_SECRET_BYTES {
            return Err("k is a secret of at least 32 bytes");
        }
        Ok(secret)
    }

    /// The key that verifies. Nothing private may be with it but a shared secret.
    fn verifier(self) -> Result<TokenKey, &'static str> {
        let kind = self.kind()?;
        let (x, y) = (self.x.as_deref(), self.y.as_deref());
        if self.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return Err("use is sig");
        }
        if self.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|op| op == "verify")) {
            return Err("key_ops has verify");
        }
        if self.d.is_some() {
            return Err("this is a private key; give the server the public one, without d");
        }
        let (verifier, id) = match kind {
            Kind::Oct => {
                let secret = self.secret()?;
                let mac = Hmac::new_from_slice(&secret).map_err(|_| "k is a secret")?;
                (Verifier::Hs256(mac), TokenKeyId::of("oct", &secret))
            }
            Kind::P256 => {
                let (x, y) = (number("x is 32 bytes", x)?, number("y is 32 bytes", y)?);
                let point = [&[4], &x[..], &y[..]].concat();
                let key = P256Key::from_sec1_bytes(&point)
                    .map_err(|_| "x and y are no point of the curve P-256")?;
                (Verifier::Es256(key), TokenKeyId::of("P-256", &point))
            }
            Kind::Ed25519 => {
                let x = number("x is 32 bytes", x)?;
                let key = Ed25519Key::from_bytes(&x)
                    .ok()
                    .filter(|key| !key.is_weak())
                    .ok_or("x is no point of the curve Ed25519 that can be a key")?;
                (Verifier::Ed25519(key), TokenKeyId::of("Ed25519", &x))
            }
        };
        Ok(TokenKey { kid: self.kid, id, verifier })
    }
}

/// A parameter that is a number or a point of 32 bytes.
pub(crate) fn number(
    otherwise: &'static str,
    text: Option<&str>,
) -> Result<[u8; 32], &'static str> {
    let mut bytes = [0; 32];
    let decoded = Base64UrlUnpadded::decode(text.unwrap_or_default(), &mut bytes);
    if decoded.is_ok_and(|decoded| decoded.len() == 32) { Ok(bytes) } else { Err(otherwise) }
}
