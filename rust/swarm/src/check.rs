//! Whether the watchers see in the end what the server says over HTTP.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::Result;
use crate::clock::{SECOND, now};
use crate::control::Fleet;
use crate::http::{Http, escaped};

/// Views that differ after so long stay different.
const PATIENCE: u64 = 10 * SECOND;

/// Wait between two looks.
const LOOK: Duration = Duration::from_millis(250);

/// Differences that are told.
const EXAMPLES: usize = 3;

/// How the comparison went.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Checked {
    /// Channels that somebody watches.
    pub(crate) channels: usize,
    /// Subscriptions that were compared.
    pub(crate) subscriptions: u64,
    /// Channels that some watchers see otherwise than the server.
    pub(crate) wrong: usize,
    /// Some of them: the channel, what is seen, what it should be.
    pub(crate) examples: Vec<(String, String, Value)>,
}

/// Compares what everybody sees with the server's answers, until all is equal or time is up.
pub(crate) fn compare(fleet: &mut Fleet, http: &mut Http) -> Result<Checked> {
    let mut deadline = None;
    let mut equal: BTreeMap<String, String> = BTreeMap::new();
    loop {
        let states = fleet.states()?;
        let mut checked = Checked { channels: states.len(), ..Checked::default() };
        for (channel, seen) in states {
            checked.subscriptions += seen.values().sum::<u64>();
            let known = equal.get(&channel);
            if seen.len() == 1 && known.is_some_and(|known| seen.contains_key(known)) {
                continue;
            }
            let expected = expected(http, &channel)?;
            let differs = |state: &&String| shown(&channel, state) != expected;
            if let Some(state) = seen.keys().find(differs) {
                checked.wrong += 1;
                if checked.examples.len() < EXAMPLES {
                    checked.examples.push((channel, state.clone(), expected));
                }
            } else if let Some(state) = seen.into_keys().next() {
                equal.insert(channel, state);
            }
        }
        // With many channels the first look takes long, and time begins after it.
        if checked.wrong == 0 || now() > *deadline.get_or_insert_with(|| now() + PATIENCE) {
            return Ok(checked);
        }
        sleep(LOOK);
    }
}

/// The parts of a channel's name: board, kind and the rest.
fn parts(channel: &str) -> Option<(&str, &str, &str)> {
    let (board, rest) = channel.strip_prefix("board:")?.split_once(':')?;
    let (kind, rest) = rest.split_once(':')?;
    Some((board, kind, rest))
}

/// What a view of the channel should show by the HTTP API, without the version.
fn expected(http: &mut Http, channel: &str) -> Result<Value> {
    let (board, kind, rest) = parts(channel).ok_or("not a channel")?;
    let board = format!("/v1/boards/{}", escaped(board));
    let mut page = |path: &str| {
        http.get(path)?.ok_or_else(|| format!("{path} was not found").into()) as Result<Value>
    };
    Ok(match kind {
        "top" => {
            let page = page(&format!("{board}/top?limit={rest}"))?;
            json!({"total": page["total"], "entries": rows(&page)})
        }
        "page" => {
            let (from, to) = rest.split_once('-').ok_or("not a page")?;
            let (from, to): (u64, u64) = (from.parse()?, to.parse()?);
            let (limit, offset) = (to + 1 - from, from - 1);
            let page = page(&format!("{board}/top?limit={limit}&offset={offset}"))?;
            json!({"total": page["total"], "from": from, "entries": rows(&page)})
        }
        "member" => match http.get(&format!("{board}/members/{}", escaped(rest)))? {
            Some(standing) => json!({
                "total": standing["total"],
                "rank": standing["rank"],
                "score": standing["score"],
            }),
            None => json!({"total": total(http, &board)?, "rank": null, "score": null}),
        },
        _ => {
            let (member, radius) = rest.rsplit_once(':').ok_or("not around a member")?;
            let path = format!("{board}/members/{}/around?radius={radius}", escaped(member));
            match http.get(&path)? {
                Some(page) => {
                    let from = page["entries"][0]["rank"].clone();
                    json!({"total": page["total"], "from": from, "entries": rows(&page)})
                }
                None => json!({"total": total(http, &board)?, "from": null, "entries": []}),
            }
        }
    })
}

fn total(http: &mut Http, board: &str) -> Result<Value> {
    let page = http.get(&format!("{board}/top?limit=1"))?.ok_or("the board is gone")?;
    Ok(page["total"].clone())
}

/// The entries of a page as views show them: the rank is the position.
fn rows(page: &Value) -> Vec<Value> {
    let entries = page["entries"].as_array().map(Vec::as_slice).unwrap_or_default();
    let row = |entry: &Value| json!({"member": entry["member"], "score": entry["score"]});
    entries.iter().map(row).collect()
}

/// What a state shows, without the version and without what repeats the channel's name.
fn shown(channel: &str, state: &str) -> Value {
    let state: Value = serde_json::from_str(state).unwrap_or_default();
    let mut shown = json!({"total": state["total"]});
    let keys: &[&str] = match parts(channel) {
        Some((_, "member", _)) => &["rank", "score"],
        Some((_, "top", _)) => &["entries"],
        _ => &["from", "entries"],
    };
    for key in keys {
        shown[*key] = state[*key].clone();
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_compared_without_what_may_differ() {
        let state = r#"{"board":"a","version":9,"total":2,"entries":[{"member":"x","score":1}]}"#;
        let page = json!({"board": "a", "version": 10, "total": 2,
            "entries": [{"rank": 1, "member": "x", "score": 1}]});
        let entries = rows(&page);
        let same = json!({"total": 2, "entries": entries});
        assert_eq!(shown("board:a:top:1", state), same);
        let other = state.replace("\"score\":1", "\"score\":2");
        assert_ne!(shown("board:a:top:1", &other), same);
        let standing = r#"{"version":1,"total":2,"rank":null,"score":null}"#;
        let expected = json!({"total": 2, "rank": null, "score": null});
        assert_eq!(shown("board:a:member:x:y", standing), expected);
        assert_eq!(parts("board:a:member:x:y"), Some(("a", "member", "x:y")));
    }
}
