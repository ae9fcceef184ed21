//! Reads any bytes as commands and as replies in Protobuf, and what they mean once more after
//! writing it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rankwire_hub::centrifuge::client::{Answer, Push, Reply, command, replies};
use rankwire_hub::centrifuge::{Command, Encoding, Out, commands};

/// Writes what the server would write for it. False for what only other servers write.
fn write(out: &mut Out<'_>, Reply { id, answer }: Reply<'_>) -> bool {
    match answer {
        Answer::Ping => out.ping(),
        Answer::Connected(reply) if reply.ttl != Some(0) => out.connected(id, &reply),
        Answer::Subscribed(reply) => out.subscribed(id, &reply),
        Answer::Unsubscribed => out.unsubscribed(id),
        Answer::Rpc(data) => out.rpc(id, data),
        Answer::Refreshed { ttl } if ttl != Some(0) => out.refreshed(id, ttl),
        Answer::Pong => out.pong(id),
        Answer::Error { code, message, temporary } if !message.is_empty() => {
            out.error(id, code, message, temporary);
        }
        Answer::Push { channel, push: Push::Publication(publication) } if id == 0 => {
            out.publication(channel, publication);
        }
        Answer::Push { channel, push: Push::Unsubscribe { code, reason } }
            if id == 0 && !reason.is_empty() =>
        {
            out.unsubscribe_push(channel, code, reason);
        }
        _ => return false,
    }
    true
}

fuzz_target!(|message: &[u8]| {
    let read: Vec<Command<'_>> =
        commands(Encoding::Protobuf, message).map_while(Result::ok).collect();
    let mut payload = Vec::new();
    for read in &read {
        command(Encoding::Protobuf, read, &mut payload);
    }
    assert!(commands(Encoding::Protobuf, &payload).eq(read.into_iter().map(Ok)));

    let mut payload = Vec::new();
    let mut out = Out::new(Encoding::Protobuf, &mut payload);
    let mut read: Vec<Reply<'_>> = replies(message).map_while(Result::ok).collect();
    read.retain(|reply| write(&mut out, *reply));
    assert!(replies(&payload).eq(read.into_iter().map(Ok)));
});
