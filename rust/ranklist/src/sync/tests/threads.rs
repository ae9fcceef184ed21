//! Tests with real threads, and of what a single thread can see.
//!
//! Pins are process-wide, and other tests of the process pin their threads too, for a moment. So
//! what has to wait for the pins of others is asked for until it is so, by [`look_until`].

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, mpsc};
use std::thread;

use proptest::prelude::*;

use super::toy::{Toy, check_end, look_until, publish, publish_from};
use crate::sync::epoch::{self, Pin};
use crate::sync::root::{Read, Root, RootMemory, Snapshot, Versioned};

const BLOCKS: usize = 8;

/// A snapshot may go to other threads, and a read may not: if it could, the compiler would not know
/// which of two implementations is meant.
const _: () = {
    trait Stays<Way> {
        const YES: () = ();
    }
    struct BySend;
    struct BySync;
    impl<T> Stays<()> for T {}
    impl<T: Send> Stays<BySend> for T {}
    impl<T: Sync> Stays<BySync> for T {}
    const fn goes<T: Send + Sync>() {}

    let () = <Read<'static, Toy> as Stays<_>>::YES;
    goes::<Snapshot<Toy>>();
};

fn root() -> Arc<Root<Toy>> {
    Arc::new(Root::new(Toy::new(BLOCKS)))
}

#[derive(Clone, Debug)]
enum Step {
    Publish(Vec<usize>),
    /// From one of the snapshots that are held.
    PublishFrom(prop::sample::Index, Vec<usize>),
    /// From a version that is no longer the current one.
    PublishLate(Vec<usize>),
    Take,
    Clone(prop::sample::Index),
    Release(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    let places = || {
        let places = prop::collection::btree_set(0..BLOCKS, 0..4);
        places.prop_map(|places| places.into_iter().collect::<Vec<_>>())
    };
    let one = any::<prop::sample::Index>;
    prop_oneof![
        4 => places().prop_map(Step::Publish),
        1 => (one(), places()).prop_map(|(held, places)| Step::PublishFrom(held, places)),
        1 => places().prop_map(Step::PublishLate),
        3 => Just(Step::Take),
        1 => one().prop_map(Step::Clone),
        3 => one().prop_map(Step::Release),
    ]
}

/// Snapshots, each with the number of its claim. Clones have the same one.
type Held = Vec<(usize, Snapshot<Toy>)>;

fn take_step(root: &Arc<Root<Toy>>, held: &mut Held, claim: usize, step: Step) {
    let pick = |held: &Held, index: prop::sample::Index| match held.len() {
        0 => None,
        len => Some(index.index(len)),
    };
    match step {
        Step::Publish(places) => assert!(publish(root, root.read(), &places)),
        Step::PublishFrom(index, places) => {
            if let Some(i) = pick(held, index) {
                let (_, base) = held.swap_remove(i);
                let is_current = base.no() == root.read().no();
                assert_eq!(publish_from(root, base, &places), is_current);
            }
        }
        Step::PublishLate(places) => {
            let late = root.read();
            assert!(publish(root, root.read(), &[0]));
            assert!(!publish(root, late, &places));
        }
        Step::Take => held.push((claim, root.snapshot())),
        Step::Clone(index) => {
            if let Some(i) = pick(held, index) {
                held.push(held[i].clone());
            }
        }
        Step::Release(index) => {
            if let Some(i) = pick(held, index) {
                held.swap_remove(i);
            }
        }
    }
}

/// Checks that what is kept is what the current version and the snapshots reach.
fn check_kept(root: &Arc<Root<Toy>>, held: &Held) {
    let current = root.snapshot();
    let census = current.census();
    let versions: BTreeSet<_> =
        held.iter().map(|(_, held)| held.no()).chain([current.no()]).collect();
    let blocks: BTreeSet<_> =
        held.iter().flat_map(|(_, held)| held.blocks()).chain(current.blocks()).collect();
    drop(current);
    let claims: BTreeSet<_> = held.iter().map(|(claim, _)| claim).collect();
    let expected = RootMemory {
        snapshots: claims.len(),
        parked: blocks.len() - BLOCKS + versions.len() - 1,
        waiting: 0,
    };
    look_until(root, || root.memory() == expected);
    assert_eq!(census.count(), (blocks.len(), versions.len()));
    root.read().check();
    for (_, snapshot) in held {
        snapshot.check();
    }
}

proptest! {
    // A case that fails takes long, because it looks for memory again and again.
    #![proptest_config(ProptestConfig { max_shrink_iters: 10, ..ProptestConfig::default() })]

    /// At any time exactly those blocks and versions are kept that somebody can reach.
    #[test]
    fn what_is_kept_is_what_is_needed(steps in prop::collection::vec(step(), 0..60)) {
        let root = root();
        let mut held = Held::new();
        for (claim, step) in steps.into_iter().enumerate() {
            take_step(&root, &mut held, claim, step);
            check_kept(&root, &held);
        }
        held.clear();
        check_end(root);
    }
}

/// A snapshot keeps its own version, and nothing of the thousands that follow.
#[test]
fn a_long_snapshot_keeps_its_own_version() {
    let root = root();
    let snapshot = root.snapshot();
    for i in 0..10_000 {
        assert!(publish(&root, root.read(), &[i % BLOCKS]));
        assert!(root.memory().parked <= BLOCKS + 1);
    }
    assert_eq!(root.memory().parked, BLOCKS + 1);
    look_until(&root, || root.memory().waiting == 0);
    assert_eq!(root.read().census().count(), (2 * BLOCKS, 2));
    snapshot.check();
    drop(snapshot);
    check_end(root);
}

#[test]
fn a_late_publisher_gets_its_version_back() {
    let root = root();
    let late = root.read();
    assert!(publish(&root, root.read(), &[0]));
    let (next, garbage) = late.with(&[1, 2]);
    let no = next.no();
    let refused = root.publish(late, next, garbage);
    let (base, next) = refused.expect_err("somebody else was first");
    assert_eq!(next.no(), no);
    next.discard();
    drop(base);
    root.read().check();
    check_end(root);
}

/// The first of several pins counts, in whichever order they end.
#[test]
fn pins_nest() {
    let root = root();
    let first = root.read();
    assert!(publish(&root, root.read(), &[0]));
    let second = root.read();
    first.check();
    drop(first);
    assert!(publish(&root, root.read(), &[1]));
    drop(root.snapshot());
    second.check();
    drop(second);
    check_end(root);
}

/// A reader that has stopped holds back memory, and nothing else.
#[test]
fn a_stopped_reader_stops_no_publisher() {
    const PUBLISHES: usize = 10_000;
    let root = root();
    thread::scope(|scope| {
        let (stopped, is_stopped) = mpsc::channel();
        let (go, may_go) = mpsc::channel();
        let reader = Arc::clone(&root);
        scope.spawn(move || {
            let read = reader.read();
            stopped.send(()).unwrap();
            may_go.recv().unwrap();
            read.check();
        });
        is_stopped.recv().unwrap();
        for i in 0..PUBLISHES {
            assert!(publish(&root, root.read(), &[i % BLOCKS]));
        }
        // Each one replaced a block and a version.
        assert_eq!(root.memory().waiting, 2 * PUBLISHES);
        let ago = epoch::oldest_pin().expect("the reader's");
        assert!(ago >= PUBLISHES as u64, "only {ago} publishes ago");
        go.send(()).unwrap();
    });
    check_end(root);
}

/// Reads the root when its thread ends.
struct ReadsAtTheEnd(Arc<Root<Toy>>);

impl Drop for ReadsAtTheEnd {
    fn drop(&mut self) {
        let first = self.0.read();
        let second = self.0.read();
        drop(first);
        second.check();
    }
}

thread_local! {
    static BEFORE: RefCell<Option<ReadsAtTheEnd>> = const { RefCell::new(None) };
    static AFTER: RefCell<Option<ReadsAtTheEnd>> = const { RefCell::new(None) };
    static PINNED_BEFORE: RefCell<Option<Pin>> = const { RefCell::new(None) };
    static PINNED_AFTER: RefCell<Option<Pin>> = const { RefCell::new(None) };
}

/// Threads that ended leave their records to others, even those that are pinned to the last.
#[test]
fn a_thread_that_ends_gives_its_record_back() {
    // Other tests run at the same time, with fewer threads than this.
    const THREADS: usize = 500;
    let root = root();
    let before = epoch::records();
    for i in 0..THREADS {
        let root = Arc::clone(&root);
        let ends = thread::spawn(move || {
            // Thread-locals are dropped in an order that depends on their first use.
            if i % 2 == 0 {
                BEFORE.set(Some(ReadsAtTheEnd(Arc::clone(&root))));
                PINNED_BEFORE.set(None);
            }
            root.read().check();
            if i % 3 == 0 {
                PINNED_BEFORE.set(Some(epoch::pin()));
                PINNED_AFTER.set(Some(epoch::pin()));
            }
            AFTER.set(Some(ReadsAtTheEnd(root)));
        });
        ends.join().unwrap();
    }
    assert!(epoch::records() < before + THREADS / 10, "records are not used again");
    assert!(publish(&root, root.read(), &[0]));
    check_end(root);
}

/// Several threads of each kind work on one root.
#[test]
fn readers_publishers_and_snapshots() {
    const EACH: usize = 2;
    const ROUNDS: usize = 2_000;
    let root = root();
    let wins = AtomicUsize::new(0);
    thread::scope(|scope| {
        for k in 0..EACH {
            let (root, wins) = (&root, &wins);
            scope.spawn(move || {
                for i in 0..ROUNDS {
                    let won = publish(root, root.read(), &[i % BLOCKS, (i + k + 1) % BLOCKS]);
                    wins.fetch_add(usize::from(won), SeqCst);
                }
            });
            scope.spawn(move || {
                for i in 0..ROUNDS / 4 {
                    let won = publish_from(root, root.snapshot(), &[i % BLOCKS]);
                    wins.fetch_add(usize::from(won), SeqCst);
                }
            });
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    let read = root.read();
                    read.check();
                    root.read().check();
                    read.check();
                }
            });
            scope.spawn(move || {
                let mut held = Vec::new();
                for i in 0..ROUNDS {
                    let snapshot = root.snapshot();
                    held.push(snapshot.clone());
                    thread::scope(|scope| {
                        if i % 100 == 0 {
                            scope.spawn(move || snapshot.check());
                        }
                    });
                    if held.len() > 20 {
                        held.swap_remove(i % 20).check();
                    }
                }
                for snapshot in held {
                    snapshot.check();
                }
            });
        }
    });
    assert!(wins.load(SeqCst) > 0);
    assert_eq!(root.read().publishes, wins.load(SeqCst));
    check_end(root);
}
