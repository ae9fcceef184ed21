//! Encodes the way from one text to another and applies it; applies bytes that are no delta.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rankwire_hub::delta::{Encoder, apply};

/// Bytes that the text of a damaged delta may have.
const MAX: usize = 1_000;

fuzz_target!(|input: (&[u8], &[u8])| {
    let (old, new) = input;
    let (mut delta, mut out) = (Vec::new(), Vec::new());
    Encoder::default().encode(old, new, &mut delta);
    assert!(std::str::from_utf8(new).is_err() || std::str::from_utf8(&delta).is_ok());
    assert_eq!(apply(old, &delta, &mut out, new.len()), Ok(()));
    assert_eq!(out, new);

    let applied = apply(old, new, &mut out, MAX);
    assert!(out.len() <= MAX && (applied.is_ok() || out.is_empty()));
});
