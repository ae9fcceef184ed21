//! Scenes for the model checkers. Each one ends with [`check_end`]: nothing leaks, nothing is freed
//! twice, and no look comes after the end.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use super::toy::{Life, Toy, check_end, publish, publish_from};
use crate::sync::atomic::AtomicBool;
use crate::sync::atomic::Ordering::{Acquire, Release};
use crate::sync::atomic::thread::{self, JoinHandle};
use crate::sync::epoch;
use crate::sync::root::{Root, RootMemory};

/// Runs a scene of two threads under loom, in every order of its steps that takes a thread off the
/// processor three times at most. Loom 0.7 cannot go much further: its bookkeeping of modification
/// orders fails an assertion of its own on some of the scenes (tokio-rs/loom#252).
#[cfg(loom)]
fn explore(scene: impl Fn() + Send + Sync + 'static) {
    explore_to(Some(3), scene);
}

/// The same with another number of preemptions, or without a limit.
#[cfg(loom)]
fn explore_to(preemptions: Option<usize>, scene: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(preemptions);
    builder.check(scene);
}

/// Runs a scene under shuttle in many orders of its steps: random ones, and such that change
/// threads at few places.
#[cfg(shuttle)]
fn explore(scene: impl Fn() + Send + Sync + Clone + 'static) {
    shuttle::check_random(scene.clone(), 10_000);
    shuttle::check_pct(scene, 10_000, 4);
}

#[cfg(shuttle)]
fn explore_to(_preemptions: Option<usize>, scene: impl Fn() + Send + Sync + Clone + 'static) {
    explore(scene);
}

fn root(blocks: usize) -> Arc<Root<Toy>> {
    Arc::new(Root::new(Toy::new(blocks)))
}

fn spawn(
    root: &Arc<Root<Toy>>,
    run: impl FnOnce(&Arc<Root<Toy>>) + Send + 'static,
) -> JoinHandle<()> {
    let root = Arc::clone(root);
    thread::spawn(move || run(&root))
}

/// The epochs alone, with their three parts on three threads: one reads, one makes the block
/// unreachable, and one frees it when it may.
#[test]
fn epochs() {
    explore_to(None, || {
        const DEATH: u64 = 2;
        let block = Arc::new((Life::new(), AtomicBool::new(false)));
        let for_reader = Arc::clone(&block);
        let reader = thread::spawn(move || {
            let _pin = epoch::pin();
            if !for_reader.1.load(Acquire) {
                for_reader.0.look();
            }
        });
        let for_publisher = Arc::clone(&block);
        let publisher = thread::spawn(move || {
            for_publisher.1.store(true, Release);
            assert_eq!(epoch::tick(), DEATH);
        });
        if epoch::horizon() >= DEATH {
            block.0.end();
        }
        reader.join().unwrap();
        publisher.join().unwrap();
        assert_eq!(epoch::horizon(), DEATH);
        assert_eq!(epoch::oldest_pin(), None);
    });
}

/// Where nobody reads any more, a publisher has freed what it replaced when it returns.
#[test]
fn publish_after_two_reads() {
    explore(|| {
        let root = root(1);
        let reader = spawn(&root, |root| root.read().check());
        root.read().check();
        reader.join().unwrap();
        let census = root.read().census();
        assert!(publish(&root, root.read(), &[0]));
        assert_eq!((root.memory(), census.count()), (RootMemory::default(), (1, 1)));
        assert!(publish_from(&root, root.snapshot(), &[0]));
        assert_eq!((root.memory(), census.count()), (RootMemory::default(), (1, 1)));
        check_end(root);
    });
}

/// A version that a reader holds is not freed, however often the root moves on.
#[test]
fn read_while_two_versions_are_published() {
    explore(|| {
        let root = root(2);
        let reader = spawn(&root, |root| {
            let read = root.read();
            read.check();
            read.check();
        });
        assert!(publish(&root, root.read(), &[0]));
        assert!(publish(&root, root.read(), &[1]));
        reader.join().unwrap();
        check_end(root);
    });
}

/// A thread that reads again and again, with pins that nest, does not see freed blocks either.
#[test]
fn read_twice_while_a_version_is_published() {
    explore(|| {
        let root = root(1);
        let reader = spawn(&root, |root| {
            let first = root.read();
            first.check();
            let second = root.read();
            drop(first);
            second.check();
            drop(second);
            root.read().check();
        });
        assert!(publish(&root, root.read(), &[0]));
        reader.join().unwrap();
        check_end(root);
    });
}

/// Of two publishers that start from the same version one gets through.
#[test]
fn two_publishers() {
    explore(|| {
        let root = root(1);
        let wins = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&wins);
        let other = spawn(&root, move |root| {
            theirs.fetch_add(usize::from(publish(root, root.read(), &[0])), SeqCst);
        });
        wins.fetch_add(usize::from(publish(&root, root.read(), &[0])), SeqCst);
        other.join().unwrap();
        assert!(wins.load(SeqCst) > 0);
        assert_eq!(root.read().publishes, wins.load(SeqCst));
        check_end(root);
    });
}

/// What a publisher cannot free for a reader's sake another one may free.
#[test]
fn two_publishers_and_a_reader() {
    explore_to(Some(2), || {
        let root = root(1);
        let reader = spawn(&root, |root| root.read().check());
        let other = spawn(&root, |root| {
            publish(root, root.read(), &[0]);
        });
        publish(&root, root.read(), &[0]);
        reader.join().unwrap();
        other.join().unwrap();
        check_end(root);
    });
}

/// A snapshot is taken while versions are published, and keeps what it needs.
#[test]
fn snapshot_while_two_versions_are_published() {
    explore(|| {
        let root = root(2);
        let reader = spawn(&root, |root| {
            let snapshot = root.snapshot();
            snapshot.check();
            snapshot.check();
        });
        assert!(publish(&root, root.read(), &[0]));
        assert!(publish(&root, root.read(), &[1]));
        reader.join().unwrap();
        check_end(root);
    });
}

/// A snapshot that outlives the thread that took it needs what it needed.
#[test]
fn snapshot_is_read_after_a_version_is_published() {
    explore(|| {
        let root = root(1);
        let taker = {
            let root = Arc::clone(&root);
            thread::spawn(move || root.snapshot())
        };
        assert!(publish(&root, root.read(), &[0]));
        let snapshot = taker.join().unwrap();
        snapshot.check();
        assert!(publish(&root, root.read(), &[0]));
        snapshot.check();
        drop(snapshot);
        check_end(root);
    });
}

/// What is parked on a slot at the moment at which it is released is not forgotten.
#[test]
fn release_while_two_versions_are_published() {
    explore(|| {
        let root = root(2);
        let snapshot = root.snapshot();
        let holder = spawn(&root, |_| {
            snapshot.check();
            drop(snapshot);
        });
        assert!(publish(&root, root.read(), &[0]));
        assert!(publish(&root, root.read(), &[1]));
        holder.join().unwrap();
        check_end(root);
    });
}

/// Items go from one snapshot to the next while that one is released.
#[test]
fn release_two_snapshots() {
    explore(|| {
        let root = root(1);
        let first = root.snapshot();
        let second = root.snapshot();
        assert!(publish(&root, root.read(), &[0]));
        let holder = spawn(&root, |_| {
            first.check();
            drop(first);
        });
        second.check();
        drop(second);
        holder.join().unwrap();
        assert_eq!(root.memory().parked, 0);
        check_end(root);
    });
}

/// A slot is given back and claimed for another version while an item is parked on it.
#[test]
fn release_and_take_a_snapshot_while_a_version_is_published() {
    explore(|| {
        let root = root(1);
        let snapshot = root.snapshot();
        let holder = spawn(&root, |root| {
            drop(snapshot);
            root.snapshot().check();
        });
        assert!(publish(&root, root.read(), &[0]));
        holder.join().unwrap();
        assert_eq!(root.memory().parked, 0);
        check_end(root);
    });
}

/// Publishing from a snapshot does not park what it replaces on that snapshot.
#[test]
fn publish_from_a_snapshot_while_a_version_is_published() {
    explore(|| {
        let root = root(1);
        let base = root.snapshot();
        let other = spawn(&root, |root| {
            publish(root, root.read(), &[0]);
        });
        publish_from(&root, base, &[0]);
        other.join().unwrap();
        assert_eq!(root.memory().parked, 0);
        check_end(root);
    });
}

/// Two threads of each kind, too many for loom.
#[cfg(shuttle)]
#[test]
fn everybody_at_once() {
    const EACH: usize = 2;
    explore(|| {
        let root = root(3);
        let mut threads = Vec::new();
        for k in 0..EACH {
            threads.push(spawn(&root, move |root| {
                for i in 0..3 {
                    publish(root, root.read(), &[i, (i + k + 1) % 3]);
                }
            }));
            threads.push(spawn(&root, |root| {
                let read = root.read();
                root.read().check();
                read.check();
            }));
            threads.push(spawn(&root, |root| {
                let first = root.snapshot();
                let second = root.snapshot();
                let clone = first.clone();
                drop(first);
                second.check();
                drop(second);
                clone.check();
            }));
        }
        for thread in threads {
            thread.join().unwrap();
        }
        check_end(root);
    });
}
