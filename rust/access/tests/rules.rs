//! The rules: every kind of caller with every action, against a table written down by hand.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use rankwire_access::{Access, Action, Caller, Denied, Mode, Policy, Scope};
use serde_json::json;
use support::{NOW_S, access, api_key, identify, policy, sign, with};

/// The columns of the table.
const ACTIONS: [Action<'static>; 9] = [
    Action::Read { board: "b" },
    Action::ListBoards,
    Action::Submit { board: "b", member: "ann", player_submits: true },
    Action::Submit { board: "b", member: "ann", player_submits: false },
    Action::Submit { board: "b", member: "bob", player_submits: true },
    Action::Submit { board: "b", member: "bob", player_submits: false },
    Action::SubmitBatch { board: "b" },
    Action::Manage { board: "b" },
    Action::Operate,
];

/// One row: `+` allowed, `F` forbidden, `A` a credential is needed.
fn row(access: &Access, caller: &Caller) -> String {
    let verdict = |action| match access.check(caller, action, NOW_S) {
        Ok(()) => '+',
        Err(Denied::Forbidden(_)) => 'F',
        Err(Denied::Anonymous) => 'A',
        Err(other) => panic!("{other:?}"),
    };
    ACTIONS.iter().map(verdict).collect()
}

#[test]
fn everybody_and_nobody() {
    let open = Access::new(Policy { mode: Mode::Open, ..policy() });
    assert_eq!(row(&open, &open.identify(None, NOW_S).unwrap()), "+++++++++");
    let reading = Access::new(Policy { anonymous_read: true, ..policy() });
    assert_eq!(row(&reading, &reading.identify(None, NOW_S).unwrap()), "+AAAAAAAA");
}

#[test]
fn players() {
    let access = access(policy());
    let rows = [
        // scope         boards                row
        ("read submit", json!(["*"]), "+F+FFFFFF"),
        ("read submit", json!(["b"]), "+F+FFFFFF"),
        ("read submit", json!(["x", "b*"]), "+F+FFFFFF"),
        ("read submit", json!(["B", "bb*", "x"]), "FFFFFFFFF"),
        ("read submit", json!([]), "FFFFFFFFF"),
        ("read", json!(["*"]), "+FFFFFFFF"),
        ("submit", json!(["*"]), "FF+FFFFFF"),
        ("submit", json!(["x"]), "FFFFFFFFF"),
        ("admin operator", json!(["*"]), "FFFFFFFFF"),
    ];
    for (scope, boards, expected) in rows {
        let mut claims = with("scope", scope);
        claims["boards"] = boards.clone();
        let caller = identify(&access, &sign(0, &claims)).unwrap();
        assert_eq!(row(&access, &caller), expected, "{scope} {boards}");
    }
    assert_eq!(
        row(&access, &identify(&access, &sign(0, &support::claims())).unwrap()),
        "+F+FFFFFF"
    );
}

/// Each scope allows its actions, whatever the other scopes are.
#[test]
fn keys() {
    // Which actions take which scope, in the order of the columns.
    let by_scope = [
        (Scope::Read, "++FFFFFFF"),
        (Scope::Submit, "FF+++++FF"),
        (Scope::Admin, "FFFFFFF+F"),
        (Scope::Operator, "FFFFFFFF+"),
    ];
    let access = Access::new(policy());
    for set in 0..16_u8 {
        let held = |bit: usize| set >> bit & 1 == 1;
        let scopes: Vec<Scope> =
            (0..4).filter(|bit| held(*bit)).map(|bit| by_scope[bit].0).collect();
        let allowed = |column: usize| {
            (0..4).any(|bit| held(bit) && by_scope[bit].1.as_bytes()[column] == b'+')
        };
        // What a list of boards takes away: listing is for all boards, metrics are for none.
        let patterns: [(&[&str], &str); 5] = [
            (&[], "+++++++++"),
            (&["x", "*"], "+++++++++"),
            (&["b"], "+F+++++++"),
            (&["x", "b*"], "+F+++++++"),
            (&["x", "c*"], "FFFFFFFF+"),
        ];
        for (boards, left) in patterns {
            let (text, record) = api_key(&scopes, boards);
            access.set_keys(vec![record]);
            let caller: Arc<Caller> = identify(&access, &text).unwrap();
            let expected: String = (0..ACTIONS.len())
                .map(|column| {
                    let both = allowed(column) && left.as_bytes()[column] == b'+';
                    if both { '+' } else { 'F' }
                })
                .collect();
            assert_eq!(row(&access, &caller), expected, "{scopes:?} {boards:?}");
        }
    }
}

/// Players, who read them, are told what is wrong.
#[test]
fn reasons() {
    let access = access(policy());
    let caller = identify(&access, &sign(0, &with("boards", vec!["b"]))).unwrap();
    let reason = |action| access.check(&caller, &action, NOW_S).unwrap_err().to_string();
    let submit = |board, member| Action::Submit { board, member, player_submits: false };
    assert_eq!(reason(submit("c", "bob")), "the token is not for this board");
    assert_eq!(reason(submit("b", "bob")), "a player submits its own scores only");
    assert_eq!(reason(submit("b", "ann")), "the board takes no scores from players");
    assert_eq!(reason(Action::SubmitBatch { board: "b" }), "this takes an API key");
}
