//! What the server says to what a client says, as tables.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use support::{Client, World, closed, failed, quick};
use tokio_tungstenite::tungstenite::Message;

/// One frame of a client and all that the server answers to it; words in capitals stand for what
/// depends on the board.
type Exchange<'a> = (&'a str, &'a [&'a str]);

async fn talk(world: &World, exchanges: &[Exchange<'_>]) {
    let version = world.version("b");
    let epoch = format!("{:x}", world.engine.board("b").unwrap().id());
    let mut client = world.connect().await;
    for (frame, answers) in exchanges {
        let offset = (version + 1).to_string();
        client.send(&frame.replace("EPOCH", &epoch).replace("OFFSET", &offset)).await;
        for answer in *answers {
            let answer = answer
                .replace("SUBSCRIBED", &format!(
                    r#"{{"recoverable":true,"positioned":true,"epoch":"{epoch}","offset":OFFSET}}"#
                ))
                .replace("OFFSET", &(version + 1).to_string())
                .replace("VERSION", &version.to_string())
                .replace("EPOCH", &epoch);
            let wanted: Value = serde_json::from_str(&answer).unwrap();
            assert_eq!(client.next().await, wanted, "answer to {frame}");
        }
    }
    // Nothing is left over: the next thing that comes is the answer to the next thing asked.
    client.send(r#"{"id":99,"history":{}}"#).await;
    assert_eq!(client.next().await["id"], 99, "after {exchanges:?}");
}

#[tokio::test]
async fn connect_introduces_the_server() {
    let world = World::new(quick());
    let mut client = Client::open(world.hub.address()).await;
    client.send("{\"id\":1,\"connect\":{\"token\":\"\",\"name\":\"js\",\"future\":1}}\n").await;
    let mut reply = client.next().await;
    let id = reply["connect"]["client"].take();
    assert_eq!(id.as_str().map(str::len), Some(32));
    let version = concat!("rankwire ", env!("CARGO_PKG_VERSION"));
    let connect = json!({"client": null, "version": version, "ping": 25, "pong": true});
    assert_eq!(reply, json!({"id": 1, "connect": connect}));
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn commands_are_answered() {
    let world = World::new(quick());
    let exchanges: &[&[Exchange<'_>]] = &[
        &[(
            r#"{"id":2,"subscribe":{"channel":"board:b:top:2","flag":1}}"#,
            &[
                r#"{"id":2,"subscribe":SUBSCRIBED}"#,
                r#"{"push":{"channel":"board:b:top:2","pub":{"offset":OFFSET,"data":{"version":VERSION,
                    "total":3,"entries":[{"member":"ann","score":30},{"member":"bob","score":20}]}}}}"#,
            ],
        )],
        &[(
            r#"{"id":2,"subscribe":{"channel":"board:b:member:bob"}}"#,
            &[
                r#"{"id":2,"subscribe":SUBSCRIBED}"#,
                r#"{"push":{"channel":"board:b:member:bob","pub":{"offset":OFFSET,"data":{
                    "version":VERSION,"total":3,"rank":2,"score":20}}}}"#,
            ],
        )],
        &[(
            r#"{"id":2,"subscribe":{"channel":"board:b:member:a:\"é\""}}"#,
            &[
                r#"{"id":2,"subscribe":SUBSCRIBED}"#,
                r#"{"push":{"channel":"board:b:member:a:\"é\"","pub":{"offset":OFFSET,"data":{
                    "version":VERSION,"total":3,"rank":null,"score":null}}}}"#,
            ],
        )],
        &[(
            r#"{"id":2,"subscribe":{"channel":"board:b:page:2-9"}}"#,
            &[
                r#"{"id":2,"subscribe":SUBSCRIBED}"#,
                r#"{"push":{"channel":"board:b:page:2-9","pub":{"offset":OFFSET,"data":{"version":VERSION,
                    "total":3,"from":2,"entries":[{"member":"bob","score":20},{"member":"cid","score":10}]}}}}"#,
            ],
        )],
        &[(
            r#"{"id":2,"subscribe":{"channel":"board:b:around:cid:1"}}"#,
            &[
                r#"{"id":2,"subscribe":SUBSCRIBED}"#,
                r#"{"push":{"channel":"board:b:around:cid:1","pub":{"offset":OFFSET,"data":{"version":VERSION,
                    "total":3,"from":2,"entries":[{"member":"bob","score":20},{"member":"cid","score":10}]}}}}"#,
            ],
        )],
        &[(
            r#"{"id":2,"subscribe":{"channel":"board:b:around:zoe:1"}}"#,
            &[
                r#"{"id":2,"subscribe":SUBSCRIBED}"#,
                r#"{"push":{"channel":"board:b:around:zoe:1","pub":{"offset":OFFSET,"data":{"version":VERSION,
                    "total":3,"from":null,"entries":[]}}}}"#,
            ],
        )],
        &[(
            r#"{"id":2,"subscribe":{"channel":"board:b:friends","data":{"members":["zoe","cid","ann","cid"]}}}"#,
            &[
                r#"{"id":2,"subscribe":SUBSCRIBED}"#,
                r#"{"push":{"channel":"board:b:friends","pub":{"offset":OFFSET,"data":{"version":VERSION,
                    "total":3,"entries":[{"rank":1,"member":"ann","score":30},{"rank":3,"member":"cid","score":10}]}}}}"#,
            ],
        )],
        &[(
            r#"{"id":2,"subscribe":{"channel":"board:b:events"}}"#,
            &[r#"{"id":2,"subscribe":SUBSCRIBED}"#],
        )],
        // Who has the newest state gets none; who has an older one gets the newest in the reply; the
        // positions of another life of the board count for nothing.
        &[(
            r#"{"id":2,"subscribe":{"channel":"board:b:top:1","recover":true,"epoch":"EPOCH","offset":OFFSET}}"#,
            &[
                r#"{"id":2,"subscribe":{"recoverable":true,"positioned":true,"epoch":"EPOCH","offset":OFFSET,
                "was_recovering":true,"recovered":true}}"#,
            ],
        )],
        &[(
            r#"{"id":2,"subscribe":{"channel":"board:b:top:1","recover":true,"epoch":"EPOCH","offset":1}}"#,
            &[
                r#"{"id":2,"subscribe":{"recoverable":true,"positioned":true,"epoch":"EPOCH","offset":1,
                "was_recovering":true,"recovered":true,"publications":[
                {"offset":OFFSET,"data":{"version":VERSION,"total":3,"entries":[{"member":"ann","score":30}]}}]}}"#,
            ],
        )],
        &[(
            r#"{"id":2,"subscribe":{"channel":"board:b:top:1","recover":true,"epoch":"x","offset":OFFSET}}"#,
            &[
                r#"{"id":2,"subscribe":{"recoverable":true,"positioned":true,"epoch":"EPOCH","offset":OFFSET,
                "was_recovering":true}}"#,
                r#"{"push":{"channel":"board:b:top:1","pub":{"offset":OFFSET,"data":{"version":VERSION,
                    "total":3,"entries":[{"member":"ann","score":30}]}}}}"#,
            ],
        )],
        &[(r#"{"id":2,"ping":{}}"#, &[r#"{"id":2,"ping":{}}"#])],
        &[
            (
                r#"{"id":2,"rpc":{"method":"rank","data":{"board":"b","member":"cid"}}}"#,
                &[
                    r#"{"id":2,"rpc":{"data":{"board":"b","version":VERSION,"member":"cid","score":10,
                    "rank":3,"total":3}}}"#,
                ],
            ),
            (
                r#"{"id":3,"rpc":{"method":"top","data":{"board":"b","limit":1,"offset":1}}}"#,
                &[r#"{"id":3,"rpc":{"data":{"board":"b","version":VERSION,"total":3,
                    "entries":[{"rank":2,"member":"bob","score":20}]}}}"#],
            ),
        ],
        &[
            (r#"{"send":{"data":"anything"}}"#, &[]),
            (r#"{"id":7,"send":{}}"#, &[]),
            (r#"{"id":4,"unsubscribe":{"channel":"nothing"}}"#, &[r#"{"id":4,"unsubscribe":{}}"#]),
        ],
    ];
    for exchange in exchanges {
        talk(&world, exchange).await;
    }
}

#[tokio::test]
async fn errors_answer_one_command_and_the_connection_stays() {
    let world = World::new(quick());
    let unavailable = ["publish", "history", "presence", "presence_stats", "sub_refresh"];
    for command in unavailable {
        let frame = format!(r#"{{"id":5,"{command}":{{"channel":"board:b:top:1"}}}}"#);
        talk(&world, &[(&frame, &[r#"{"id":5,"error":{"code":108,"message":"not available"}}"#])])
            .await;
    }
    for channel in [
        "",
        "board:b",
        "board:b:top:0",
        "board:b:top:101",
        "board:b:page:1",
        "x",
        "board:b:friends:",
    ] {
        let frame = format!(r#"{{"id":5,"subscribe":{{"channel":"{channel}"}}}}"#);
        let error = r#"{"id":5,"error":{"code":102,"message":"unknown channel"}}"#;
        talk(&world, &[(&frame, &[error])]).await;
    }
    talk(
        &world,
        &[
            (
                r#"{"id":5,"subscribe":{"channel":"board:no:top:5"}}"#,
                &[r#"{"id":5,"error":{"code":102,"message":"there is no board named \"no\""}}"#],
            ),
            (
                r#"{"id":6,"rpc":{"method":"player-submit","data":{}}}"#,
                &[r#"{"id":6,"error":{"code":104,"message":"method not found"}}"#],
            ),
            (
                r#"{"id":6,"subscribe":{"channel":"board:b:friends","data":{"members":[]}}}"#,
                &[r#"{"id":6,"error":{"code":107,"message":"bad request: members: 1 to 100 names"}}"#],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_second_subscription_to_a_channel_is_refused() {
    let world = World::new(quick());
    let mut client = world.connect().await;
    client.subscribe("board:b:top:5").await;
    client.send(r#"{"id":5,"subscribe":{"channel":"board:b:top:5"}}"#).await;
    let error = json!({"code": 105, "message": "already subscribed"});
    assert_eq!(client.next().await, json!({"id": 5, "error": error}));
}

#[tokio::test]
async fn rpc_errors_name_what_is_wrong() {
    let world = World::new(quick());
    let mut client = world.connect().await;
    let long = format!(r#"{{"board":"b","member":"{}"}}"#, "x".repeat(129));
    let cases = [
        ("rank", "[]", 107, "data: must be"),
        ("rank", "null", 107, "data: must be"),
        ("rank", r#"{"member":"ann"}"#, 107, "board: is required"),
        ("rank", r#"{"board":"b"}"#, 107, "member: is required"),
        ("rank", r#"{"board":"b","member":5}"#, 107, "member: must be a string"),
        ("rank", &long, 107, "member: a member id is"),
        ("rank", r#"{"board":"-","member":"ann"}"#, 107, "board: a board name is"),
        ("rank", r#"{"board":"b","member":"ann","x":1}"#, 107, "data: may only have board, member"),
        ("rank", r#"{"board":"no","member":"ann"}"#, 404, r#"there is no board named "no""#),
        ("rank", r#"{"board":"b","member":"zoe"}"#, 404, r#"the board has no member "zoe""#),
        ("top", r#"{"board":"b","limit":0}"#, 107, "limit: must be an integer from 1 to 1000"),
        ("top", r#"{"board":"b","limit":1001}"#, 107, "limit: must be"),
        ("top", r#"{"board":"b","limit":"5"}"#, 107, "limit: must be"),
        ("top", r#"{"board":"b","offset":-1}"#, 107, "offset: must be"),
        ("top", r#"{"board":"b","offset":1.5}"#, 107, "offset: must be"),
        ("top", r#"{"board":"no"}"#, 404, r#"there is no board named "no""#),
        ("around", r#"{"board":"b","member":"ann","radius":501}"#, 107, "radius: must be"),
        ("around", r#"{"board":"b","member":"zoe"}"#, 404, r#"the board has no member "zoe""#),
        ("count", r#"{"board":"b","min":1.5}"#, 107, "min: a score on this board is an integer"),
        ("count", r#"{"board":"b","max":"x"}"#, 107, "max: must be a number"),
        ("submit", r#"{"board":"b","member":"ann"}"#, 107, "score: is required"),
    ];
    for (method, data, code, message) in cases {
        let reply = client.rpc(method, data).await;
        assert_eq!(reply["error"]["code"], code, "{method} {data}: {reply}");
        let text = reply["error"]["message"].as_str().unwrap();
        assert!(text.contains(message), "{method} {data}: {text}");
    }
    let reply = client.rpc("top", &format!(r#"{{"board":"b","offset":{}}}"#, u32::MAX)).await;
    assert_eq!(reply["rpc"]["data"]["entries"], json!([]));
    let stats = world.hub.stats();
    assert_eq!(failed(&stats, 107) + failed(&stats, 404), cases.len() as u64);
}

#[tokio::test]
async fn bad_requests_close_for_good() {
    let world = World::new(quick());
    let hello = r#"{"id":1,"connect":{}}"#;
    let huge = format!(r#"{{"id":2,"send":"{}"}}"#, "x".repeat(65_536));
    let many = [r#"{"send":{}}"#; 65].join("\n");
    let cases: &[(&[&str], &str)] = &[
        (&[r#"{"id":1,"subscribe":{"channel":"board:b:top:5"}}"#], "connect must come first"),
        (&[r#"{"id":1,"rpc":{"method":"top"}}"#], "connect must come first"),
        (&["{}"], "connect must come first"),
        (&[hello, hello], "already connected"),
        (&[r#"{"connect":{}}"#], "a command needs an id"),
        (&["hello"], "not a command"),
        (&["[]"], "not a command"),
        (&[r#"{"id":-1,"connect":{}}"#], "not a command"),
        (&[r#"{"id":1,"connect":{}"#], "not a command"),
        (&[hello, r#"{"id":5}"#], "unknown command"),
        (&[hello, r#"{"id":5,"dance":{}}"#], "unknown command"),
        (&[hello, r#"{"subscribe":{"channel":"board:b:top:5"}}"#], "a command needs an id"),
        (&[hello, r#"{"id":5,"subscribe":{"channel":5}}"#], "not a command"),
        (&[hello, &huge], "message too large"),
        (&[hello, &many], "too many commands in a message"),
    ];
    for (frames, reason) in cases {
        let mut client = Client::open(world.hub.address()).await;
        for frame in *frames {
            client.send(frame).await;
        }
        assert_eq!(client.closed().await, (3501, (*reason).to_owned()), "{frames:?}");
    }
    assert_eq!(closed(&world.hub.stats(), 3501), cases.len() as u64);
}

#[tokio::test]
async fn binary_messages_are_bad_requests_and_bad_text_is_not_utf8() {
    let world = World::new(quick());
    let mut client = world.connect().await;
    client.send_message(Message::binary(vec![0])).await;
    assert_eq!(client.closed().await, (3501, "a message must be text".to_owned()));

    let mut client = world.connect().await;
    client.send_message(Message::Frame(support::text_frame(b"\xff"))).await;
    assert_eq!(client.closed().await.0, 1007);
}

#[tokio::test]
async fn commands_of_one_frame_are_answered_in_order() {
    let world = World::new(quick());
    let mut client = Client::open(world.hub.address()).await;
    let frame = [
        r#"{"id":1,"connect":{}}"#,
        r#"{"id":2,"subscribe":{"channel":"board:b:top:1"}}"#,
        r#"{"id":3,"subscribe":{"channel":"board:no:top:1"}}"#,
        r#"{"send":{}}"#,
        r#"{"id":4,"unsubscribe":{"channel":"board:b:top:1"}}"#,
        r#"{"id":5,"subscribe":{"channel":"board:b:top:1"}}"#,
        r#"{"id":6,"rpc":{"method":"top","data":{"board":"b"}}}"#,
        "oops",
        r#"{"id":7,"rpc":{"method":"top","data":{"board":"b"}}}"#,
    ];
    client.send(&frame.join("\n")).await;
    let mut seen = Vec::new();
    while seen.last() != Some(&"6 rpc".to_owned()) {
        let object = client.next().await;
        let kind = object.as_object().unwrap().keys().find(|key| *key != "id").unwrap();
        seen.push(format!("{} {kind}", object["id"].as_u64().unwrap_or(0)));
    }
    let wanted = [
        "1 connect",
        "2 subscribe",
        "0 push",
        "3 error",
        "4 unsubscribe",
        "5 subscribe",
        "0 push",
        "6 rpc",
    ];
    assert_eq!(seen, wanted);
    assert_eq!(client.closed().await, (3501, "not a command".to_owned()));
}

#[tokio::test]
async fn replies_to_one_message_are_limited() {
    let world = World::new(quick());
    let names: Vec<_> = (0..100).map(|n| format!("{n:0>120}")).collect();
    let crowd: Vec<_> = names.iter().map(|name| (name.as_str(), 5)).collect();
    world.submit("b", &crowd);
    let mut client = world.connect().await;
    let call = |id| {
        format!(r#"{{"id":{id},"rpc":{{"method":"top","data":{{"board":"b","limit":100}}}}}}"#)
    };
    client.send(&(1..=64).map(call).collect::<Vec<_>>().join("\n")).await;
    let mut bytes = 0;
    for id in 1..=64 {
        let reply = client.next().await;
        assert_eq!(reply["id"], id);
        if bytes < 64 * 1024 {
            assert_eq!(reply["rpc"]["data"]["entries"].as_array().unwrap().len(), 100);
            bytes += reply.to_string().len();
        } else {
            assert_eq!(reply["error"]["code"], 111, "{reply}");
        }
    }
    client.rpc("top", r#"{"board":"b"}"#).await;
}
