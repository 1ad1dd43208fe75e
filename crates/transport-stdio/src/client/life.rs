//! One child from its start to its end.

use std::{
    io,
    sync::{Arc, OnceLock, atomic::AtomicBool},
};

use mcp_jsonrpc::transport::{ErrorKind, TransportError};
use tokio::{
    net::unix::pipe,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{ChildInfo, Children, Process, Spawn, children::About, words::Words};
use crate::{
    Exit, Timeouts,
    child::{self, Started},
    line::Lines,
    noise::{Masked, Noise},
    outbox::Outbox,
    wire::{Reason, Wire},
};

/// What there is of a child while it lives.
struct Life {
    process: child::Process,
    stdout: Lines<pipe::Receiver>,
    noise: Noise,
    wire: Arc<Wire>,
    info: ChildInfo,
    stop: CancellationToken,
    timeouts: Timeouts,
}

/// Why it comes to its end.
enum Ending {
    /// Its session is closed.
    Stopped,
    /// Its stdout has ended, or cannot be read.
    Silent(io::Result<()>),
    /// It takes no more messages.
    Deaf,
    /// It has exited.
    Exited,
}

/// Starts the tasks that a child needs.
pub(super) fn begin(spawn: &Spawn, started: Started) -> Process {
    let Started { process, stdin, stdout, stderr } = started;
    let (name, pid) = (Arc::clone(&spawn.name), process.id());
    let outbox = Outbox::new(stdin, &spawn.limits);
    let (wire, cancellations) = Wire::new(Arc::clone(&name), outbox, spawn.limits);
    let wire = Arc::new(wire);
    let masked = Masked::new(&spawn.masked);
    let info = ChildInfo(Arc::new(About {
        server: Arc::clone(&name),
        pid,
        supervised: spawn.supervisor.is_some(),
        since: Instant::now(),
        words: Words::new(spawn.stderr, masked.clone()),
        exit: OnceLock::new(),
        gone: AtomicBool::new(false),
    }));
    let (stop, over) = (CancellationToken::new(), CancellationToken::new());
    let children = spawn.children.clone();
    children.add(&info);

    let writing = Arc::clone(&wire);
    let writer = async move {
        if let Err(error) = writing.outbox.run(cancellations).await {
            debug!(pid, %error, "stdin cannot be written to");
        }
    };
    children.tasks().spawn(writer);

    let hearing = info.clone();
    let heard = over.clone();
    let listener = async move {
        let About { words, server, .. } = &*hearing.0;
        // What the child has started beyond our reach may hold its stderr open for ever.
        heard.run_until_cancelled(words.hear(stderr, server, pid)).await;
        words.end();
    };
    children.tasks().spawn(listener);

    let life = Life {
        process,
        stdout: Lines::new(stdout, spawn.limits.message.message_len_max),
        noise: Noise::new(name, masked),
        wire: Arc::clone(&wire),
        info: info.clone(),
        stop: stop.clone(),
        timeouts: spawn.timeouts,
    };
    children.tasks().spawn(live(life, spawn.children.clone(), over.clone()));

    let uri = Arc::from(format!("stdio:{pid}"));
    Process { uri, wire, info, stop: stop.clone(), over, _stop: stop.drop_guard() }
}

async fn live(mut life: Life, children: Children, over: CancellationToken) {
    let ending = life.answer().await;
    life.wire.outbox.close();
    let reason = match ending {
        Ending::Stopped => life.stopped(),
        ending => life.died(ending).await,
    };
    life.wire.hang_up(reason);
    life.end().await;
    children.remove(&life.info);
    over.cancel();
}

// === impl Life ===

impl Life {
    /// Passes on what it says until it stops, or is to stop.
    async fn answer(&mut self) -> Ending {
        let last_words = self.timeouts.last_words_timeout;
        let hear = self.wire.hear(&mut self.stdout, &mut self.noise);
        let mut hear = std::pin::pin!(hear);
        let ending = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Ending::Stopped,
            ended = &mut hear => return Ending::Silent(ended),
            exit = self.process.exited() => {
                debug!(pid = self.info.pid(), %exit, "child is gone");
                Ending::Exited
            }
            () = self.wire.outbox.closed() => Ending::Deaf,
        };
        // What it has said before is still in the pipe.
        match timeout(last_words, &mut hear).await {
            Ok(Err(error)) => Ending::Silent(Err(error)),
            Ok(Ok(())) | Err(_) => ending,
        }
    }

    fn stopped(&self) -> Arc<Reason> {
        let server = Arc::clone(&self.info.0.server);
        Arc::new(move |_| {
            TransportError::new(ErrorKind::Closed, "its process was told to end").of(&server)
        })
    }

    /// What to say of a child that has ended by itself: how, and its last words.
    async fn died(&mut self, ending: Ending) -> Arc<Reason> {
        let last_words = self.timeouts.last_words_timeout;
        let status = self.timeouts.exit_status_timeout;
        let exit = timeout(status, self.process.exited()).await.ok();
        if exit.is_some() && timeout(last_words, self.info.0.words.ended()).await.is_err() {
            debug!(pid = self.info.pid(), "stderr is still open");
        }
        self.note(exit);
        let what = match (exit, &ending) {
            (Some(exit), _) => exit.to_string(),
            (None, Ending::Silent(Err(error))) => format!("cannot be read any more ({error})"),
            (None, Ending::Deaf) => "has closed its stdin".to_owned(),
            (None, _) => "has closed its stdout".to_owned(),
        };
        let (server, pid) = (Arc::clone(&self.info.0.server), self.info.pid());
        let in_flight = self.wire.in_flight();
        warn!(server = &*server, pid, in_flight, "its process {what}");
        let words = self.info.0.words.last();
        Arc::new(move |waiting| {
            let when = if waiting { " before it answered" } else { "" };
            let what = format!("its process {what}{when}");
            let error = TransportError::new(ErrorKind::Closed, what).of(&server);
            match &words {
                Some(words) => error.hint(words.as_str()),
                None => error.hint("it wrote nothing to stderr"),
            }
        })
    }

    /// Ends what is left of it.  Meanwhile its stdout is read on, or it might wait for a reader.
    async fn end(&mut self) {
        let drain = async {
            while let Ok(Some(_)) = self.stdout.next().await {}
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = self.process.end() => (),
            () = drain => (),
        }
        let exit = timeout(self.timeouts.exit_status_timeout, self.process.exited()).await.ok();
        self.note(exit);
        let (server, pid) = (&*self.info.0.server, self.info.pid());
        match self.info.exit() {
            Some(exit) => info!(server, pid, "gone: it {exit}"),
            None => warn!(server, pid, "it may still run"),
        }
    }

    fn note(&self, exit: Option<Exit>) {
        if let Some(exit) = exit {
            self.info.0.exit.get_or_init(|| exit);
        }
    }
}
