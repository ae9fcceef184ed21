//! Names: which boards a batch gives names to, and which it ends.

use std::collections::HashSet;

use crate::Error;
use crate::record::{self, BoardId, Record};

/// What a batch of the journal does to the names of boards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Names that boards have from the batch on, and those boards.
    pub created: Vec<(String, BoardId)>,
    /// Boards that end with it. One that begins and ends in it is in neither list.
    pub dropped: Vec<BoardId>,
}

/// What [`Sealed::created`](crate::Sealed::created) and [`Sealed::dropped`](crate::Sealed::dropped)
/// said of a batch, from its bytes; each in the order of the records.
///
/// # Errors
/// [`Error::Journal`] when the batch is damaged.
pub fn names_of(origin: u64, number: u64, batch: &[u8]) -> Result<Names, Error> {
    let records = record::decode(origin, number, batch)?;
    let (mut begun, mut ended) = (HashSet::new(), HashSet::new());
    for record in &records {
        match record {
            Record::Create { board, .. } => drop(begun.insert(*board)),
            Record::Drop { board } => drop(ended.insert(*board)),
            _ => {}
        }
    }
    let mut names = Names { created: Vec::new(), dropped: Vec::new() };
    for record in &records {
        match *record {
            Record::Create { board, name, .. } if !ended.contains(&board) => {
                names.created.push((name.to_owned(), board));
            }
            Record::Drop { board } if !begun.contains(&board) => names.dropped.push(board),
            _ => {}
        }
    }
    Ok(names)
}
