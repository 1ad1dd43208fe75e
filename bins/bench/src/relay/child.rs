//! One child for all callers: ids re-numbered on the way in, restored on the way out.

use std::{
    collections::HashMap,
    path::Path,
    process::Stdio,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout},
    sync::{mpsc, oneshot},
};
use tokio_util::task::TaskTracker;

use crate::{
    error::{Failure, Result},
    fleet,
    http::BODY_BYTES_MAX,
    modern::Era,
    rpc::{self, Envelope},
    streams,
};

/// This many lines may wait for the child to read; then callers wait.
const LINES_MAX: usize = 1024;
/// This many calls may be under way; a further one is refused.
const CALLS_MAX: usize = 16_384;

/// The child and the calls under way.
#[derive(Debug)]
pub(super) struct Shared {
    lines: mpsc::Sender<Bytes>,
    last: AtomicU64,
    waiting: Waiting,
    /// The answer to `initialize`, for every client; empty where there is no handshake.
    opened: Bytes,
}

type Waiting = Arc<Mutex<HashMap<u64, Asker>>>;

#[derive(Debug)]
struct Asker {
    /// The id of its own, as it was written.
    id: Bytes,
    way: Way,
}

/// Where an answer goes.
#[derive(Debug)]
pub(super) enum Way {
    /// To the one request that waits for it.
    Once(oneshot::Sender<Bytes>),
    /// To a session's stream, as an event.
    Stream(mpsc::Sender<Bytes>),
}

impl Shared {
    /// Starts the child and opens its session.  The child is killed when the future that `serve`s
    /// with this is dropped.
    pub(super) async fn start(era: Era, program: &Path, args: &[String]) -> Result<(Self, Child)> {
        let mut command = fleet::command(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(Failure::io("starting the child"))?;
        let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::Process("a child without pipes".to_owned()));
        };
        let mut output = BufReader::with_capacity(64 * 1024, output);
        let mut opened = Bytes::new();
        if era == Era::Legacy {
            write(&mut input, &rpc::initialize(0)).await?;
            opened = line(&mut output).await?.freeze();
            rpc::check_initialize(&opened, 0)?;
            write(&mut input, &rpc::initialized()).await?;
        }
        let (lines, queue) = mpsc::channel(LINES_MAX);
        let waiting = Waiting::default();
        let tasks = TaskTracker::new();
        tasks.spawn(write_all(input, queue));
        tasks.spawn(read_all(output, Arc::clone(&waiting)));
        Ok((Self { lines, last: AtomicU64::new(0), waiting, opened }, child))
    }

    /// The answer to a client's `initialize`: the child's, with the client's id.
    pub(super) fn opened(&self, id: &[u8]) -> Result<Bytes> {
        with_id(&self.opened, id)
    }

    /// Sends a request under an id of ours; its answer goes the given way.
    pub(super) async fn ask(&self, request: &Bytes, id: &[u8], way: Way) -> Result<()> {
        let ours = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let line = with_id(request, ours.to_string().as_bytes())?;
        {
            let mut waiting = lock(&self.waiting);
            if CALLS_MAX <= waiting.len() {
                return Err(Failure::Peer(format!("more than {CALLS_MAX} calls at once")));
            }
            waiting.insert(ours, Asker { id: Bytes::copy_from_slice(id), way });
        }
        self.tell(line).await
    }

    /// Sends what has no answer.
    pub(super) async fn tell(&self, line: Bytes) -> Result<()> {
        let gone = |_| Failure::Process("the child has ended".to_owned());
        self.lines.send(line).await.map_err(gone)
    }
}

/// Everything that waits goes in one write.
async fn write_all(mut input: ChildStdin, mut queue: mpsc::Receiver<Bytes>) {
    let (mut lines, mut buffer) = (Vec::new(), BytesMut::new());
    while queue.recv_many(&mut lines, LINES_MAX).await != 0 {
        for line in lines.drain(..) {
            buffer.put_slice(&line);
            buffer.put_u8(b'\n');
        }
        if input.write_all(&buffer).await.is_err() {
            return;
        }
        buffer.clear();
    }
}

/// Until the child ends; then nobody is left waiting.
async fn read_all(mut output: BufReader<ChildStdout>, waiting: Waiting) {
    while let Ok(line) = line(&mut output).await {
        // What is no answer to somebody (a notification, a question) a bare relay drops.
        drop(deliver(&line.freeze(), &waiting).await);
    }
    lock(&waiting).clear();
}

async fn deliver(line: &Bytes, waiting: &Waiting) -> Result<()> {
    let read = Envelope::read(line)?;
    let ours = read.id.filter(|_| read.method().is_none()).and_then(|it| it.get().parse().ok());
    let Some(asker) = ours.and_then(|ours: u64| lock(waiting).remove(&ours)) else {
        return Ok(());
    };
    let answer = with_id(line, &asker.id)?;
    // An asker that is gone needs no answer.
    match asker.way {
        Way::Once(sender) => drop(sender.send(answer)),
        Way::Stream(sender) => drop(sender.send(streams::event("message", &answer)).await),
    }
    Ok(())
}

/// The same message with another id, every other byte as it was.
fn with_id(message: &Bytes, id: &[u8]) -> Result<Bytes> {
    let read = Envelope::read(message)?;
    let old = read.id.ok_or_else(|| Failure::Peer("a request without an id".to_owned()))?.get();
    let old = message.slice_ref(old.as_bytes());
    let start = old.as_ptr().addr() - message.as_ptr().addr();
    let (before, rest) = message.split_at(start);
    let (_, after) = rest.split_at(old.len());
    let mut whole = BytesMut::with_capacity(before.len() + id.len() + after.len());
    for part in [before, id, after] {
        whole.put_slice(part);
    }
    Ok(whole.freeze())
}

async fn write(input: &mut ChildStdin, message: &[u8]) -> Result<()> {
    let line = [message, b"\n"].concat();
    input.write_all(&line).await.map_err(Failure::io("writing to the child"))
}

async fn line(output: &mut BufReader<ChildStdout>) -> Result<BytesMut> {
    let mut line = Vec::new();
    let mut bounded = output.take(BODY_BYTES_MAX as u64);
    bounded.read_until(b'\n', &mut line).await.map_err(Failure::io("reading from the child"))?;
    if line.pop() != Some(b'\n') {
        return Err(Failure::Process("the child has ended".to_owned()));
    }
    Ok(BytesMut::from(Bytes::from(line)))
}

fn lock(waiting: &Waiting) -> MutexGuard<'_, HashMap<u64, Asker>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_id_is_replaced() {
        let message = Bytes::from_static(br#"{ "a":"id", "id" : "x\u0031" ,"params":{"id":7} }"#);
        let expected = br#"{ "a":"id", "id" : 42 ,"params":{"id":7} }"#;
        assert_eq!(with_id(&message, b"42").unwrap(), &expected[..]);
        assert!(with_id(&Bytes::from_static(b"{}"), b"42").is_err());
    }
}
