//! What is kept of each stream, and what goes first when it is too much.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    task::Waker,
};

use mcp_jsonrpc::{Id, Message, RpcError, transport::EventStream};
use tokio::time::Instant;

use super::{ReplayMax, place::Purpose};

/// What a kept message counts beside its bytes.
const MESSAGE_COST: usize = 256;
/// What a stream counts of which nothing is kept.
const STREAM_COST: usize = 512;

/// Where a stream's events come from; none when there are no more.
pub(super) type Source = Arc<Mutex<Option<EventStream>>>;

/// The streams of one session.
#[derive(Default)]
pub(super) struct Rings {
    begun: u64,
    rings: BTreeMap<u64, Ring>,
    bytes: usize,
    len: usize,
}

/// The last events of one stream.
pub(super) struct Ring {
    pub(super) name: Arc<str>,
    purpose: Purpose,
    source: Source,
    kept: VecDeque<Kept>,
    /// The place of the next event; the first is 1, what primes a client 0.
    next: u64,
    /// Which of its readers may go on: the last that came.
    turn: u64,
    reader: Option<Waker>,
    life: Life,
}

struct Kept {
    /// None for one that is too long.
    message: Option<Message>,
    at: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    /// More will come.
    Open,
    /// It listened; its client is gone.
    Lost(Instant),
    /// All has been said.
    Over { since: Instant, heard: bool },
}

/// What a reader finds.
#[derive(Debug)]
pub(super) enum Found {
    /// The event at its place.
    Message(Message),
    /// So many are not kept any more.
    Missing(u64),
    /// Nothing yet.
    Nothing,
    /// Nothing more, for this reader at least.
    Over,
}

/// A reader's turn.
pub(super) struct Turn {
    pub(super) turn: u64,
    pub(super) name: Arc<str>,
    pub(super) source: Source,
}

// === impl Rings ===

impl Rings {
    /// Takes in a stream; `name` makes its name from its number.
    pub(super) fn begin(
        &mut self,
        max: &ReplayMax,
        purpose: Purpose,
        source: EventStream,
        name: impl FnOnce(u64, &Purpose) -> Option<Box<str>>,
    ) -> Option<(u64, Turn)> {
        let number = self.begun;
        let name: Arc<str> = name(number, &purpose)?.into();
        let source = Arc::new(Mutex::new(Some(source)));
        let turn = Turn { turn: 0, name: Arc::clone(&name), source: Arc::clone(&source) };
        let ring = Ring {
            name,
            purpose,
            source,
            kept: VecDeque::new(),
            next: 1,
            turn: 0,
            reader: None,
            life: Life::Open,
        };
        self.begun += 1;
        self.bytes += STREAM_COST;
        self.len += 1;
        self.rings.insert(number, ring);
        self.make_room(max, number);
        Some((number, turn))
    }

    /// Keeps what comes next; false where the turn is another reader's.
    pub(super) fn push(
        &mut self,
        max: &ReplayMax,
        (number, turn): (u64, u64),
        message: &Message,
    ) -> bool {
        let Some(ring) = self.rings.get_mut(&number) else { return false };
        ring.next += 1;
        let kept = Kept { message: kept(max, message), at: Instant::now() };
        self.bytes += kept.cost();
        self.len += 1;
        ring.kept.push_back(kept);
        let is_current = ring.turn == turn;
        self.make_room(max, number);
        is_current
    }

    /// What there is for a reader at this place; it is woken when its turn is over.
    pub(super) fn find(&mut self, (number, turn): (u64, u64), next: u64, waker: &Waker) -> Found {
        let Some(ring) = self.rings.get_mut(&number).filter(|ring| ring.turn == turn) else {
            return Found::Over;
        };
        let first = ring.first();
        if next < first {
            return Found::Missing(first - next);
        }
        let at = usize::try_from(next - first).unwrap_or(usize::MAX);
        match ring.kept.get(at) {
            Some(Kept { message: Some(message), .. }) => return Found::Message(message.clone()),
            Some(_) => return Found::Missing(1),
            None => (),
        }
        if let Life::Over { heard, .. } = &mut ring.life {
            *heard = true;
            return Found::Over;
        }
        match &mut ring.reader {
            Some(reader) => reader.clone_from(waker),
            reader => *reader = Some(waker.clone()),
        }
        Found::Nothing
    }

    /// Gives the turn to a reader who has heard what comes up to `seq`, and takes it from
    /// whoever has it.  None if there is no such stream; an error if it has no such event.
    pub(super) fn take_over(&mut self, number: u64, seq: u64) -> Option<Result<Turn, ()>> {
        let ring = self.rings.get_mut(&number)?;
        if ring.next <= seq {
            return Some(Err(()));
        }
        ring.turn += 1;
        if let Some(reader) = ring.reader.take() {
            reader.wake();
        }
        if ring.purpose == Purpose::Listens {
            ring.life = Life::Open;
        }
        let (name, source) = (Arc::clone(&ring.name), Arc::clone(&ring.source));
        Some(Ok(Turn { turn: ring.turn, name, source }))
    }

    /// Whether this reader may go on.
    pub(super) fn is_current(&self, (number, turn): (u64, u64)) -> bool {
        self.rings.get(&number).is_some_and(|ring| ring.turn == turn)
    }

    /// A reader is gone.  What it listened to is over for now; what answers goes on: true.
    pub(super) fn lose(&mut self, (number, turn): (u64, u64)) -> bool {
        let Some(ring) = self.rings.get_mut(&number).filter(|ring| ring.turn == turn) else {
            return false;
        };
        match (ring.life, &ring.purpose) {
            (Life::Open, Purpose::Listens) => ring.life = Life::Lost(Instant::now()),
            (Life::Open, Purpose::Answers(_)) => return true,
            _ => (),
        }
        false
    }

    /// Nothing more comes; whether somebody heard all of it.
    pub(super) fn end(&mut self, number: u64, heard: bool) {
        if let Some(ring) = self.rings.get_mut(&number) {
            ring.life = Life::Over { since: Instant::now(), heard };
        }
    }

    /// Lets go of what was kept long enough.
    pub(super) fn sweep(&mut self, max: &ReplayMax) {
        let old: Vec<_> = self
            .rings
            .iter()
            .filter(|(_, ring)| ring.quiet().is_some_and(|since| max.timeout <= since.elapsed()))
            .map(|(number, _)| *number)
            .collect();
        for number in old {
            self.remove(number);
        }
        for ring in self.rings.values_mut() {
            while ring.kept.front().is_some_and(|kept| max.timeout <= kept.at.elapsed()) {
                if let Some(kept) = ring.kept.pop_front() {
                    self.bytes -= kept.cost();
                    self.len -= 1;
                }
            }
        }
    }

    /// Lets go of all that has been said to its end.
    pub(super) fn clear(&mut self) {
        let over = self.rings.iter().filter(|(_, ring)| ring.quiet().is_some());
        let over: Vec<_> = over.map(|(number, _)| *number).collect();
        for number in over {
            self.remove(number);
        }
    }

    /// How much is kept: bytes, and streams and messages.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        (self.bytes, self.len)
    }

    /// Streams that ended go first, those before all that were read to their end; then the
    /// oldest of what `number` said itself, and then what others did.  Its newest event stays.
    fn make_room(&mut self, max: &ReplayMax, number: u64) {
        while max.bytes_max < self.bytes || max.len_max < self.len {
            let others = self.rings.iter().filter(|(it, _)| **it != number);
            let ended = others.filter_map(|(it, ring)| Some((ring.rank()?, *it)));
            if let Some((_, oldest)) = ended.min() {
                self.remove(oldest);
                continue;
            }
            let own = self.rings.get(&number).is_some_and(|ring| 1 < ring.kept.len());
            let other = || {
                let mut others = self.rings.iter().filter(|(it, _)| **it != number);
                others.find(|(_, ring)| !ring.kept.is_empty()).map(|(it, _)| *it)
            };
            let Some(victim) = own.then_some(number).or_else(other) else { return };
            let kept = self.rings.get_mut(&victim).and_then(|ring| ring.kept.pop_front());
            self.bytes -= kept.map_or(0, |kept| kept.cost());
            self.len -= 1;
        }
    }

    fn remove(&mut self, number: u64) {
        let Some(ring) = self.rings.remove(&number) else { return };
        self.bytes -= STREAM_COST + ring.kept.iter().map(Kept::cost).sum::<usize>();
        self.len -= 1 + ring.kept.len();
        if let Some(reader) = ring.reader {
            reader.wake();
        }
    }
}

// === impl Ring ===

impl Ring {
    fn first(&self) -> u64 {
        self.next - u64::try_from(self.kept.len()).unwrap_or_default()
    }

    /// Since when nobody has anything to add.
    fn quiet(&self) -> Option<Instant> {
        match self.life {
            Life::Open => None,
            Life::Lost(since) | Life::Over { since, .. } => Some(since),
        }
    }

    /// What goes first has the lowest.
    fn rank(&self) -> Option<(bool, Instant)> {
        let heard = matches!(self.life, Life::Over { heard: true, .. });
        Some((!heard, self.quiet()?))
    }
}

impl Kept {
    fn cost(&self) -> usize {
        MESSAGE_COST + self.message.as_ref().map_or(0, |message| message.as_bytes().len())
    }
}

/// What is kept of a message: itself; of an answer that is too long, an error in its stead.
fn kept(max: &ReplayMax, message: &Message) -> Option<Message> {
    let len = message.as_bytes().len();
    if MESSAGE_COST + STREAM_COST + len <= max.bytes_max {
        return Some(message.clone());
    }
    let id: &Id = message.id().filter(|_| message.is_answer())?;
    let words = format!(
        "the answer was lost with the connection it went down, and its {len} bytes are more than \
         is kept for a client that comes back; the request was executed. Raise \
         `limits.replayBytesMax`"
    );
    Message::error(Some(id), &RpcError::new(RpcError::INTERNAL, words)).ok()
}
