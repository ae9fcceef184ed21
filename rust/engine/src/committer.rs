//! The writing side: from queued commands to a sealed batch, and from there to published boards.
//!
//! [`Writer`] is the state that only durable batches may change. A [`Seal`] works on drafts
//! beside it, so giving up a batch is dropping the drafts. One batch is under way at a time: its
//! records must be durable before the next batch may build on them, and before batches of other
//! origins may be applied.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::mem::take;
use std::sync::Arc;

use rankwire_ranklist::{Change, Standing};

use crate::clock::{self, Clock};
use crate::config::{BoardConfig, check_board_name, check_member};
use crate::door::Replies;
use crate::draft::{Draft, Ledger, WARM};
use crate::key::{Answer, Hash, WriteKey};
use crate::limits::Limits;
use crate::policy::{self, Admission};
use crate::queue::{Command, Queued, Submit, Write};
use crate::record::{BatchWriter, BoardId, Record};
use crate::region::RegionId;
use crate::repair::{self, Repair, Repaired, State};
use crate::reply::{BatchReceipt, Outcome, Receipt, Reply};
use crate::{Board, Error, Stamp};

/// What only committed batches change, but for the clock, which never goes back.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) origin: u64,
    pub(crate) region: RegionId,
    /// Number of the next batch.
    pub(crate) next: u64,
    pub(crate) clock: Clock,
    pub(crate) ledgers: HashMap<BoardId, Ledger>,
    /// Every board that is alive.
    pub(crate) boards: HashMap<BoardId, Arc<Board>>,
    /// Boards that have ended since the start, and those that the storage remembered then: 8 bytes
    /// each.
    pub(crate) gone: HashSet<BoardId>,
    /// Whether changes are noted for checkpoints.
    pub(crate) is_tracking: bool,
    /// Whether other nodes write as well.
    pub(crate) is_shared: bool,
    /// Boards that are newer than the last checkpoint.
    pub(crate) changed: HashMap<BoardId, Arc<Board>>,
    /// Boards dropped since the last checkpoint.
    pub(crate) dropped: HashSet<BoardId>,
    /// The last batch applied of every origin: the version vector.
    pub(crate) vector: BTreeMap<u64, u64>,
    /// Whether a sealed batch waits for its commit.
    pub(crate) under_way: bool,
    pub(crate) turns: Turns,
}

/// Who goes next, own batches or those of other origins, when both wait: one after the other.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// How many callers wait to apply batches.
    pub(crate) appliers: usize,
    /// Whether a caller waits to seal.
    pub(crate) sealer: bool,
    /// Whether the last turn was a seal.
    pub(crate) sealed_last: bool,
}

impl Writer {
    pub(crate) fn may_seal(&self) -> bool {
        self.turns.appliers == 0 || !self.turns.sealed_last
    }

    pub(crate) fn may_apply(&self) -> bool {
        !self.under_way && (!self.turns.sealer || self.turns.sealed_last)
    }

    /// How often a member has been deleted, as far as published boards know.
    pub(crate) fn generation(&self, board: BoardId, member: &str) -> u32 {
        self.ledgers.get(&board).map_or(0, |ledger| ledger.generation(member))
    }
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
    /// Answers to be kept with the batch, for writes that have keys.
    pub answers: Vec<Answer>,
    /// Keys of writes that were refused: if the storage has answers to some, they came before and
    /// were not refused then.
    pub doubted: Vec<Hash>,
    /// Whether nothing but repairs succeeded in it. These are right in any region, also where the
    /// storage takes no other batch because another region is the primary.
    pub is_repair: bool,
    /// What the storage has said of the batch so far.
    pub(crate) known: Vec<Answer>,
    pub(crate) taken: Vec<String>,
    /// The commands, if the storage may refuse some of them: see [`Engine::again`](crate::Engine::again).
    pub(crate) commands: Vec<Queued>,
    pub(crate) replies: Replies,
    pub(crate) drafts: Vec<Sketch>,
    pub(crate) submits: u64,
    pub(crate) changes: u64,
    /// How many commands were refused because of what they asked for.
    pub(crate) rejected: u64,
    /// How many replies said that the batch is not committed.
    pub(crate) refused: u64,
}

impl Sealed {
    /// Names that boards have from this batch on, and those boards.
    pub fn created(&self) -> impl Iterator<Item = (&str, BoardId)> {
        let fresh = self.drafts.iter().filter(|sketch| sketch.fresh && !sketch.dropped);
        fresh.map(|sketch| (sketch.draft.board.name(), sketch.draft.board.id()))
    }

    /// Boards that end with this batch.
    pub fn dropped(&self) -> impl Iterator<Item = BoardId> {
        let ended = self.drafts.iter().filter(|sketch| sketch.dropped && !sketch.fresh);
        ended.map(|sketch| sketch.draft.board.id())
    }

    /// Answers everyone that the batch is not committed, while its fate is still open. Doors get
    /// their replies, and the others are returned.
    pub fn refuse(&mut self) -> Vec<Reply> {
        self.refusals(&Error::NotCommitted).deliver()
    }

    /// Takes the replies, all of them refusals now.
    pub(crate) fn refusals(&mut self, why: &Error) -> Replies {
        let mut replies = take(&mut self.replies);
        for reply in replies.iter_mut() {
            // What was wrong with a command stays the better answer.
            if reply.outcome.is_ok() {
                reply.outcome = Err(why.clone());
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
    /// Writes that were answered before: what the storage knows of, and those of this batch.
    known: HashMap<Hash, Answer>,
    /// Names that a board has which has not arrived yet.
    taken: HashSet<String>,
    answers: Vec<Answer>,
    doubted: Vec<Hash>,
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
            known: HashMap::new(),
            taken: HashSet::new(),
            answers: Vec::new(),
            doubted: Vec::new(),
            bytes: BatchWriter::default(),
            drafts: Vec::new(),
            by_name: HashMap::new(),
            last: None,
            count: boards.len(),
            submits: 0,
            changes: 0,
        }
    }

    /// Leaves out writes that the storage has answers to, and boards whose names it knows as taken.
    pub(crate) fn without(mut self, known: &[Answer], taken: &[String]) -> Self {
        self.known = known.iter().map(|answer| (answer.key, answer.clone())).collect();
        self.taken = taken.iter().cloned().collect();
        self
    }

    /// Applies the commands in order and closes the batch.
    pub(crate) fn run(mut self, commands: Vec<Queued>) -> Sealed {
        let is_shared = self.writer.is_shared;
        let may_be_refused = |queued: &Queued| may_be_refused(&queued.write, is_shared);
        let kept = if commands.iter().any(may_be_refused) { commands.clone() } else { Vec::new() };
        let own = commands.iter().filter(|queued| queued.door.is_none()).count();
        let (mut rejected, mut refused, mut is_repair) = (0, 0, true);
        let mut replies = Replies::with_capacity(own);
        let mut commands = commands.into_iter();
        while !commands.as_slice().is_empty() {
            self.warm(commands.as_slice());
            for Queued { ticket, write, door } in commands.by_ref().take(WARM) {
                let repairs = matches!(write.command, Command::Repair { .. });
                let outcome = match write.key {
                    None => self.apply(write.command),
                    Some(key) => self.apply_once(key, write.command),
                };
                match outcome {
                    Ok(_) => is_repair &= repairs,
                    Err(Error::NotCommitted) => refused += 1,
                    Err(_) => rejected += 1,
                }
                replies.push(door, Reply { ticket, outcome });
            }
        }
        let number = self.writer.next;
        let bytes = if self.bytes.is_empty() {
            Vec::new()
        } else {
            self.bytes.finish(self.writer.origin, number)
        };
        let Self { drafts, submits, changes, answers, mut doubted, known, .. } = self;
        // Some were refused first and taken later in this very batch.
        doubted.retain(|key| !known.contains_key(key));
        Sealed {
            number,
            bytes,
            answers,
            doubted,
            known: Vec::new(),
            taken: Vec::new(),
            is_repair,
            commands: kept,
            replies,
            drafts,
            submits,
            changes,
            rejected,
            refused,
        }
    }

    /// Announces the single submits among the first commands to their boards.
    fn warm(&mut self, commands: &[Queued]) {
        let mut submits = Vec::with_capacity(WARM);
        for queued in commands.iter().take(WARM) {
            if let Command::Submit { board, submit } = &queued.write.command
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

    /// Applies a command unless it was applied before, and keeps what it is answered. What is
    /// refused changes nothing and may be decided otherwise next time, so it is not kept.
    fn apply_once(&mut self, key: WriteKey, command: Command) -> Result<Outcome, Error> {
        let request = command.digest();
        if let Some(known) = self.known.get(&key.hash()) {
            return known.repeat(request);
        }
        let outcome = self.apply(command).inspect_err(|_| self.doubted.push(key.hash()))?;
        let answer = Answer::new(key, request, &outcome);
        self.known.insert(key.hash(), answer.clone());
        self.answers.push(answer);
        Ok(outcome)
    }

    fn apply(&mut self, command: Command) -> Result<Outcome, Error> {
        match command {
            Command::Create { board, config } => self.create(&board, config),
            Command::Drop { board } => self.drop_board(&board),
            Command::Submit { board, submit } => self.submit_one(&board, submit),
            Command::Batch { board, submits } => self.submit_all(&board, &submits),
            Command::Remove { board, member } => self.remove(&board, &member),
            Command::Repair { board, life, items } => self.repair(&board, life, &items),
        }
    }

    fn create(&mut self, name: &str, config: BoardConfig) -> Result<Outcome, Error> {
        check_board_name(name)?;
        if self.writer.is_shared && config.sums_floats() {
            return Err(Error::FloatSum);
        }
        if self.taken.contains(name) {
            return Err(Error::NotCommitted);
        }
        if let Ok(index) = self.draft(name) {
            let board = Arc::clone(&self.drafts[index].draft.board);
            return if board.config() == config {
                Ok(Outcome::board(false, &board))
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
        let draft = Draft::begin(Arc::clone(&board), true);
        self.count += 1;
        self.add(Sketch { draft, fresh: true, dropped: false });
        Ok(Outcome::board(true, &board))
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
        let generation = draft.generation(self.writer.generation(board, member), member) + 1;
        self.bytes.push(&Record::Delete { board, member, generation });
        draft.delete(member, generation);
        Ok(Outcome::Gone)
    }

    fn repair(&mut self, name: &str, life: BoardId, items: &[Repair]) -> Result<Outcome, Error> {
        let index = self.draft(name)?;
        let draft = &mut self.drafts[index].draft;
        let (board, config) = (draft.board.id(), draft.board.config());
        if board != life {
            return Err(Error::UnknownBoard(name.to_owned()));
        }
        repair::check(draft, items)?;
        let mut counts = Repaired::default();
        for item in items {
            let base = self.writer.generation(board, &item.member);
            let generation = draft.generation(base, &item.member);
            let now = State { generation, key: draft.list.get(&item.member) };
            if now != item.seen && now != item.given {
                counts.moved += 1;
                continue;
            }
            let records = repair::records((board, config), self.writer.region, item, now);
            if records.is_empty() {
                counts.same += 1;
                continue;
            }
            counts.repaired += 1;
            for record in &records {
                self.bytes.push(record);
                draft.merge(base, record).expect("a checked repair fits its board");
            }
            // As recovery does: what comes next is later.
            self.writer.clock.observe(item.given.key.map_or(0, |key| key.stamp));
        }
        Ok(Outcome::Repaired(counts))
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
            let base = self.writer.generation(board, &submit.member);
            let generation = draft.generation(base, &submit.member);
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
        let draft = Draft::of(board, true);
        Ok(self.add(Sketch { draft, fresh: false, dropped: false }))
    }

    fn add(&mut self, sketch: Sketch) -> usize {
        let index = self.drafts.len();
        self.by_name.insert(sketch.draft.board.name().into(), Some(index));
        self.drafts.push(sketch);
        self.last = Some(index);
        index
    }
}

/// Whether the storage can know of something that makes the write another: its key, or a board of
/// another node that has the same name.
fn may_be_refused(write: &Write, is_shared: bool) -> bool {
    write.key.is_some() || (is_shared && matches!(write.command, Command::Create { .. }))
}

/// Random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| Error::Entropy)?;
    Ok(bytes)
}
