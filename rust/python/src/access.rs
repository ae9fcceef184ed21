//! `Access` and `Caller`.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rankwire_access::{
    Access, Action, Caller, JwksError, KeyRecord, Mode, NewKey, NewTokenKey, Policy, Scope, Scopes,
    is_board_pattern,
};

use crate::errors::{denied, invalid, invalid_item, not_issued, too_many, unauthorized};

#[pyclass(frozen, name = "Access", module = "rankwire._core")]
pub struct PyAccess {
    pub inner: Arc<Access>,
}

#[pyclass(frozen, name = "Caller", module = "rankwire._core")]
pub struct PyCaller {
    inner: Arc<Caller>,
}

/// An API key as Python stores it: id, hash, scopes, boards.
type Record = (String, Vec<u8>, Vec<String>, Vec<String>);

#[pymethods]
impl PyAccess {
    #[new]
    fn new(
        mode: &str,
        anonymous_read: bool,
        audience: String,
        issuer: String,
        key_rate: u32,
        member_rate: u32,
    ) -> PyResult<Self> {
        let mode = match mode {
            "open" => Mode::Open,
            "keys" => Mode::Keys,
            _ => return Err(invalid("mode", "a mode is open or keys")),
        };
        let policy = Policy {
            mode,
            anonymous_read,
            audience: Some(audience).filter(|audience| !audience.is_empty()),
            issuer: Some(issuer).filter(|issuer| !issuer.is_empty()),
            key_submits_per_second: key_rate,
            member_submits_per_second: member_rate,
        };
        Ok(Self { inner: Arc::new(Access::new(policy)) })
    }

    fn set_keys(&self, records: Vec<Record>) -> PyResult<()> {
        let records = records.into_iter().enumerate().map(|(index, record)| key(index, record));
        self.inner.set_keys(records.collect::<PyResult<_>>()?);
        Ok(())
    }

    fn set_token_keys(&self, jwks: &[u8]) -> PyResult<usize> {
        self.inner.set_token_keys(jwks).map_err(|error| match error {
            JwksError::Key { index, .. } => invalid_item(index, "keys", error.to_string()),
            _ => invalid("keys", error.to_string()),
        })
    }

    fn knows_anybody(&self) -> bool {
        self.inner.knows_anybody()
    }

    fn identify(&self, credential: Option<&str>) -> PyResult<PyCaller> {
        let inner = self.inner.identify(credential, now_s()).map_err(unauthorized)?;
        Ok(PyCaller { inner })
    }

    #[pyo3(signature = (caller, action, board=None, member=None, player_submits=false))]
    fn check(
        &self,
        caller: &PyCaller,
        action: &str,
        board: Option<&str>,
        member: Option<&str>,
        player_submits: bool,
    ) -> PyResult<()> {
        let board = || board.ok_or_else(|| invalid("board", "this action is about a board"));
        let member = || member.ok_or_else(|| invalid("member", "this action is about a member"));
        let action = match action {
            "read" => Action::Read { board: board()? },
            "list_boards" => Action::ListBoards,
            "submit" => Action::Submit { board: board()?, member: member()?, player_submits },
            "submit_batch" => Action::SubmitBatch { board: board()? },
            "manage" => Action::Manage { board: board()? },
            "operate" => Action::Operate,
            _ => return Err(invalid("action", "there is no such action")),
        };
        self.inner.check(&caller.inner, &action, now_s()).map_err(denied)
    }

    fn spend(&self, py: Python<'_>, caller: &PyCaller, submits: u32) -> PyResult<()> {
        let spent = self.inner.spend(&caller.inner, submits, self.inner.clock_ms());
        spent.map_err(|retry| too_many(py, retry))
    }

    fn take_spent(&self, most: usize) -> Vec<(String, u64)> {
        self.inner.take_spent(most)
    }

    fn debit(&self, subject: &str, amount: u64) {
        self.inner.debit(subject, amount, self.inner.clock_ms());
    }

    #[staticmethod]
    fn new_key(py: Python<'_>) -> PyResult<(String, String, Bound<'_, PyBytes>)> {
        let NewKey { text, id, hash } = rankwire_access::new_key().map_err(not_issued)?;
        Ok((text, id, PyBytes::new(py, &hash)))
    }

    #[staticmethod]
    fn new_token_key(alg: &str, kid: &str) -> PyResult<(String, String)> {
        let NewTokenKey { private_jwk, public_jwk } =
            rankwire_access::new_token_key(alg, kid).map_err(not_issued)?;
        Ok((private_jwk, public_jwk))
    }

    #[staticmethod]
    fn sign_token(jwk: &[u8], claims: &[u8]) -> PyResult<String> {
        rankwire_access::sign_token(jwk, claims).map_err(not_issued)
    }
}

#[pymethods]
impl PyCaller {
    #[getter]
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    #[getter]
    fn name(&self) -> &str {
        self.inner.name()
    }

    #[getter]
    fn member(&self) -> Option<&str> {
        self.inner.member()
    }

    fn __repr__(&self) -> String {
        format!("<Caller {} {:?}>", self.kind(), self.name())
    }
}

fn key(index: usize, (id, hash, scopes, boards): Record) -> PyResult<KeyRecord> {
    let hash = hash.try_into().map_err(|_| invalid_item(index, "hash", "a hash is 32 bytes"))?;
    let scopes = scopes.iter().map(|name| Scope::named(name)).collect::<Option<Scopes>>();
    let scopes = scopes.ok_or_else(|| {
        invalid_item(index, "scopes", "a scope is read, submit, admin or operator")
    })?;
    if !boards.iter().all(|pattern| is_board_pattern(pattern)) {
        let message = "boards are names of boards, or beginnings of names followed by *";
        return Err(invalid_item(index, "boards", message));
    }
    Ok(KeyRecord { id, hash, scopes, boards })
}

/// Seconds since 1970 in UTC. A clock that is set to before that counts as then.
fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
