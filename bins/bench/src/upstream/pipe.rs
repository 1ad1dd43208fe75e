//! The upstream as a child: lines in, lines out.  Plain blocking reads, so that its own cost is
//! small and starts at once.

use std::{
    io::{self, BufRead, BufReader, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;

use super::{Action, Lie, Tools};
use crate::{
    error::{Failure, Result},
    http::BODY_BYTES_MAX,
    modern::Era,
};

/// This many calls of `sleep` run at once; the next is answered at once, with an error.
const SLEEPERS_MAX: usize = 256;

/// Serves standard input until it ends, beginning after `delay`; an empty file in `pids` then
/// bears this process's id.
///
/// # Errors
/// [`Failure::Io`] when a pipe breaks, [`Failure::Peer`] for a line that is no message.
pub(crate) fn run(era: Era, lie: Option<Lie>, delay: Duration, pids: Option<&Path>) -> Result<()> {
    if !delay.is_zero() {
        thread::park_timeout(delay);
    }
    if let Some(pids) = pids {
        let file = pids.join(std::process::id().to_string());
        std::fs::write(&file, "").map_err(Failure::io(file.display().to_string()))?;
    }
    let tools = Tools::new(era, lie);
    let sleepers = Arc::new(AtomicUsize::new(0));
    let mut input = BufReader::with_capacity(64 * 1024, io::stdin().lock());
    let mut line = Vec::new();
    while next_line(&mut input, &mut line)? {
        match tools.act(&line, None)? {
            Action::Nothing => {}
            Action::Answer(answer)
            | Action::Ask(_, answer)
            | Action::Refuse(answer)
            | Action::GoOn(_, answer) => write(&[answer])?,
            Action::AnswerBehind(mut messages, answer) => {
                messages.push(answer);
                write(&messages)?;
            }
            Action::AnswerAfter(pause, answer) => sleep(&sleepers, pause, answer)?,
        }
    }
    Ok(())
}

fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool> {
    loop {
        line.clear();
        let mut bounded = io::Read::take(&mut *input, BODY_BYTES_MAX as u64);
        let length = bounded.read_until(b'\n', line).map_err(Failure::io("standard input"))?;
        if length == BODY_BYTES_MAX {
            return Err(Failure::Peer(format!("a line beyond {BODY_BYTES_MAX} bytes")));
        }
        if length == 0 || !line.trim_ascii().is_empty() {
            return Ok(length != 0);
        }
    }
}

fn sleep(sleepers: &Arc<AtomicUsize>, pause: Duration, answer: Bytes) -> Result<()> {
    if SLEEPERS_MAX <= sleepers.fetch_add(1, Ordering::Relaxed) {
        return Err(Failure::Peer(format!("more than {SLEEPERS_MAX} sleeps at once")));
    }
    let sleepers = Arc::clone(sleepers);
    thread::spawn(move || {
        thread::park_timeout(pause);
        sleepers.fetch_sub(1, Ordering::Relaxed);
        // The reading side ends the process when the pipes are gone.
        drop(write(&[answer]));
    });
    Ok(())
}

fn write(messages: &[Bytes]) -> Result<()> {
    let mut lines = Vec::with_capacity(messages.iter().map(|it| it.len() + 1).sum());
    for message in messages {
        lines.extend_from_slice(message);
        lines.push(b'\n');
    }
    // `Stdout` cuts at line ends what is longer than its buffer; the lock keeps lines whole.
    let mut output = io::stdout().lock();
    output.write_all(&lines).and_then(|()| output.flush()).map_err(Failure::io("standard output"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_are_skipped_and_the_last_needs_no_end() {
        let mut input = io::Cursor::new(b"one\n\n  \r\ntwo");
        let mut line = Vec::new();
        assert!(next_line(&mut input, &mut line).unwrap());
        assert_eq!(line, b"one\n");
        assert!(next_line(&mut input, &mut line).unwrap());
        assert_eq!(line, b"two");
        assert!(!next_line(&mut input, &mut line).unwrap());
    }

    #[test]
    fn an_endless_line_is_cut_off() {
        let mut input = BufReader::new(io::Read::take(io::repeat(b'x'), 1 << 40));
        assert!(matches!(next_line(&mut input, &mut Vec::new()), Err(Failure::Peer(_))));
    }
}
