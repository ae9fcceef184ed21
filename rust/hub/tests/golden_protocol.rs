//! Messages as the official Python SDK (centrifuge-python 0.7.0) writes and reads them.
//!
//! The bytes of the commands are what its two codecs made of dictionaries. The bytes of the replies
//! are what its Protobuf classes serialize; the hub writes the same, byte for byte.

#![allow(missing_docs, reason = "a test")]

use rankwire_hub::centrifuge::codes::{Close, CommandError};
use rankwire_hub::centrifuge::{
    Body, Command, Connected, Data, Encoding, Out, Publication, Subscribe, Subscribed, commands,
};

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
    (0..hex.len()).step_by(2).map(digits).collect()
}

fn command(id: u32, body: Body<'_>) -> Command<'_> {
    Command { id, body }
}

/// Name, JSON, Protobuf, meaning.
type Row = (&'static str, &'static str, &'static str, Command<'static>);

#[allow(clippy::too_many_lines, reason = "a table")]
fn sent_by_the_sdk() -> Vec<Row> {
    vec![
        (
            "connect",
            r#"{"id": 1, "connect": {"token": "rwk_a", "name": "python", "version": "0.7.0", "headers": {"k": "v"}, "subs": {"lb": {"recover": true, "offset": 3, "epoch": "e"}}}}"#,
            "310801222d0a0572776b5f611a0d0a026c621207180132016538032206707974686f6e2a05302e372e3032060a016b120176",
            command(1, Body::Connect { token: "rwk_a".into() }),
        ),
        (
            "connect without a token",
            r#"{"id": 1, "connect": {"name": "python"}}"#,
            "0c080122082206707974686f6e",
            command(1, Body::Connect { token: "".into() }),
        ),
        (
            "subscribe",
            r#"{"id": 2, "subscribe": {"channel": "board:\u00fc:top:10", "flag": 1}}"#,
            "1708022a130a0f626f6172643ac3bc3a746f703a31307001",
            command(
                2,
                Body::Subscribe(Subscribe {
                    channel: "board:ü:top:10".into(),
                    ..Subscribe::default()
                }),
            ),
        ),
        (
            "subscribe with everything",
            r#"{"id": 3, "subscribe": {"channel": "board:arena:friends", "recover": true, "offset": 18446744073709551615, "epoch": "9f", "data": {"members":["a"]}, "positioned": true, "recoverable": true, "delta": "fossil", "flag": 1, "token": "t", "join_leave": true}}"#,
            "5008032a4c0a13626f6172643a6172656e613a667269656e647312017418013202396638ffffffffffffffffff0142117b226d656d62657273223a5b2261225d7d4801500158016206666f7373696c7001",
            command(
                3,
                Body::Subscribe(Subscribe {
                    channel: "board:arena:friends".into(),
                    data: Some(br#"{"members":["a"]}"#),
                    recover: true,
                    offset: u64::MAX,
                    epoch: "9f".into(),
                    delta: true,
                }),
            ),
        ),
        (
            "unsubscribe",
            r#"{"id": 300, "unsubscribe": {"channel": "board:arena:top:10"}}"#,
            "1908ac0232140a12626f6172643a6172656e613a746f703a3130",
            command(300, Body::Unsubscribe { channel: "board:arena:top:10".into() }),
        ),
        (
            "rpc",
            r#"{"id": 4294967295, "rpc": {"method": "rank", "data": {"board":"arena","member":"ann"}}}"#,
            "3008ffffffff0f6a280a207b22626f617264223a226172656e61222c226d656d626572223a22616e6e227d120472616e6b",
            command(
                u32::MAX,
                Body::Rpc {
                    method: "rank".into(),
                    data: Some(br#"{"board":"arena","member":"ann"}"#),
                },
            ),
        ),
        (
            "rpc without data",
            r#"{"id": 5, "rpc": {"method": "top"}}"#,
            "0908056a051203746f70",
            command(5, Body::Rpc { method: "top".into(), data: None }),
        ),
        (
            "refresh",
            r#"{"id": 6, "refresh": {"token": "new"}}"#,
            "09080672050a036e6577",
            command(6, Body::Refresh { token: "new".into() }),
        ),
        ("ping", r#"{"id": 7, "ping": {}}"#, "0408075a00", command(7, Body::Ping)),
        (
            "send",
            r#"{"send": {"data": {"seen":[1,2]}}}"#,
            "1262100a0e7b227365656e223a5b312c325d7d",
            command(0, Body::Send { data: Some(br#"{"seen":[1,2]}"#) }),
        ),
        (
            "publish",
            r#"{"id": 8, "publish": {"channel": "c", "data": {}}}"#,
            "0b08083a070a016312027b7d",
            command(8, Body::Unavailable),
        ),
        (
            "presence",
            r#"{"id": 9, "presence": {"channel": "c"}}"#,
            "07080942030a0163",
            command(9, Body::Unavailable),
        ),
        (
            "presence_stats",
            r#"{"id": 10, "presence_stats": {"channel": "c"}}"#,
            "07080a4a030a0163",
            command(10, Body::Unavailable),
        ),
        (
            "history",
            r#"{"id": 11, "history": {"channel": "c", "limit": 10, "since": {"offset": 1, "epoch": "e"}}}"#,
            "10080b520c0a0163380a42050801120165",
            command(11, Body::Unavailable),
        ),
        (
            "sub_refresh",
            r#"{"id": 12, "sub_refresh": {"channel": "c", "token": "t"}}"#,
            "0a080c7a060a0163120174",
            command(12, Body::Unavailable),
        ),
        ("pong", "{}", "00", command(0, Body::Pong)),
    ]
}

#[test]
fn commands_of_the_sdk_are_understood() {
    for (name, json, protobuf, expected) in sent_by_the_sdk() {
        let expected = [Ok(expected)];
        assert!(commands(Encoding::Json, json.as_bytes()).eq(expected.clone()), "{name} in JSON");
        assert!(commands(Encoding::Protobuf, &bytes(protobuf)).eq(expected), "{name} in Protobuf");
    }
}

#[test]
fn all_commands_of_the_sdk_fit_into_one_message() {
    let rows = sent_by_the_sdk();
    let json = rows.iter().map(|row| row.1).collect::<Vec<_>>().join("\n");
    let protobuf = rows.iter().flat_map(|row| bytes(row.2)).collect::<Vec<_>>();
    let expected = || rows.iter().map(|row| Ok(row.3.clone()));
    assert!(commands(Encoding::Json, json.as_bytes()).eq(expected()));
    assert!(commands(Encoding::Protobuf, &protobuf).eq(expected()));
}

#[track_caller]
fn assert_written(write: impl Fn(&mut Out<'_>), json: &str, protobuf: &str) {
    let mut payload = Vec::new();
    write(&mut Out::new(Encoding::Json, &mut payload));
    assert_eq!(String::from_utf8(payload).expect("JSON is UTF-8"), json);
    let mut payload = Vec::new();
    write(&mut Out::new(Encoding::Protobuf, &mut payload));
    assert_eq!(payload, bytes(protobuf));
}

#[test]
fn the_reply_to_connect_is_what_the_sdk_reads() {
    let reply = Connected { client: "7-1", version: "rankwire 0.1.0", ping_s: 25, ttl: Some(600) };
    assert_written(
        |out| out.connected(1, &reply),
        r#"{"id":1,"connect":{"client":"7-1","version":"rankwire 0.1.0","expires":true,"ttl":600,"ping":25,"pong":true}}"#,
        "2208012a1e0a03372d31120e72616e6b7769726520302e312e30180120d80438194001",
    );
}

#[test]
fn replies_to_subscribe_are_what_the_sdk_reads() {
    assert_written(
        |out| out.subscribed(2, &Subscribed::default()),
        r#"{"id":2,"subscribe":{}}"#,
        "0408023200",
    );
    let state = br#"{"version":41}"#;
    let reply = Subscribed {
        recoverable: true,
        positioned: true,
        epoch: "9f",
        offset: 41,
        delta: true,
        was_recovering: true,
        recovered: true,
        publication: Some(Publication { offset: 42, data: Data::Text(state) }),
    };
    assert_written(
        |out| out.subscribed(3, &reply),
        r#"{"id":3,"subscribe":{"recoverable":true,"epoch":"9f","publications":[{"data":"{\"version\":41}","offset":42}],"recovered":true,"offset":41,"positioned":true,"was_recovering":true,"delta":true}}"#,
        "28080332241801320239663a12220e7b2276657273696f6e223a34317d302a40014829500160016801",
    );
}

#[test]
fn other_replies_are_what_the_sdk_reads() {
    assert_written(|out| out.unsubscribed(4), r#"{"id":4,"unsubscribe":{}}"#, "0408043a00");
    assert_written(
        |out| out.rpc(5, br#"{"rank":1}"#),
        r#"{"id":5,"rpc":{"data":{"rank":1}}}"#,
        "1008056a0c0a0a7b2272616e6b223a317d",
    );
    assert_written(
        |out| out.refreshed(6, Some(3600)),
        r#"{"id":6,"refresh":{"expires":true,"ttl":3600}}"#,
        "0908067205180120901c",
    );
    assert_written(|out| out.refreshed(6, None), r#"{"id":6,"refresh":{}}"#, "0408067200");
    assert_written(|out| out.pong(7), r#"{"id":7,"ping":{}}"#, "0408076200");
    assert_written(
        |out| out.failed(8, &CommandError::TooManyRequests),
        r#"{"id":8,"error":{"code":111,"message":"too many requests","temporary":true}}"#,
        "1b08081217086f1211746f6f206d616e792072657175657374731801",
    );
}

#[test]
fn pushes_are_what_the_sdk_reads() {
    let state = br#"{"version":299}"#;
    assert_written(
        |out| {
            let data = Data::Json(state);
            out.publication("board:ü:top:10", Publication { offset: 300, data });
        },
        r#"{"push":{"channel":"board:ü:top:10","pub":{"data":{"version":299},"offset":300}}}"#,
        "292227120f626f6172643ac3bc3a746f703a31302214220f7b2276657273696f6e223a3239397d30ac02",
    );
    assert_written(
        |out| {
            let data = Data::Delta(b"2\n2:{}1xF000;");
            out.publication("board:arena:top:10", Publication { offset: 2, data });
        },
        r#"{"push":{"channel":"board:arena:top:10","pub":{"data":"2\n2:{}1xF000;","offset":2,"delta":true}}}"#,
        "2b22291212626f6172643a6172656e613a746f703a31302213220d320a323a7b7d3178463030303b30024001",
    );
    assert_written(
        |out| out.unsubscribe_push("c", 2500, "board deleted"),
        r#"{"push":{"channel":"c","unsubscribe":{"code":2500,"reason":"board deleted"}}}"#,
        "1922171201633a1210c4131a0d626f6172642064656c65746564",
    );
    assert_written(
        |out| out.disconnect_push(Close::Shutdown),
        r#"{"push":{"disconnect":{"code":3001,"reason":"shutdown"}}}"#,
        "11220f5a0d08b917120873687574646f776e",
    );
}

#[test]
fn a_ping_is_an_empty_message() {
    assert_written(
        |out| {
            out.ping();
        },
        "{}",
        "00",
    );
    assert_written(
        |out| {
            out.pong(7);
            out.ping();
            out.ping();
        },
        "{\"id\":7,\"ping\":{}}\n{}\n{}",
        "04080762000000",
    );
}
