//! What is counted of one server: numbers that anybody may raise and nobody waits for.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use crate::{Method, Outcome};

/// The statuses of HTTP that are told apart.
const CODES: [u16; 26] = [
    200, 202, 204, 400, 401, 403, 404, 405, 406, 408, 409, 410, 411, 413, 414, 415, 417, 421, 429,
    431, 500, 501, 502, 503, 504, 505,
];

/// The ends of a histogram's buckets, in microseconds: from what a call costs the gateway itself to
/// what nobody waits for.
const BOUNDS: [(u64, &str); 16] = [
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1.0"),
    (2_500_000, "2.5"),
    (10_000_000, "10.0"),
    (60_000_000, "60.0"),
    (300_000_000, "300.0"),
];

/// All that is counted of one server, from its beginning to its end.
///
/// So many numbers, whatever comes; what is said of a server elsewhere (its state, its sessions) is
/// read when it is asked for, and not kept here.
#[derive(Debug, Default)]
pub struct Counts {
    codes: [AtomicU64; CODES.len()],
    other_codes: AtomicU64,
    turned_away: [AtomicU64; TurnedAway::COUNT],
    requests: [[AtomicU64; Outcome::COUNT]; Method::COUNT],
    durations: Histogram,
    sse_setups: Histogram,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    streams: AtomicUsize,
}

/// Why a request did not get past the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnedAway {
    /// It brought no token, or none that is known.
    Unauthorized,
    /// Its token opens something else, or its origin may not call.
    Forbidden,
    /// There is nothing there, or its session is not.
    NotFound,
    /// It is not put as it has to be.
    Malformed,
    /// It is longer than it may be.
    TooLarge,
    /// It did not come in time.
    Slow,
    /// There are as many as may be, or the server is not there.
    Exhausted,
    /// Anything else.
    Other,
}

/// Durations, by the bucket they fall into.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_us: AtomicU64,
}

/// What a [`Histogram`] held at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// For each bucket its end in seconds, and how many were no longer than that.
    pub buckets: Vec<(&'static str, u64)>,
    /// How many there were.
    pub count: u64,
    /// All together, in seconds.
    pub sum: f64,
}

// === impl Counts ===

impl Counts {
    /// A request was answered with this status.
    pub fn answered(&self, code: u16) {
        let at = CODES.iter().position(|it| *it == code);
        raise(at.and_then(|at| self.codes.get(at)).unwrap_or(&self.other_codes), 1);
    }

    /// A request was turned away.
    pub fn turned_away(&self, why: TurnedAway) {
        if let Some(count) = self.turned_away.get(why as usize) {
            raise(count, 1);
        }
    }

    /// An event stream of HTTP+SSE was there after this time.
    pub fn sse_set_up(&self, after: Duration) {
        self.sse_setups.observe(after);
    }

    /// A request was carried, and this came of it after this time.
    pub fn ended(&self, method: Method, outcome: Outcome, after: Duration) {
        let counts = self.requests.get(method.index());
        if let Some(count) = counts.and_then(|it| it.get(outcome as usize)) {
            raise(count, 1);
        }
        // How long somebody listens says nothing about the server.
        if method != Method::LISTEN {
            self.durations.observe(after);
        }
    }

    /// A message came from a client.
    pub fn came(&self, len: usize) {
        raise(&self.bytes_in, len as u64);
    }

    /// A message went to a client.
    pub fn went(&self, len: usize) {
        raise(&self.bytes_out, len as u64);
    }

    /// One stream more is open.
    pub(crate) fn stream_opened(&self) {
        self.streams.fetch_add(1, Ordering::Relaxed);
    }

    /// And one less.
    pub(crate) fn stream_ended(&self) {
        self.streams.fetch_sub(1, Ordering::Relaxed);
    }

    /// How often each status was answered, as far as it was.
    pub fn codes(&self) -> impl Iterator<Item = (Option<u16>, u64)> + '_ {
        let known = CODES.iter().zip(&self.codes).map(|(code, count)| (Some(*code), count));
        let all = known.chain([(None, &self.other_codes)]);
        all.map(|(code, count)| (code, read(count))).filter(|(_, count)| *count > 0)
    }

    /// How many requests were turned away, by the reason.
    pub fn all_turned_away(&self) -> impl Iterator<Item = (TurnedAway, u64)> + '_ {
        TurnedAway::ALL.into_iter().zip(&self.turned_away).map(|(why, count)| (why, read(count)))
    }

    /// How many requests of a method ended so.
    pub fn requests(&self, method: Method, outcome: Outcome) -> u64 {
        let counts = self.requests.get(method.index());
        counts.and_then(|it| it.get(outcome as usize)).map(read).unwrap_or_default()
    }

    /// How long requests took.
    pub fn durations(&self) -> Snapshot {
        self.durations.snapshot()
    }

    /// How long it took until event streams of HTTP+SSE were there.
    pub fn sse_setups(&self) -> Snapshot {
        self.sse_setups.snapshot()
    }

    /// Bytes of the messages that came from clients, and of those that went to them.
    pub fn bytes(&self) -> (u64, u64) {
        (read(&self.bytes_in), read(&self.bytes_out))
    }

    /// How many streams of events are open to clients, in whatever they hear.
    pub fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }
}

// === impl TurnedAway ===

impl TurnedAway {
    const COUNT: usize = 8;
    const ALL: [Self; Self::COUNT] = [
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::Malformed,
        Self::TooLarge,
        Self::Slow,
        Self::Exhausted,
        Self::Other,
    ];

    /// The reason for which a request is answered with this status.
    pub fn with(code: u16) -> Self {
        match code {
            401 => Self::Unauthorized,
            403 | 421 => Self::Forbidden,
            404 | 410 => Self::NotFound,
            400 | 405 | 406 | 411 | 414 | 415 | 417 => Self::Malformed,
            413 | 431 => Self::TooLarge,
            408 => Self::Slow,
            429 | 502..=504 => Self::Exhausted,
            _ => Self::Other,
        }
    }

    /// Its name as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Slow => "slow",
            Self::Exhausted => "exhausted",
            Self::Other => "other",
        }
    }
}

// === impl Histogram ===

impl Histogram {
    fn observe(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let at = BOUNDS.iter().position(|(end, _)| us <= *end).unwrap_or(BOUNDS.len());
        if let Some(bucket) = self.buckets.get(at) {
            raise(bucket, 1);
        }
        raise(&self.sum_us, us);
    }

    fn snapshot(&self) -> Snapshot {
        let mut count = 0;
        let mut buckets = Vec::with_capacity(BOUNDS.len());
        for (bucket, (_, end)) in self.buckets.iter().zip(BOUNDS) {
            count += read(bucket);
            buckets.push((end, count));
        }
        count += self.buckets.last().map(read).unwrap_or_default();
        // A rounding of microseconds in what is years of time does no harm.
        Snapshot { buckets, count, sum: read(&self.sum_us) as f64 / 1e6 }
    }
}

fn raise(count: &AtomicU64, by: u64) {
    count.fetch_add(by, Ordering::Relaxed);
}

fn read(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_there_to_be_read() {
        let counts = Counts::default();
        for code in [200, 200, 404, 599, 799] {
            counts.answered(code);
        }
        let codes: Vec<_> = counts.codes().collect();
        assert_eq!(codes, [(Some(200), 2), (Some(404), 1), (None, 2)]);
        counts.turned_away(TurnedAway::with(401));
        let away: Vec<_> = counts.all_turned_away().filter(|(_, count)| *count > 0).collect();
        assert_eq!(away, [(TurnedAway::Unauthorized, 1)]);
        counts.ended(Method::CALL, Outcome::ToolError, Duration::from_millis(3));
        assert_eq!(counts.requests(Method::CALL, Outcome::ToolError), 1);
        assert_eq!(counts.requests(Method::CALL, Outcome::Ok), 0);
        counts.ended(Method::LISTEN, Outcome::Cancelled, Duration::from_secs(3));
        assert_eq!(counts.durations().count, 1, "listening is not counted among durations");
        counts.came(7);
        counts.went(8);
        assert_eq!(counts.bytes(), (7, 8));
    }

    #[test]
    fn a_duration_counts_in_every_bucket_that_is_long_enough() {
        let histogram = Histogram::default();
        for us in [0, 250, 251, 300_000_000, 300_000_001] {
            histogram.observe(Duration::from_micros(us));
        }
        let it = histogram.snapshot();
        assert_eq!(it.buckets.first(), Some(&("0.00025", 2)));
        assert_eq!(it.buckets.get(1), Some(&("0.0005", 3)));
        assert_eq!(it.buckets.last(), Some(&("300.0", 4)));
        assert_eq!(it.count, 5);
        assert!((it.sum - 600.000_502).abs() < 1e-9, "{}", it.sum);
        // What is written is what is compared with.
        for (us, text) in BOUNDS {
            assert_eq!(text.parse::<f64>().unwrap() * 1e6, us as f64, "{text}");
        }
    }

    #[test]
    fn every_reason_has_its_place() {
        for (at, why) in TurnedAway::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, at);
        }
        for (at, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, at);
        }
    }
}
