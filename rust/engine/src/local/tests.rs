//! What the binding's tests cannot see well: columns are erased and found again.

use super::*;
use crate::{Order, Score, ScoreType};

const POINTS: Column = Column { score: ScoreType::Int64, order: Order::Desc };
const SECONDS: Column = Column { score: ScoreType::Float64, order: Order::Asc };

fn board(columns: &[Column], seed: u8) -> Board {
    Board::new(columns, Policy::Best, TieBreak::First, [seed; 16]).unwrap()
}

fn int(score: i64) -> Scores {
    Scores::new(&[Score::Int(score)]).unwrap()
}

fn race(points: i64, seconds: f64) -> Scores {
    Scores::new(&[Score::Int(points), Score::Float(seconds)]).unwrap()
}

#[test]
fn columns_count_one_after_the_other() {
    let board = board(&[POINTS, SECONDS], 0);
    for (member, points, seconds) in [("slow", 3, 9.0), ("fast", 3, 8.0), ("weak", 2, 1.0)] {
        board.submit(member, &race(points, seconds)).unwrap();
    }
    let names: Vec<_> = board.read().page(0, 9).into_iter().map(|row| row.member).collect();
    assert_eq!(names, ["fast".into(), "slow".into(), "weak".into()]);
    let read = board.read();
    assert_eq!(read.count(Some(&race(3, 9.0)), None), Ok(2));
    assert_eq!(read.count(Some(&race(3, 8.5)), Some(&race(3, 8.0))), Ok(1));
    assert_eq!(read.count(None, Some(&race(2, 1.0))), Ok(1));
}

#[test]
fn boards_of_no_or_many_columns_and_scores_of_others_are_refused() {
    for columns in [0, MAX_COLUMNS + 1] {
        let columns = vec![POINTS; columns];
        assert!(Board::new(&columns, Policy::Best, TieBreak::First, [0; 16]).is_err());
        assert!(Scores::new(&vec![Score::Int(0); columns.len()]).is_err());
    }
    let board = board(&[POINTS], 0);
    assert!(matches!(board.submit("ada", &race(1, 1.0)), Err(Error::Score(_))));
    assert!(matches!(board.read().count(Some(&race(1, 1.0)), None), Err(Error::Score(_))));
}

#[test]
fn one_bad_item_stops_all() {
    let board = board(&[POINTS], 0);
    let items = [("ada", int(1)), ("", int(1))];
    assert_eq!(
        board.submit_all(&items),
        Err(Error::Item { index: 1, error: Box::new(Error::MemberName) })
    );
    assert!(board.read().is_empty());
}

#[test]
fn only_boards_of_one_seed_and_columns_are_compared() {
    let (a, b) = (board(&[POINTS], 1), board(&[POINTS], 1));
    a.submit("ada", &int(1)).unwrap();
    let (here, there) = (a.snapshot(), b.snapshot());
    let found = here.differences(&*there, 9).unwrap();
    assert_eq!(found, [Difference { member: "ada".into(), here: Some(int(1)), there: None }]);
    for other in [board(&[POINTS], 2), board(&[SECONDS], 1), board(&[POINTS, POINTS], 1)] {
        assert_eq!(here.differences(&*other.snapshot(), 9), None);
    }
}

/// Whatever the limit, what is told of a member is the whole truth about it. The list may come by
/// both sides of a member together, or by one side of all first.
#[test]
fn differences_are_not_cut_in_two() {
    let board = board(&[POINTS], 1);
    let names: Vec<_> = (0..50).map(|n| format!("m{n:02}")).collect();
    let submit = |bonus: i64| {
        let items: Vec<_> = names.iter().zip(0..).map(|(m, n)| (m, int(10 * n + bonus))).collect();
        board.submit_all(&items).unwrap();
        board.snapshot()
    };
    let (before, little, much) = (submit(0), submit(1), submit(1000));
    let score = |at: &Arc<dyn Snapshot>, member: &str| at.standing(member).map(|row| row.score);
    let cases = (0..=51).flat_map(|limit| [(&little, limit), (&much, limit)]);
    for (after, limit) in cases {
        let found = after.differences(&*before, limit).unwrap();
        assert_eq!(found.len(), limit.min(50));
        for Difference { member, here, there } in found {
            assert_eq!((here, there), (score(after, &member), score(&before, &member)));
        }
    }
}
