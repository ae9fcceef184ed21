//! What is stored: golden vectors of the journal's bytes and of the answers to writes with keys,
//! written down from the formats' descriptions by other means than this crate, and every kind of
//! damage that must be noticed.
#![allow(clippy::unwrap_used, reason = "a test that finds nothing to unwrap fails, as it should")]

use std::time::Duration;

use proptest::prelude::*;
use rankwire_engine::record::{self, BatchWriter, Record};
use rankwire_engine::{
    Applied, BoardConfig, Command, Error, Key, Limits, Order, Policy, Recovery, Repair, Score,
    ScoreType, State, Submit, TieBreak, Write, WriteKey, region_id,
};

/// Where the golden batches stand.
const ORIGIN: u64 = 0x0102_0304_0506_0708;
const NUMBER: u64 = 9;

const BOARD: u64 = 0x0123_4567_89ab_cdef;
const SEED: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const STAMP: u64 = 0x38d3_1b25_b700_0003;

/// Golden batches of one format. The mixed one has the longest names and both ends of every range.
struct Golden {
    empty: &'static str,
    create: &'static str,
    drop: &'static str,
    score_int: &'static str,
    score_float: &'static str,
    delete: &'static str,
    mixed: &'static str,
}

/// As the first version wrote them.
const FORMAT_1: Golden = Golden {
    empty: "010000000018e02829",
    create: "\
        010100000001efcdab896745230110736561736f6e2d312e65755f77657374010101020001020304\
        05060708090a0b0c0d0e0f7cfde84c",
    drop: "010100000002efcdab89674523018e3e497c",
    score_int: "\
        010100000003efcdab89674523010c4a6f73c3a920e697a5e69cacd6ffffffffffffff030000b725\
        1bd33800000000c1bd659e",
    score_float: "\
        010100000003efcdab896745230103616461000000000000f8bf030000b7251bd3380700000076d2\
        a2c4",
    delete: "010100000004efcdab896745230104f09f8f8603000000ebc02403",
    mixed: "\
        010500000001efcdab89674523014078787878787878787878787878787878787878787878787878\
        78787878787878787878787878787878787878787878787878787878787878787878787878787800\
        000000000102030405060708090a0b0c0d0e0f03efcdab896745230180c3a9c3a9c3a9c3a9c3a9c3\
        a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3\
        a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3\
        a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9000000\
        0000000080ffffffffffffffffffffffff04efcdab89674523018079797979797979797979797979\
        79797979797979797979797979797979797979797979797979797979797979797979797979797979\
        79797979797979797979797979797979797979797979797979797979797979797979797979797979\
        7979797979797979797979797979797979797979797979797979797979797979797979ffffffff03\
        efcdab89674523010161ffffffffffffff7f00000000000000000000000002ffffffffffffff7f4e\
        12e005",
};

/// As they are written now.
const FORMAT_2: Golden = Golden {
    empty: "0200000000c89a886e",
    create: "\
        020100000001efcdab896745230110736561736f6e2d312e65755f77657374010101020100010203\
        0405060708090a0b0c0d0e0f2e873b6c",
    drop: "020100000002efcdab8967452301551b2800",
    score_int: "\
        020100000003efcdab89674523010c4a6f73c3a920e697a5e69cacd6ffffffffffffff030000b725\
        1bd338000000006ea0ee25",
    score_float: "\
        020100000003efcdab896745230103616461000000000000f8bf030000b7251bd3380700000011d2\
        4a89",
    delete: "020100000004efcdab896745230104f09f8f8603000000d6f9c175",
    mixed: "\
        020500000001efcdab89674523014078787878787878787878787878787878787878787878787878\
        78787878787878787878787878787878787878787878787878787878787878787878787878787800\
        00000000000102030405060708090a0b0c0d0e0f03efcdab896745230180c3a9c3a9c3a9c3a9c3a9\
        c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9\
        c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9\
        c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a90000\
        000000000080ffffffffffffffffffffffff04efcdab896745230180797979797979797979797979\
        79797979797979797979797979797979797979797979797979797979797979797979797979797979\
        79797979797979797979797979797979797979797979797979797979797979797979797979797979\
        797979797979797979797979797979797979797979797979797979797979797979797979ffffffff\
        03efcdab89674523010161ffffffffffffff7f00000000000000000000000002ffffffffffffff7f\
        d6d827ca",
};

/// Batches with fixes, which only format 3 has: one fix, and one among other records.
const FORMAT_3_FIX: &str = "\
    030100000005efcdab89674523010c4a6f73c3a920e697a5e69cacd6ffffffffffffff030000b725\
    1bd33807000000dced3785bfb9b76fa515f390";
const FORMAT_3_MIXED: &str = "\
    030300000004efcdab89674523018079797979797979797979797979797979797979797979797979\
    79797979797979797979797979797979797979797979797979797979797979797979797979797979\
    79797979797979797979797979797979797979797979797979797979797979797979797979797979\
    7979797979797979797979797979797979797979797979ffffffff05efcdab896745230180c3a9c3\
    a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3\
    a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3\
    a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3\
    a9c3a9c3a90000000000000080ffffffffffffffffffffffffffffffffffffff7f03efcdab896745\
    230101610100000000000000000000000000000000000000597d9b34";

/// The region that the first of them names.
const REGION: u64 = 0x6fb7_b9bf_8537_eddc;

fn config(score: ScoreType, order: Order, policy: Policy, ties: TieBreak) -> BoardConfig {
    BoardConfig { score, order, policy, ties, player_submits: false }
}

/// Every golden batch with what it holds.
fn golden(check: impl Fn(&str, &[Record<'_>])) {
    golden_1(&check);
    golden_2(&check);
    golden_3(check);
}

fn golden_1(check: impl Fn(&str, &[Record<'_>])) {
    let config = config(ScoreType::Float64, Order::Asc, Policy::Last, TieBreak::Member);
    golden_of(&FORMAT_1, config, check);
}

fn golden_2(check: impl Fn(&str, &[Record<'_>])) {
    let config = config(ScoreType::Float64, Order::Asc, Policy::Last, TieBreak::Member);
    golden_of(&FORMAT_2, BoardConfig { player_submits: true, ..config }, check);
}

fn golden_3(check: impl Fn(&str, &[Record<'_>])) {
    let (board, stamp, bits) = (BOARD, STAMP, (-42_i64).cast_unsigned());
    let member = "José 日本";
    let fix = Record::Fix { board, member, bits, stamp, generation: 7, region: REGION };
    check(FORMAT_3_FIX, &[fix]);
    let (longest, other) = ("é".repeat(64), "y".repeat(128));
    let (bits, region) = (i64::MIN.cast_unsigned(), i64::MAX.cast_unsigned());
    let (stamp, generation) = (u64::MAX, u32::MAX);
    check(
        FORMAT_3_MIXED,
        &[
            Record::Delete { board, member: &other, generation },
            Record::Fix { board, member: &longest, bits, stamp, generation, region },
            Record::Score { board, member: "a", bits: 1, stamp: 0, generation: 0 },
        ],
    );
}

fn golden_of(golden: &Golden, config: BoardConfig, check: impl Fn(&str, &[Record<'_>])) {
    let (board, stamp) = (BOARD, STAMP);
    check(golden.empty, &[]);
    let name = "season-1.eu_west";
    check(golden.create, &[Record::Create { board, name, config, seed: SEED }]);
    check(golden.drop, &[Record::Drop { board }]);
    let (member, bits) = ("José 日本", (-42_i64).cast_unsigned());
    check(golden.score_int, &[Record::Score { board, member, bits, stamp, generation: 0 }]);
    let (member, bits) = ("ada", (-1.5_f64).to_bits());
    check(golden.score_float, &[Record::Score { board, member, bits, stamp, generation: 7 }]);
    check(golden.delete, &[Record::Delete { board, member: "🏆", generation: 3 }]);
    let (name, longest, other) = ("x".repeat(64), "é".repeat(64), "y".repeat(128));
    let (least, most) = (i64::MIN.cast_unsigned(), i64::MAX.cast_unsigned());
    let (late, often) = (u64::MAX, u32::MAX);
    check(
        golden.mixed,
        &[
            Record::Create { board, name: &name, config: BoardConfig::default(), seed: SEED },
            Record::Score { board, member: &longest, bits: least, stamp: late, generation: often },
            Record::Delete { board, member: &other, generation: often },
            Record::Score { board, member: "a", bits: most, stamp: 0, generation: 0 },
            Record::Drop { board: most },
        ],
    );
}

fn unhex(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn encode(records: &[Record<'_>]) -> Vec<u8> {
    let mut batch = BatchWriter::default();
    for record in records {
        batch.push(record);
    }
    batch.finish(ORIGIN, NUMBER)
}

/// The content with the checksum that belongs to it, so that only the content can be wrong.
fn seal(content: &[u8]) -> Vec<u8> {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&ORIGIN.to_le_bytes());
    hasher.update(&NUMBER.to_le_bytes());
    hasher.update(content);
    [content, &hasher.finalize().to_le_bytes()].concat()
}

/// A batch's bytes without its checksum.
fn content(hex: &str) -> Vec<u8> {
    let mut bytes = unhex(hex);
    bytes.truncate(bytes.len() - 4);
    bytes
}

#[track_caller]
fn assert_refused(bytes: &[u8], why: &str) {
    match record::decode(ORIGIN, NUMBER, bytes) {
        Err(Error::Journal { origin: ORIGIN, number: NUMBER, reason }) => {
            assert!(reason.contains(why), "{reason:?} does not say {why:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn golden_batches_decode() {
    golden(|hex, records| {
        let bytes = unhex(hex);
        assert_eq!(record::decode(ORIGIN, NUMBER, &bytes).as_deref(), Ok(records));
    });
}

#[test]
fn golden_batches_encode() {
    let check = |hex: &str, records: &[Record<'_>]| {
        assert_eq!(encode(records), unhex(hex), "{records:?}");
    };
    golden_2(check);
    golden_3(check);
}

#[test]
fn configurations_keep_their_numbers() {
    let scores = [ScoreType::Int64, ScoreType::Float64];
    let orders = [Order::Desc, Order::Asc];
    let policies = [Policy::Best, Policy::Last, Policy::Sum];
    let ties = [TieBreak::First, TieBreak::Last, TieBreak::Member];
    let golden = content(FORMAT_2.create);
    let at = golden.len() - SEED.len() - 5;
    let numbers = |n: usize| [n % 2, n / 2 % 2, n / 4 % 3, n / 12 % 3, n / 36];
    for numbers in (0..2 * 2 * 3 * 3 * 2).map(numbers) {
        let [s, o, p, t, players] = numbers;
        let config = config(scores[s], orders[o], policies[p], ties[t]);
        let config = BoardConfig { player_submits: players == 1, ..config };
        let record = Record::Create { board: BOARD, name: "season-1.eu_west", config, seed: SEED };
        let mut expected = golden.clone();
        for (byte, number) in expected[at..].iter_mut().zip(numbers) {
            *byte = u8::try_from(number).unwrap();
        }
        let bytes = encode(std::slice::from_ref(&record));
        assert_eq!(bytes, seal(&expected));
        assert_eq!(record::decode(ORIGIN, NUMBER, &bytes), Ok(vec![record]));
    }
}

#[test]
fn rewinding_takes_records_back() {
    let (kept, rest) =
        (Record::Drop { board: BOARD }, Record::Delete { board: 1, member: "a", generation: 1 });
    let mut batch = BatchWriter::default();
    assert!(batch.is_empty());
    let start = batch.mark();
    batch.push(&rest);
    batch.rewind(start);
    assert!(batch.is_empty());
    batch.push(&kept);
    let mark = batch.mark();
    batch.push(&rest);
    batch.push(&rest);
    batch.rewind(mark);
    let (bits, stamp, generation) = (1, 1, 0);
    batch.push(&Record::Fix { board: 1, member: "a", bits, stamp, generation, region: REGION });
    batch.rewind(mark);
    assert_eq!(batch.finish(ORIGIN, NUMBER), unhex(FORMAT_2.drop));
}

#[test]
fn every_flipped_bit_is_noticed() {
    golden(|hex, _| {
        let mut bytes = unhex(hex);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(record::decode(ORIGIN, NUMBER, &bytes).is_err(), "bit {bit} of {hex}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    });
}

#[test]
fn every_truncation_is_noticed() {
    golden(|hex, _| {
        let bytes = unhex(hex);
        for length in 0..bytes.len() {
            let cut = &bytes[..length];
            assert!(record::decode(ORIGIN, NUMBER, cut).is_err(), "{length} bytes of {hex}");
        }
    });
}

#[test]
fn truncations_are_noticed_without_the_checksum_too() {
    let whole = content(FORMAT_2.mixed);
    for length in 5..whole.len() {
        assert_refused(&seal(&whole[..length]), "cut short");
    }
    for length in 0..5 {
        assert_refused(&seal(&whole[..length]), "too short");
    }
}

#[test]
fn a_batch_in_another_place_is_noticed() {
    golden(|hex, _| {
        let bytes = unhex(hex);
        for (origin, number) in [(ORIGIN ^ 1, NUMBER), (ORIGIN, NUMBER + 1), (NUMBER, ORIGIN)] {
            let refused = record::decode(origin, number, &bytes);
            let reason = "checksum mismatch";
            assert_eq!(refused, Err(Error::Journal { origin, number, reason }));
        }
    });
}

#[test]
fn other_formats_and_kinds_are_refused() {
    let whole = content(FORMAT_2.mixed);
    for format in (0..=u8::MAX).filter(|format| !(1..=3).contains(format)) {
        let mut other = whole.clone();
        other[0] = format;
        assert_refused(&seal(&other), "newer version");
    }
    for tag in (0..=u8::MAX).filter(|tag| !(1..=4).contains(tag)) {
        let mut other = whole.clone();
        other[5] = tag;
        assert_refused(&seal(&other), "unknown kind");
        if tag != 5 {
            other[0] = 3;
            assert_refused(&seal(&other), "unknown kind");
        }
    }
}

#[test]
fn other_configurations_are_refused() {
    let whole = content(FORMAT_2.create);
    let at = whole.len() - SEED.len() - 5;
    for (place, values) in [2_u8, 2, 3, 3, 2].into_iter().enumerate() {
        for value in values..=u8::MAX {
            let mut other = whole.clone();
            other[at + place] = value;
            assert_refused(&seal(&other), "newer version");
        }
    }
}

#[test]
fn bytes_after_the_last_record_are_refused() {
    golden(|hex, _| {
        let mut longer = content(hex);
        longer.push(0);
        assert_refused(&seal(&longer), "after the last record");
    });
    let mut fewer = content(FORMAT_2.mixed);
    fewer[1] -= 1;
    assert_refused(&seal(&fewer), "after the last record");
    let mut more = content(FORMAT_2.mixed);
    more[1..5].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_refused(&seal(&more), "cut short");
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    let mut bytes = content(FORMAT_2.score_float);
    let at = bytes.windows(3).position(|window| window == b"ada").unwrap();
    bytes[at] = 0xff;
    assert_refused(&seal(&bytes), "UTF-8");
}

/// The key `order 66` of `scope é`, and digests of requests: every kind of command, each in a life
/// of the board in which it succeeds. With the answer that is kept, whose first byte tells its kind.
#[test]
fn golden_answers() {
    let board = || String::from("season-1.eu_west");
    let submit = |member: &str, score, at_ms| Submit { member: member.into(), score, at_ms };
    let single = |member: &str, score, at_ms| Command::Submit {
        board: board(),
        submit: submit(member, score, at_ms),
    };
    let create = |config| Command::Create { board: board(), config };
    let floats = BoardConfig {
        player_submits: true,
        ..config(ScoreType::Float64, Order::Asc, Policy::Last, TieBreak::Member)
    };
    let pair = vec![submit("ada", Score::Int(1), None), submit("bob", Score::Float(2.5), Some(7))];
    let received = |rest: &str| format!(r#"0{{"board":"season-1.eu_west",{rest}}}"#);
    let jose = |changed| {
        let (score, rank) = if changed { ("null", "null") } else { ("-42", "1") };
        received(&format!(
            r#""member":"José 日本","score":-42,"rank":1,"previous_score":{score},"previous_rank":{rank},"changed":{changed},"version":1"#
        ))
    };
    let described = |kind, config: &str| {
        format!(r#"{kind}{{"board":"season-1.eu_west",{config},"version":0,"total":0}}"#)
    };
    let whole =
        r#""score":"int64","order":"desc","policy":"best","ties":"first","player_submits":false"#;
    let players =
        r#""score":"float64","order":"asc","policy":"last","ties":"member","player_submits":true"#;
    let golden = [
        (create(BoardConfig::default()), "087f60bd64d9a4109beed856abbfdaca", described(2, whole)),
        (create(BoardConfig::default()), "087f60bd64d9a4109beed856abbfdaca", described(1, whole)),
        (
            single("José 日本", Score::Int(-42), Some(1_700_000_000_000)),
            "e3ed9084790eb0bb621f927ec900549c",
            jose(true),
        ),
        (
            single("José 日本", Score::Int(-42), None),
            "0427259edbd384dd626f9d998b3c5fc7",
            jose(false),
        ),
        (Command::Drop { board: board() }, "41431431c3d879eecc13aa4858ac91ff", "0".into()),
        (create(floats), "84b2b39aa764ec64b99cf80048433126", described(2, players)),
        (
            Command::Batch { board: board(), submits: Vec::new() },
            "64d54d10d2e3c96cd0088ab718bbafc3",
            received(r#""submitted":0,"changed":0,"version":0"#),
        ),
        (
            Command::Batch { board: board(), submits: pair },
            "9cfb6bc933604978876ff87a8a7f48ec",
            received(r#""submitted":2,"changed":2,"version":2"#),
        ),
        (
            single("ada", Score::Float(-1.5), Some(-1)),
            "f627983a98dd13efabf94edb2807a27a",
            received(
                r#""member":"ada","score":1.0,"rank":1,"previous_score":1.0,"previous_rank":1,"changed":false,"version":2"#,
            ),
        ),
        (
            single("🏆", Score::Int(0), None),
            "cd9a5ff609018b54d24c5b8f8d7a90f1",
            received(
                r#""member":"🏆","score":0.0,"rank":1,"previous_score":null,"previous_rank":null,"changed":true,"version":3"#,
            ),
        ),
        (
            Command::Remove { board: board(), member: "🏆".into() },
            "c4b57d49b629b59583b1470d86e13ac0",
            "0".into(),
        ),
    ];
    let engine = Recovery::new([], []).finish(1, Limits::default(), false);
    for (number, (command, ..)) in golden.iter().enumerate() {
        let text = if number == 0 { "order 66".into() } else { format!("order {number}") };
        let key = Some(WriteKey::new("scope é", &text).unwrap());
        engine.enqueue(Write { command: command.clone(), key }).unwrap();
    }
    let sealed = engine.seal(Duration::ZERO, || 1_700_000_000_000).unwrap();
    assert_eq!(sealed.answers[0].key[..], unhex("d3d38ab3a6779d209b2bdb003b091bc0"));
    assert_eq!(sealed.answers.len(), golden.len());
    for (kept, (command, request, answer)) in sealed.answers.iter().zip(&golden) {
        assert_eq!(kept.request[..], unhex(request), "{command:?}");
        let (kind, json) = kept.answer.split_first().unwrap();
        assert_eq!(&format!("{kind}{}", std::str::from_utf8(json).unwrap()), answer);
    }
}

/// The board of the golden batch, which has no members, and two repairs of it: of nobody, and of one.
#[test]
fn golden_answers_to_repairs() {
    let engine = Recovery::new([(ORIGIN, NUMBER - 1)], []).finish(1, Limits::default(), false);
    engine.apply(&[(ORIGIN, NUMBER, &unhex(FORMAT_2.create))], false).unwrap();
    let given =
        State { generation: 3, key: Some(Key { score: [0xbff8_0000_0000_0000], stamp: STAMP }) };
    let seen = State { generation: 0, key: None };
    let jose = Repair { member: "José 日本".into(), seen, given };
    let golden = [
        (vec![], "1e4d8ded37f50196f6ccd19462dbd481", r#"{"repaired":0,"moved":0,"same":0}"#),
        (vec![jose], "68d2bef635260037b4f66cabc304d1ad", r#"{"repaired":1,"moved":0,"same":0}"#),
    ];
    for (items, request, answer) in golden {
        let command = Command::Repair { board: "season-1.eu_west".into(), life: BOARD, items };
        let key = Some(WriteKey::new("scope é", request).unwrap());
        engine.enqueue(Write { command, key }).unwrap();
        let sealed = engine.seal(Duration::ZERO, || 1_700_000_000_000).unwrap();
        assert_eq!(sealed.answers[0].request[..], unhex(request));
        assert_eq!(sealed.answers[0].answer[..], [&[0], answer.as_bytes()].concat());
        engine.commit(sealed);
    }
}

/// From another implementation of the hash; records carry these numbers.
#[test]
fn golden_region_ids() {
    assert_eq!(region_id("eu"), REGION);
    assert_eq!(region_id("us"), 0x1922_8b4c_e59e_e1ef);
    assert_eq!(region_id("ap-south-1"), 0x6dd0_a3aa_eba1_d597);
    assert_eq!(region_id("日本"), 0x281c_3608_aba8_73fe);
}

#[derive(Debug, Clone)]
struct Draw {
    tag: u8,
    board: u64,
    text: String,
    numbers: (u64, u64, u32),
}

impl Draw {
    fn record(&self) -> Record<'_> {
        let Self { board, ref text, numbers: (bits, stamp, generation), .. } = *self;
        match self.tag {
            0 => Record::Create {
                board,
                name: text,
                config: BoardConfig { player_submits: bits % 2 == 1, ..BoardConfig::default() },
                seed: u128::from(bits).to_le_bytes(),
            },
            1 => Record::Drop { board },
            2 => Record::Score { board, member: text, bits, stamp, generation },
            3 => Record::Fix { board, member: text, bits, stamp, generation, region: stamp % 2 },
            _ => Record::Delete { board, member: text, generation },
        }
    }
}

/// Any record; boards and members few, so that records meet.
fn draw() -> impl Strategy<Value = Draw> {
    let text = prop_oneof!["[ab]", any::<String>().prop_filter("fits", |text| text.len() < 256)];
    (0..5_u8, 0..3_u64, text, any::<(u64, u64, u32)>())
        .prop_map(|(tag, board, text, numbers)| Draw { tag, board, text, numbers })
}

proptest! {
    #[test]
    fn batches_read_back(draws in prop::collection::vec(draw(), 0..20)) {
        let records: Vec<_> = draws.iter().map(Draw::record).collect();
        let bytes = encode(&records);
        prop_assert_eq!(record::decode(ORIGIN, NUMBER, &bytes), Ok(records));
    }

    /// Whatever a decoded batch says, it can be applied, read and stored.
    #[test]
    fn any_records_can_be_applied(draws in prop::collection::vec(draw(), 0..20)) {
        let records: Vec<_> = draws.iter().map(Draw::record).collect();
        let engine = Recovery::new([(ORIGIN, NUMBER - 1)], []).finish(1, Limits::default(), false);
        let batch = encode(&records);
        engine.apply(&[(ORIGIN, NUMBER, &batch)], false).unwrap();
        let all = Applied { count: 1, stop: None };
        prop_assert_eq!(engine.apply(&[(ORIGIN, NUMBER, &batch)], true), Ok(all));
        prop_assert_eq!(engine.vector(), [(ORIGIN, NUMBER)]);
        engine.boards("", 10);
        for part in engine.checkpoint().into_iter().flat_map(|checkpoint| checkpoint.boards) {
            part.rows(0, usize::MAX);
            part.board.page(0, 10);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(record::decode(ORIGIN, NUMBER, &bytes).is_err());
    }

    #[test]
    fn random_content_never_panics(
        content in prop::collection::vec(prop_oneof![0..6_u8, any::<u8>()], 0..100),
        format in 1..=3_u8,
        count in 0..5_u32,
    ) {
        let head = [&[format], &count.to_le_bytes()[..]].concat();
        let _ = record::decode(ORIGIN, NUMBER, &seal(&[head, content].concat()));
    }
}
