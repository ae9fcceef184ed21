//! Making keys and tokens: for the command line, for tests and for trying the server out. A server
//! at work does none of this.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::SigningKey as Ed25519Key;
use hmac::{Hmac, KeyInit, Mac};
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature as EcdsaSignature, SigningKey as P256Key};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::Sha256;

use crate::jwk::{Jwk, Kind, NO_JWK, number};
use crate::keys;

/// Why a key or a token could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// The key to sign with cannot be used, and why.
    #[error("the key to sign with: {0}")]
    Key(&'static str),
    /// The claims are no JSON object.
    #[error("claims are a JSON object")]
    Claims,
    /// Not an algorithm of this server.
    #[error("alg is HS256, ES256 or EdDSA")]
    Algorithm,
    /// The operating system gave no random bytes.
    #[error("the system has no randomness to give")]
    Entropy,
}

/// A new API key.
#[derive(Clone, PartialEq, Eq)]
pub struct NewKey {
    /// What the key's owner gets, once: `rwk_<id>_<secret>`.
    pub text: String,
    /// The id, for a [`KeyRecord`](crate::KeyRecord).
    pub id: String,
    /// The hash, for a [`KeyRecord`](crate::KeyRecord).
    pub hash: [u8; 32],
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Makes an API key.
///
/// # Errors
/// [`IssueError::Entropy`].
pub fn new_key() -> Result<NewKey, IssueError> {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let id: [u8; keys::ID_CHARS] = random()?;
    let id: String = id.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
    let secret = Base64UrlUnpadded::encode_string(&random::<32>()?);
    let text = format!("{prefix}{id}_{secret}", prefix = keys::PREFIX);
    Ok(NewKey { text, hash: keys::hash(&secret), id })
}

/// A new key for tokens, as JSON Web Keys.
#[derive(Clone, PartialEq, Eq)]
pub struct NewTokenKey {
    /// The key to sign with, for [`sign_token`] and who issues tokens.
    pub private_jwk: String,
    /// The key to verify with, for the server. With HS256 the same as the other, and as secret.
    pub public_jwk: String,
}

impl fmt::Debug for NewTokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewTokenKey").finish_non_exhaustive()
    }
}

/// Makes a key for tokens of an algorithm: `HS256`, `ES256` or `EdDSA`.
///
/// # Errors
/// [`IssueError::Algorithm`], [`IssueError::Entropy`].
pub fn new_token_key(alg: &str, kid: &str) -> Result<NewTokenKey, IssueError> {
    let mut jwk = Jwk { alg: Some(alg.into()), kid: Some(kid.into()), ..Jwk::default() };
    jwk.usage = Some("sig".into());
    let d = match alg {
        "HS256" => {
            jwk.kty = "oct".into();
            jwk.k = text(&random::<32>()?);
            None
        }
        "ES256" => {
            // About one number of 2^32 is no key: then the next one is.
            let key = std::iter::repeat_with(random)
                .find_map(|d| d.map(|d| P256Key::from_bytes(&d.into()).ok()).transpose())
                .ok_or(IssueError::Entropy)??;
            let point = key.verifying_key().to_sec1_point(false);
            (jwk.kty, jwk.crv) = ("EC".into(), Some("P-256".into()));
            jwk.x = point.x().and_then(|x| text(x));
            jwk.y = point.y().and_then(|y| text(y));
            text(&key.to_bytes())
        }
        "EdDSA" => {
            let key = Ed25519Key::from_bytes(&random()?);
            (jwk.kty, jwk.crv) = ("OKP".into(), Some("Ed25519".into()));
            jwk.x = text(key.verifying_key().as_bytes());
            text(key.as_bytes())
        }
        _ => return Err(IssueError::Algorithm),
    };
    let public_jwk = json(&jwk);
    jwk.d = d;
    Ok(NewTokenKey { private_jwk: json(&jwk), public_jwk })
}

/// Signs claims, a JSON object, with a private key; its type decides on the algorithm. What the
/// claims say is not checked.
///
/// # Errors
/// [`IssueError::Key`], [`IssueError::Claims`].
pub fn sign_token(private_jwk: &[u8], claims_json: &[u8]) -> Result<String, IssueError> {
    let jwk: Jwk = serde_json::from_slice(private_jwk).map_err(|_| IssueError::Key(NO_JWK))?;
    serde_json::from_slice::<Map<String, Value>>(claims_json).map_err(|_| IssueError::Claims)?;
    let kind = jwk.kind().map_err(IssueError::Key)?;
    let alg = match kind {
        Kind::Oct => "HS256",
        Kind::P256 => "ES256",
        Kind::Ed25519 => "EdDSA",
    };
    let header = json(&Header { alg, typ: "JWT", kid: jwk.kid.as_deref() });
    let message = format!(
        "{}.{}",
        Base64UrlUnpadded::encode_string(header.as_bytes()),
        Base64UrlUnpadded::encode_string(claims_json)
    );
    let signature = sign(&jwk, &kind, message.as_bytes()).map_err(IssueError::Key)?;
    Ok(format!("{message}.{}", Base64UrlUnpadded::encode_string(&signature)))
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    typ: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
}

fn sign(jwk: &Jwk, kind: &Kind, message: &[u8]) -> Result<Vec<u8>, &'static str> {
    let d = || number("d is the private key, 32 bytes", jwk.d.as_deref());
    match kind {
        Kind::Oct => {
            let mac =
                Hmac::<Sha256>::new_from_slice(&jwk.secret()?).map_err(|_| "k is a secret")?;
            Ok(mac.chain_update(message).finalize().into_bytes().to_vec())
        }
        Kind::P256 => {
            let key = P256Key::from_bytes(&d()?.into()).map_err(|_| "d is no key of P-256")?;
            let signature: EcdsaSignature = key.sign(message);
            Ok(signature.to_bytes().to_vec())
        }
        Kind::Ed25519 => Ok(Ed25519Key::from_bytes(&d()?).sign(message).to_bytes().to_vec()),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what a key may have is optional in it")]
fn text(bytes: &[u8]) -> Option<String> {
    Some(Base64UrlUnpadded::encode_string(bytes))
}

/// Texts in a struct: nothing can fail.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn random<const N: usize>() -> Result<[u8; N], IssueError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| IssueError::Entropy)?;
    Ok(bytes)
}
