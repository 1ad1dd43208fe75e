//! Durations and sizes: read with their units, and shown again.

use std::time::Duration;

/// The longest wait that can be configured. Beyond, clocks begin to overflow.
pub(crate) const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

const NS: u128 = 1;
const MS: u128 = 1_000_000;
const SECOND: u128 = 1000 * MS;
const DURATION_UNITS: &[(&str, u128)] = &[
    ("ns", NS),
    ("us", 1000 * NS),
    ("µs", 1000 * NS),
    ("ms", MS),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3600 * SECOND),
    ("d", 24 * 3600 * SECOND),
];

const SIZE_UNITS: &[(&str, u128)] = &[
    ("", 1),
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// Reads `500ms`, `15s`, `1h30m`, `1.5s`. `None` if it is none of these, or too long to keep.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total: u128 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (amount, after) = number(rest)?;
        let len = after.bytes().take_while(|byte| !byte.is_ascii_digit()).count();
        let (unit, after) = after.split_at_checked(len)?;
        let unit = DURATION_UNITS.iter().find(|(name, _)| *name == unit.trim())?;
        total = total.checked_add(amount.times(unit.1)?)?;
        rest = after;
    }
    let nanos = u64::try_from(total).ok()?;
    let duration = Duration::from_nanos(nanos);
    (duration <= DURATION_MAX).then_some(duration)
}

/// Reads `64MiB`, `16 KiB`, `1000`.
pub(crate) fn size(text: &str) -> Option<usize> {
    let (amount, unit) = number(text.trim())?;
    let same = |name: &str| name.eq_ignore_ascii_case(unit.trim());
    let unit = SIZE_UNITS.iter().find(|(name, _)| same(name))?;
    usize::try_from(amount.times(unit.1)?).ok()
}

/// A decimal number, as its digits and how many of them are behind the point.
struct Amount {
    digits: u128,
    scale: u128,
}

impl Amount {
    fn times(&self, unit: u128) -> Option<u128> {
        let product = self.digits.checked_mul(unit)?;
        // A tenth of a byte is no size, and half a nanosecond no time.
        (product % self.scale == 0).then_some(product / self.scale)
    }
}

fn number(text: &str) -> Option<(Amount, &str)> {
    let len = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, rest) = text.split_at_checked(len)?;
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    // Eighteen digits are more than any unit here needs, and cannot overflow below.
    if whole.is_empty() || part.contains('.') || whole.len() + part.len() > 18 {
        return None;
    }
    let digits = format!("{whole}{part}").parse().ok()?;
    let scale = 10_u128.checked_pow(u32::try_from(part.len()).ok()?)?;
    Some((Amount { digits, scale }, rest))
}

/// The shortest way to write it: `90s`, `1h`, `1500ms`.
pub(crate) fn show_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    // Hours are the largest: nobody reads `30m` off `0.02d`.
    let units = DURATION_UNITS.iter().rev().skip(1).filter(|(name, _)| *name != "µs");
    let fits = |(_, unit): &&(&str, u128)| nanos >= *unit && nanos.is_multiple_of(*unit);
    match units.clone().find(fits) {
        Some((name, unit)) => format!("{}{name}", nanos / unit),
        None => format!("{nanos}ns"),
    }
}

/// The shortest way to write it: `64MiB`, `1000`.
pub(crate) fn show_size(bytes: usize) -> String {
    let units = [("GiB", 1_usize << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let read = |text| duration(text).map(show_duration);
        let cases = [
            ("500ms", Some("500ms")),
            ("15s", Some("15s")),
            ("90s", Some("90s")),
            ("5 m", Some("5m")),
            ("1h30m", Some("90m")),
            ("1.5s", Some("1500ms")),
            ("2d", Some("48h")),
            ("250µs", Some("250us")),
            ("0s", Some("0ns")),
            ("365d", Some("8760h")),
            ("366d", None),
            ("15", None),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("1.s5", None),
            ("1..5s", None),
            ("0.5ns", None),
            ("999999999999999999h", None),
            ("1 s 2", None),
            ("1€", None),
        ];
        for (text, expect) in cases {
            assert_eq!(read(text).as_deref(), expect, "{text}");
        }
    }

    #[test]
    fn sizes() {
        let cases = [
            ("64MiB", Some("64MiB")),
            ("16 kib", Some("16KiB")),
            ("1000", Some("1000")),
            ("1.5KiB", Some("1536")),
            ("1MB", Some("1000000")),
            ("0.3B", None),
            ("64M", None),
            ("MiB", None),
            ("-1", None),
            ("999999999999999999GiB", None),
        ];
        for (text, expect) in cases {
            assert_eq!(size(text).map(show_size).as_deref(), expect, "{text}");
        }
    }
}
