//! Loads: each session asks, checks the answer, and asks again; or as soon as its next call is due.
//!
//! Sessions are dealt out to threads with a runtime each: no session's wake-up crosses threads, so
//! that the generator takes as little as it can from the machine which it shares with what it
//! measures.

mod pace;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use tokio::{
    sync::{mpsc::Receiver, oneshot, watch},
    task::JoinSet,
    time::{Instant, sleep},
};

use self::pace::{Due, Pace};
use crate::{
    client::{Session, Target},
    error::{Failure, Result},
    plan::Plan,
    rpc::Ask,
    stats::Histogram,
};

/// How often a failure is looked for while a load runs.
const LOOK: Duration = Duration::from_millis(20);

/// How calls follow one another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Manner {
    /// In sessions that stay open, each as soon as the one before is answered.
    Steady,
    /// In sessions that stay open, at this rate: so many calls a second in all of them together.
    Rate(f64),
    /// Each in a session of its own, which is opened for it and closed after it.
    Churn,
}

/// A load with all sessions open.  Dropped, it stops by itself.
#[derive(Debug)]
pub(crate) struct Load {
    /// Children that the sessions have for themselves.
    pub(crate) children: Vec<u32>,
    board: Arc<Board>,
    go: watch::Sender<bool>,
    shards: Vec<oneshot::Receiver<Result<Histogram>>>,
    pace: Option<Pace>,
}

/// What all threads see.
#[derive(Debug, Default)]
struct Board {
    stop: AtomicBool,
    recording: AtomicBool,
    calls: AtomicU64,
    behind: AtomicBool,
}

impl Board {
    fn stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    fn recording(&self) -> bool {
        self.recording.load(Relaxed)
    }

    fn answered(&self) {
        self.calls.fetch_add(1, Relaxed);
    }

    fn is_behind(&self) -> bool {
        self.behind.load(Relaxed)
    }

    fn fell_behind(&self) {
        self.behind.store(true, Relaxed);
    }
}

/// What one thread does.
struct Shard {
    target: Target,
    ask: Ask,
    /// Their numbers, and what is done in each.
    sessions: Vec<(usize, Place)>,
    board: Arc<Board>,
    go: watch::Receiver<bool>,
    call_timeout: Duration,
}

/// What is done in one session, or at its place.
enum Place {
    Steady,
    /// A call when one is due.
    Paced(Receiver<Due>),
    Churn,
}

type Opened = oneshot::Sender<Result<Vec<u32>>>;

impl Load {
    /// Opens `count` sessions on as many threads as the plan says, or keeps places for so many.
    ///
    /// # Errors
    /// The first failure of any.
    pub(crate) async fn open(
        plan: &Plan,
        target: &Target,
        ask: &Ask,
        count: usize,
        manner: Manner,
    ) -> Result<Self> {
        let threads = plan.threads;
        let (go, start) = watch::channel(false);
        let board = Arc::new(Board::default());
        let (pace, places) = match manner {
            Manner::Rate(rate) => {
                let (pace, dues) = Pace::new(rate, count);
                (Some(pace), dues.into_iter().map(Place::Paced).collect())
            }
            Manner::Steady => (None, (0..count).map(|_| Place::Steady).collect::<Vec<_>>()),
            Manner::Churn => (None, (0..count).map(|_| Place::Churn).collect()),
        };
        let mut dealt: Vec<Vec<_>> = (0..threads.min(count)).map(|_| Vec::new()).collect();
        for (nth, place) in places.into_iter().enumerate() {
            if let Some(sessions) = dealt.get_mut(nth % threads) {
                sessions.push((nth, place));
            }
        }
        let mut load = Self { children: Vec::new(), board, go, shards: Vec::new(), pace };
        let mut openings = Vec::new();
        for (nth, sessions) in dealt.into_iter().enumerate() {
            let shard = Shard {
                target: target.clone(),
                ask: ask.clone(),
                sessions,
                board: Arc::clone(&load.board),
                go: start.clone(),
                call_timeout: plan.call_timeout,
            };
            let (opened, opening) = oneshot::channel();
            let (done, end) = oneshot::channel();
            let run = move || done.send(shard.run(opened));
            let name = format!("generator-{nth}");
            thread::Builder::new().name(name).spawn(run).map_err(Failure::io("a thread"))?;
            openings.push(opening);
            load.shards.push(end);
        }
        for opening in openings {
            let children = opening.await.map_err(|_| lost())?;
            load.children.extend(children?);
        }
        Ok(load)
    }

    /// Lets all sessions ask.
    ///
    /// # Errors
    /// [`Failure::Io`] when the system gives no thread.
    pub(crate) fn start(&mut self) -> Result<()> {
        self.go.send_replace(true);
        self.pace.take().map_or(Ok(()), |pace| pace.start(Arc::clone(&self.board)))
    }

    /// From now on latencies count.
    pub(crate) fn record(&self) {
        self.board.recording.store(true, Relaxed);
    }

    /// Calls answered rightly since the start.
    pub(crate) fn calls(&self) -> u64 {
        self.board.calls.load(Relaxed)
    }

    /// Waits, but no longer than until the first failure.
    pub(crate) async fn wait(&self, time: Duration) {
        let end = Instant::now() + time;
        while !self.board.stop.load(Relaxed) && Instant::now() < end {
            sleep(LOOK.min(end.saturating_duration_since(Instant::now()))).await;
        }
    }

    /// Stops, closes every session, and returns the latencies of what was recorded.
    ///
    /// # Errors
    /// The first failure of any call.
    pub(crate) async fn finish(mut self) -> Result<Histogram> {
        self.board.stop.store(true, Relaxed);
        let mut all = Histogram::default();
        for shard in std::mem::take(&mut self.shards) {
            all.merge(&shard.await.map_err(|_| lost())??);
        }
        Ok(all)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.board.stop.store(true, Relaxed);
    }
}

impl Shard {
    fn run(self, opened: Opened) -> Result<Histogram> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(Failure::io("a runtime"))?.block_on(self.work(opened))
    }

    async fn work(mut self, opened: Opened) -> Result<Histogram> {
        let sessions = match self.open().await {
            Ok(sessions) => sessions,
            Err(cause) => {
                // Whoever waits for the opening is told why; nobody asks for the end then.
                drop(opened.send(Err(cause)));
                return Ok(Histogram::default());
            }
        };
        let open = sessions.iter().filter_map(|it| it.1.as_ref());
        let children = open.filter_map(Session::pid).collect();
        if opened.send(Ok(children)).is_err() || self.go.wait_for(|go| *go).await.is_err() {
            return Ok(Histogram::default());
        }
        let mut running = JoinSet::new();
        for (nth, session, place) in sessions {
            let (what, board) = (self.ask.clone(), Arc::clone(&self.board));
            match (place, session) {
                (Place::Paced(due), Some(session)) => {
                    running.spawn(pace::ask(session, nth, what, due, board));
                }
                (_, Some(session)) => {
                    running.spawn(ask(session, nth, what, board));
                }
                (_, None) => {
                    let (target, limit) = (self.target.clone(), self.call_timeout);
                    running.spawn(churn(target, limit, nth, what, board));
                }
            }
        }
        let mut all = Histogram::default();
        while let Some(done) = running.join_next().await {
            let done = done.map_err(|_| lost()).flatten();
            all.merge(&done.inspect_err(|_| self.board.stop.store(true, Relaxed))?);
        }
        Ok(all)
    }

    async fn open(&mut self) -> Result<Vec<(usize, Option<Session>, Place)>> {
        let mut sessions = Vec::with_capacity(self.sessions.len());
        for (nth, place) in std::mem::take(&mut self.sessions) {
            let session = match place {
                Place::Churn => None,
                Place::Steady | Place::Paced(_) => {
                    Some(Session::open(&self.target, self.call_timeout).await?)
                }
            };
            sessions.push((nth, session, place));
        }
        Ok(sessions)
    }
}

async fn ask(mut session: Session, nth: usize, ask: Ask, board: Arc<Board>) -> Result<Histogram> {
    let mut latencies = Histogram::default();
    let mut id = 0;
    while !board.stopped() {
        id += 1;
        let call = session.write(&ask, nth, id);
        let recording = board.recording();
        let start = Instant::now();
        session.call(&call).await?;
        if recording {
            latencies.record(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
        board.answered();
    }
    session.close().await?;
    Ok(latencies)
}

/// One session after the other, with one call in each.
async fn churn(
    target: Target,
    call_timeout: Duration,
    nth: usize,
    ask: Ask,
    board: Arc<Board>,
) -> Result<Histogram> {
    let mut latencies = Histogram::default();
    let mut id = 0;
    while !board.stopped() {
        id += 1;
        let recording = board.recording();
        let start = Instant::now();
        let mut session = Session::open(&target, call_timeout).await?;
        let call = session.write(&ask, nth, id);
        session.call(&call).await?;
        session.close().await?;
        if recording {
            latencies.record(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
        board.answered();
    }
    Ok(latencies)
}

fn lost() -> Failure {
    Failure::Process("a thread of the generator ended early".to_owned())
}
