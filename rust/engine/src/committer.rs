//! The writing side: from queued commands to a sealed batch, and from there to published boards.
//!
//! [`Writer`] is the state that only committed batches may change. A [`Seal`] works on drafts
//! beside it, so giving up a batch is dropping the drafts. One batch is under way at a time: its
//! records must be durable before the next batch may build on them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::mem::take;
use std::sync::Arc;

use rankwire_ranklist::{Change, Standing};

use crate::clock::{self, Clock};
use crate::config::{BoardConfig, check_board_name, check_member};
use crate::door::Replies;
use crate::draft::{Draft, Ledger, WARM};
use crate::limits::Limits;
use crate::policy::{self, Admission};
use crate::queue::{Command, Queued, Submit};
use crate::record::{BatchWriter, BoardId, Record};
use crate::reply::{BatchReceipt, Outcome, Receipt, Reply};
use crate::{Board, Error, Stamp};

/// What only committed batches change, but for the clock, which never goes back.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) origin: u64,
    /// Number of the next batch.
    pub(crate) next: u64,
    pub(crate) clock: Clock,
    pub(crate) ledgers: HashMap<BoardId, Ledger>,
    /// Boards that are newer than the last checkpoint.
    pub(crate) changed: HashMap<BoardId, Arc<Board>>,
    /// Boards dropped since the last checkpoint.
    pub(crate) dropped: HashSet<BoardId>,
    /// The last batch applied of every origin: the version vector.
    pub(crate) vector: BTreeMap<u64, u64>,
    /// Whether a sealed batch waits for its commit.
    pub(crate) under_way: bool,
}

/// A batch of commands, applied to drafts and not durable yet.
///
/// Dropping one without [`Engine::commit`](crate::Engine::commit) or
/// [`Engine::abort`](crate::Engine::abort) leaves the engine unable to seal another.
#[derive(Debug)]
pub struct Sealed {
    /// Number of the batch among those of its origin.
    pub number: u64,
    /// The journal bytes; empty when the commands changed nothing, and then there is nothing to
    /// write.
    pub bytes: Vec<u8>,
    pub(crate) replies: Replies,
    pub(crate) drafts: Vec<Sketch>,
    pub(crate) submits: u64,
    pub(crate) changes: u64,
    /// How many replies said that the batch is not committed.
    pub(crate) refused: u64,
}

impl Sealed {
    /// Answers everyone that the batch is not committed, while its fate is still open. Doors get
    /// their replies, and the others are returned.
    pub fn refuse(&mut self) -> Vec<Reply> {
        self.refusals().deliver()
    }

    /// Takes the replies, all of them refusals now.
    pub(crate) fn refusals(&mut self) -> Replies {
        let mut replies = take(&mut self.replies);
        for reply in replies.iter_mut() {
            // What was wrong with a command stays the better answer.
            if reply.outcome.is_ok() {
                reply.outcome = Err(Error::NotCommitted);
                self.refused += 1;
            }
        }
        replies
    }
}

/// A draft and what is to become of the board.
#[derive(Debug)]
pub(crate) struct Sketch {
    pub(crate) draft: Draft,
    pub(crate) fresh: bool,
    pub(crate) dropped: bool,
}

/// Work in progress on one batch.
pub(crate) struct Seal<'a> {
    writer: &'a mut Writer,
    boards: &'a papaya::HashMap<Box<str>, Arc<Board>>,
    limits: Limits,
    now_ms: i64,
    bytes: BatchWriter,
    drafts: Vec<Sketch>,
    /// The draft of each board that the batch has met; `None` once it is dropped.
    by_name: HashMap<Box<str>, Option<usize>>,
    /// The draft that was looked up last, if it is not dropped: most often it is the next one too.
    last: Option<usize>,
    /// How many boards there are after the commands so far.
    count: usize,
    submits: u64,
    changes: u64,
}

impl<'a> Seal<'a> {
    pub(crate) fn new(
        writer: &'a mut Writer,
        boards: &'a papaya::HashMap<Box<str>, Arc<Board>>,
        limits: Limits,
        now_ms: i64,
    ) -> Self {
        Self {
            writer,
            boards,
            limits,
            now_ms,
            bytes: BatchWriter::default(),
            drafts: Vec::new(),
            by_name: HashMap::new(),
            last: None,
            count: boards.len(),
            submits: 0,
            changes: 0,
        }
    }

    /// Applies the commands in order and closes the batch.
    pub(crate) fn run(mut self, commands: Vec<Queued>) -> Sealed {
        let own = commands.iter().filter(|queued| queued.door.is_none()).count();
        let mut replies = Replies::with_capacity(own);
        let mut commands = commands.into_iter();
        while !commands.as_slice().is_empty() {
            self.warm(commands.as_slice());
            for Queued { ticket, command, door } in commands.by_ref().take(WARM) {
                replies.push(door, Reply { ticket, outcome: self.apply(command) });
            }
        }
        let number = self.writer.next;
        let bytes = if self.bytes.is_empty() {
            Vec::new()
        } else {
            self.bytes.finish(self.writer.origin, number)
        };
        let Self { drafts, submits, changes, .. } = self;
        Sealed { number, bytes, replies, drafts, submits, changes, refused: 0 }
    }

    /// Announces the single submits among the first commands to their boards.
    fn warm(&mut self, commands: &[Queued]) {
        let mut submits = Vec::with_capacity(WARM);
        for queued in commands.iter().take(WARM) {
            if let Command::Submit { board, submit } = &queued.command
                && let Ok(index) = self.draft(board)
            {
                submits.push((index, (&*submit.member, submit.score)));
            }
        }
        submits.sort_by_key(|(index, _)| *index);
        for run in submits.chunk_by(|(a, _), (b, _)| a == b) {
            self.drafts[run[0].0].draft.warm(run.iter().map(|(_, submit)| *submit));
        }
    }

    fn apply(&mut self, command: Command) -> Result<Outcome, Error> {
        match command {
            Command::Create { board, config } => self.create(&board, config),
            Command::Drop { board } => self.drop_board(&board),
            Command::Submit { board, submit } => self.submit_one(&board, submit),
            Command::Batch { board, submits } => self.submit_all(&board, &submits),
            Command::Remove { board, member } => self.remove(&board, &member),
        }
    }

    fn create(&mut self, name: &str, config: BoardConfig) -> Result<Outcome, Error> {
        check_board_name(name)?;
        if let Ok(index) = self.draft(name) {
            let board = Arc::clone(&self.drafts[index].draft.board);
            return if board.config() == config {
                Ok(Outcome::Board { created: false, board })
            } else {
                Err(Error::BoardConflict(name.to_owned()))
            };
        }
        if self.count >= self.limits.boards {
            return Err(Error::TooManyBoards(self.limits.boards));
        }
        let (id, seed) = (random::<8>()?, random::<16>()?);
        // Ids stay below 2^63, so that every storage can hold them as an integer.
        let id = u64::from_le_bytes(id) >> 1;
        self.bytes.push(&Record::Create { board: id, name, config, seed });
        let board = Arc::new(Board::empty(id, name, config, seed));
        let draft = Draft::begin(Arc::clone(&board));
        self.count += 1;
        self.add(Sketch { draft, fresh: true, dropped: false });
        Ok(Outcome::Board { created: true, board })
    }

    fn drop_board(&mut self, name: &str) -> Result<Outcome, Error> {
        let index = self.draft(name)?;
        self.bytes.push(&Record::Drop { board: self.drafts[index].draft.board.id() });
        self.drafts[index].dropped = true;
        self.count -= 1;
        self.by_name.insert(name.into(), None);
        self.last = None;
        Ok(Outcome::Gone)
    }

    fn remove(&mut self, name: &str, member: &str) -> Result<Outcome, Error> {
        let index = self.draft(name)?;
        let draft = &mut self.drafts[index].draft;
        if draft.list.get(member).is_none() {
            return Err(Error::UnknownMember(member.to_owned()));
        }
        let board = draft.board.id();
        let generation = draft.generation(self.writer.ledgers.get(&board), member) + 1;
        self.bytes.push(&Record::Delete { board, member, generation });
        draft.delete(member, generation);
        Ok(Outcome::Gone)
    }

    fn submit_one(&mut self, name: &str, submit: Submit) -> Result<Outcome, Error> {
        let index = self.draft(name)?;
        let (before, after) = self.submit(index, &submit)?;
        let draft = &mut self.drafts[index].draft;
        let changed = before != Some(after);
        if changed {
            draft.touch(&submit.member);
        }
        let board = Arc::clone(&draft.board);
        Ok(Outcome::Submitted(Receipt {
            member: submit.member,
            score: board.score(after.key),
            rank: after.rank,
            previous_score: before.map(|before| board.score(before.key)),
            previous_rank: before.map(|before| before.rank),
            changed,
            version: draft.list.version(),
            board,
        }))
    }

    /// Applies a whole batch or nothing of it.
    fn submit_all(&mut self, name: &str, submits: &[Submit]) -> Result<Outcome, Error> {
        let index = self.draft(name)?;
        let savepoint = self.drafts[index].draft.list.save();
        let (mark, counts) = (self.bytes.mark(), (self.submits, self.changes));
        let mut changed = Vec::new();
        for (item, submit) in submits.iter().enumerate() {
            if item % WARM == 0 {
                let upcoming = submits[item..].iter().take(WARM);
                let upcoming = upcoming.map(|submit| (&*submit.member, submit.score));
                self.drafts[index].draft.warm(upcoming);
            }
            match self.submit(index, submit) {
                Ok((before, after)) if before == Some(after) => {}
                Ok(_) => changed.push(&*submit.member),
                Err(error) => {
                    self.drafts[index].draft.list.restore(&savepoint);
                    self.bytes.rewind(mark);
                    (self.submits, self.changes) = counts;
                    return Err(Error::Item { index: item, error: Box::new(error) });
                }
            }
        }
        let draft = &mut self.drafts[index].draft;
        for member in &changed {
            draft.touch(member);
        }
        Ok(Outcome::Batch(BatchReceipt {
            board: Arc::clone(&draft.board),
            submitted: submits.len(),
            changed: changed.len(),
            version: draft.list.version(),
        }))
    }

    /// Applies one submit to the list of the draft at `index`. Returns where the member stood and
    /// where it stands now; if that is not the same, touching the member is up to the caller.
    fn submit(
        &mut self,
        index: usize,
        submit: &Submit,
    ) -> Result<(Option<Standing>, Standing), Error> {
        check_member(&submit.member)?;
        let stamp = self.stamp(submit)?;
        let draft = &mut self.drafts[index].draft;
        let (board, config) = (draft.board.id(), draft.board.config());
        let score = submit.score.cast(config.score)?;
        let is_full = draft.list.len() >= self.limits.members;
        let mut refusal = None;
        let change = draft.list.update(&submit.member, |current| {
            match policy::admit(config, current, score, stamp) {
                Admission::Overflow => {
                    refusal = Some(Error::Overflow(submit.member.clone()));
                    current
                }
                Admission::Changes(_) if current.is_none() && is_full => {
                    refusal = Some(Error::TooManyMembers(self.limits.members));
                    None
                }
                Admission::Changes(key) | Admission::Unchanged(key) => Some(key),
            }
        });
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        let Change { before, after } = change;
        let after = after.expect("a submit that is not refused leaves its member on the board");
        if before != Some(after) {
            let generation = draft.generation(self.writer.ledgers.get(&board), &submit.member);
            self.bytes.push(&Record::Score {
                board,
                member: &submit.member,
                bits: score.to_bits(),
                stamp,
                generation,
            });
            // As recovery does: what comes next is later, even if `at` was ahead of our clock.
            self.writer.clock.observe(stamp);
            self.changes += 1;
        }
        self.submits += 1;
        Ok((before, after))
    }

    fn stamp(&mut self, submit: &Submit) -> Result<Stamp, Error> {
        match submit.at_ms {
            None => Ok(self.writer.clock.tick(self.now_ms)),
            Some(at_ms) => clock::explicit(at_ms, self.now_ms),
        }
    }

    /// The draft of a board, started if the batch meets the board for the first time.
    fn draft(&mut self, name: &str) -> Result<usize, Error> {
        if let Some(last) = self.last
            && self.drafts[last].draft.board.name() == name
        {
            return Ok(last);
        }
        let unknown = || Error::UnknownBoard(name.to_owned());
        if let Some(index) = self.by_name.get(name) {
            self.last = *index;
            return index.ok_or_else(unknown);
        }
        let board = self.boards.pin().get(name).map(Arc::clone).ok_or_else(unknown)?;
        Ok(self.add(Sketch { draft: Draft::of(board), fresh: false, dropped: false }))
    }

    fn add(&mut self, sketch: Sketch) -> usize {
        let index = self.drafts.len();
        self.by_name.insert(sketch.draft.board.name().into(), Some(index));
        self.drafts.push(sketch);
        self.last = Some(index);
        index
    }
}

/// Random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| Error::Entropy)?;
    Ok(bytes)
}
