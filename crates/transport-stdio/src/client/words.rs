//! What a child writes to stderr: logged, and the last of it kept.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{io::AsyncRead, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    StderrMax,
    line::{Line, Lines},
    noise::Masked,
};

/// How many lines go into an error.
const LAST_LINES_MAX: usize = 10;
/// How many bytes of them.
const LAST_BYTES_MAX: usize = 1 << 10;

/// The last lines of one child's stderr.
#[derive(Debug)]
pub(crate) struct Words {
    ring: Mutex<Ring>,
    max: StderrMax,
    masked: Masked,
    /// When there will be no more.
    ended: CancellationToken,
}

#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<Arc<str>>,
    bytes: usize,
    seen: u64,
}

// === impl Words ===

impl Words {
    /// None yet.  The texts in `masked` are shown to nobody.
    pub(crate) fn new(max: StderrMax, masked: Masked) -> Self {
        Self { ring: Mutex::default(), max, masked, ended: CancellationToken::new() }
    }

    /// Logs what comes and keeps the last of it, until there is no more.  Reads at the pace of the
    /// child, which never waits for a reader.
    pub(crate) async fn hear(&self, stderr: impl AsyncRead + Unpin, server: &str, pid: u32) {
        if let Err(error) = self.read(stderr, server, pid).await {
            info!(server, pid, %error, "stderr cannot be read any more");
        }
        self.end();
    }

    /// Says that there will be no more.
    pub(crate) fn end(&self) {
        self.ended.cancel();
    }

    /// Waits until there will be no more.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// The last lines, at most so many, oldest first.
    pub(crate) fn lines(&self, count_max: usize) -> Vec<Arc<str>> {
        let ring = self.ring();
        ring.lines.iter().skip(ring.lines.len().saturating_sub(count_max)).cloned().collect()
    }

    /// How many lines there were in all.
    pub(crate) fn seen(&self) -> u64 {
        self.ring().seen
    }

    /// The last lines as a hint: none if there were none.
    pub(crate) fn last(&self) -> Option<String> {
        let lines = self.lines(LAST_LINES_MAX);
        let mut room = LAST_BYTES_MAX;
        let mut kept: Vec<&str> = Vec::new();
        for line in lines.iter().rev() {
            let fits = line.get(line.floor_char_boundary_from_end(room)..).unwrap_or_default();
            if fits.is_empty() {
                break;
            }
            room = room.saturating_sub(fits.len() + 1);
            kept.push(fits);
        }
        kept.reverse();
        (!kept.is_empty()).then(|| format!("its last words: \"{}\"", kept.join("\n")))
    }

    async fn read(&self, stderr: impl AsyncRead + Unpin, server: &str, pid: u32) -> io::Result<()> {
        let mut lines = Lines::new(stderr, self.max.line_len_max);
        let mut rate = Rate::new(self.max.logged_per_s_max);
        while let Some(line) = lines.next().await? {
            let line = match line {
                Line::Whole(line) => self.shown(&line),
                Line::TooLong(it) => {
                    let head = it.head.get(..self.max.line_len_max).unwrap_or(&it.head);
                    format!("{} … ({} bytes)", self.shown(head), it.len)
                }
            };
            let (logged, left_out) = rate.take();
            if 0 < left_out {
                info!(target: "stderr", server, pid, "… and {left_out} lines more");
            }
            if logged {
                info!(target: "stderr", server, pid, "{line}");
            }
            self.keep(line.into());
        }
        Ok(())
    }

    fn shown(&self, line: &[u8]) -> String {
        // A progress bar goes back to the beginning of its line: only its last state matters.
        let line = line.trim_ascii_end().rsplit(|&byte| byte == b'\r').next().unwrap_or(line);
        self.masked.shown(line)
    }

    fn keep(&self, line: Arc<str>) {
        let mut ring = self.ring();
        ring.seen += 1;
        ring.bytes += line.len();
        ring.lines.push_back(line);
        while self.max.lines_max < ring.lines.len() || self.max.bytes_max < ring.bytes {
            let Some(oldest) = ring.lines.pop_front() else { return };
            ring.bytes = ring.bytes.saturating_sub(oldest.len());
        }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much of a flood is logged: so many lines a second.
#[derive(Debug)]
struct Rate {
    max: u64,
    since: Instant,
    count: u64,
}

impl Rate {
    fn new(max: u64) -> Self {
        Self { max, since: Instant::now(), count: 0 }
    }

    /// Whether one more line is logged, and how many were left out of the second before.
    fn take(&mut self) -> (bool, u64) {
        let mut left_out = 0;
        if Duration::from_secs(1) <= self.since.elapsed() {
            left_out = self.count.saturating_sub(self.max);
            (self.since, self.count) = (Instant::now(), 0);
        }
        self.count += 1;
        (self.count <= self.max, left_out)
    }
}

trait FromEnd {
    /// Where the last `len` bytes begin, or a little later, between two characters.
    fn floor_char_boundary_from_end(&self, len: usize) -> usize;
}

impl FromEnd for str {
    fn floor_char_boundary_from_end(&self, len: usize) -> usize {
        let start = self.len().saturating_sub(len);
        (start..=self.len()).find(|&at| self.is_char_boundary(at)).unwrap_or(self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn heard(text: &str, max: StderrMax, masked: &[&str]) -> Words {
        let masked: Vec<Box<str>> = masked.iter().map(|&it| it.into()).collect();
        let words = Words::new(max, Masked::new(&masked));
        words.hear(text.as_bytes(), "test", 1).await;
        words.ended().await;
        words
    }

    #[tokio::test]
    async fn the_last_lines_are_kept() {
        let text: String = (0..100).map(|n| format!("line {n}\r\n")).collect();
        let max = StderrMax { lines_max: 20, ..StderrMax::default() };
        let words = heard(&text, max, &[]).await;
        assert_eq!((words.lines(99).len(), words.seen()), (20, 100));
        assert_eq!(words.lines(2).join("|"), "line 98|line 99");
        let last = words.last().unwrap();
        assert!(last.starts_with("its last words: \"line 90\nline 91\n"), "{last}");
        assert!(last.ends_with("line 99\""), "{last}");
    }

    #[tokio::test]
    async fn bytes_are_bounded() {
        let text = "ü".repeat(3000) + "\n" + &"x".repeat(9000) + "\nend\n";
        let max = StderrMax { line_len_max: 4000, bytes_max: 4030, ..StderrMax::default() };
        let words = heard(&text, max, &[]).await;
        assert_eq!(words.lines(99).len(), 2);
        assert!(words.lines(2)[0].ends_with("x … (9000 bytes)"));
        assert!(words.last().unwrap().len() <= LAST_BYTES_MAX + 20);
    }

    #[tokio::test]
    async fn secrets_and_controls_are_not_shown() {
        let text = "10%\r20%\r\x1b[32mtoken-12345\x1b[0m token-1 abc \x07\n";
        let words = heard(text, StderrMax::default(), &["token-1", "token-12345", "abc"]).await;
        assert_eq!(words.lines(1).join(""), "*** *** abc \\u{7}");
        assert!(heard("", StderrMax::default(), &[]).await.last().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_flood_so_much_is_logged() {
        let mut rate = Rate::new(2);
        assert_eq!([(); 4].map(|()| rate.take().0), [true, true, false, false]);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(rate.take(), (true, 2));
        assert_eq!(rate.take(), (true, 0));
    }
}
