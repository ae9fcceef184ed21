//! Reads any bytes as commands in JSON, and what they mean once more after writing it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rankwire_hub::centrifuge::{Body, Command, Encoding, client, commands};

/// Whether data may stand in a line as it is; that with newlines between its tokens cannot come.
fn is_json(data: Option<&[u8]>) -> bool {
    data.is_none_or(|data| serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok())
}

fuzz_target!(|message: &[u8]| {
    let read: Vec<Command<'_>> = commands(Encoding::Json, message).map_while(Result::ok).collect();
    for command in &read {
        if let Body::Rpc { data, .. } | Body::Send { data } = command.body {
            assert!(is_json(data));
        }
        if let Body::Subscribe(subscribe) = &command.body {
            assert!(is_json(subscribe.data));
        }
    }
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        let mut payload = Vec::new();
        for command in &read {
            client::command(encoding, command, &mut payload);
        }
        assert!(commands(encoding, &payload).eq(read.iter().cloned().map(Ok)));
    }
});
