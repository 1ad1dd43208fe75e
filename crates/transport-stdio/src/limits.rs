//! Every bound and every wait of this crate, with its default.

use std::time::Duration;

use mcp_jsonrpc::transport::switchboard::SwitchboardMax;

/// How much a pair of byte streams may hold, in either direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long, deep and numerous what comes in may be.  A line that is longer is skipped to its
    /// end; if it was an answer, its asker is told.
    pub message: mcp_jsonrpc::Limits,
    /// How many requests may wait for their answers, and how much may wait for one asker.
    pub board: SwitchboardMax,
    /// How many messages may wait to be written.
    pub write_queue_len_max: usize,
    /// How many bytes of messages may wait to be written.  One message is taken however long it
    /// is, so that this never stops what is allowed by itself.
    pub write_queue_bytes_max: usize,
    /// How long a message waits for a peer that does not read, before its sender is told.
    pub write_timeout: Duration,
}

impl Default for Limits {
    /// Messages of 64 MiB, 4,096 requests; 1,024 messages or 16 MiB for up to 30 s.
    fn default() -> Self {
        Self {
            message: mcp_jsonrpc::Limits::default(),
            board: SwitchboardMax::default(),
            write_queue_len_max: 1024,
            write_queue_bytes_max: 16 << 20,
            write_timeout: Duration::from_secs(30),
        }
    }
}

/// How long a child may take for what it has to do besides answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For its supervisor to say that it runs, or why it cannot.
    pub spawn_timeout: Duration,
    /// To exit by itself, once its stdin is closed.
    pub exit_timeout: Duration,
    /// To exit after SIGTERM, before it gets SIGKILL.
    pub term_timeout: Duration,
    /// To be gone after SIGKILL, before whoever waits stops waiting and says so.
    pub kill_timeout: Duration,
    /// For its exit status, once it has stopped answering: most that do have exited, but on a
    /// machine with much to do it takes its time until that is known.
    pub exit_status_timeout: Duration,
    /// For the last lines of stderr after that, and of stdout where it has exited first.
    pub last_words_timeout: Duration,
}

impl Default for Timeouts {
    /// 10 s to start; 2 s after stdin closes, 2 s after SIGTERM, 5 s after SIGKILL; 2 s for the
    /// exit status, 0.5 s for the last words.
    fn default() -> Self {
        Self {
            spawn_timeout: Duration::from_secs(10),
            exit_timeout: Duration::from_secs(2),
            term_timeout: Duration::from_secs(2),
            kill_timeout: Duration::from_secs(5),
            exit_status_timeout: Duration::from_secs(2),
            last_words_timeout: Duration::from_millis(500),
        }
    }
}

/// How much of a child's stderr is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StderrMax {
    /// Of one line, in bytes; the rest of it is left out.
    pub line_len_max: usize,
    /// How many lines.
    pub lines_max: usize,
    /// How many bytes, all lines together.
    pub bytes_max: usize,
    /// How many lines a second are logged; of the others their number.
    pub logged_per_s_max: u64,
}

impl Default for StderrMax {
    /// 200 lines of up to 4 KiB, 64 KiB in all; 200 lines a second are logged.
    fn default() -> Self {
        Self { line_len_max: 4 << 10, lines_max: 200, bytes_max: 64 << 10, logged_per_s_max: 200 }
    }
}
