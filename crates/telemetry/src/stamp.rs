//! When a line was written, as it stands at its beginning.
//!
//! Every request has such a line, and the formatting of dates for people costs more than the rest
//! of it.

use std::{cell::Cell, time::Duration};

/// How long a time is when written.
pub const LEN: usize = 27;

thread_local! {
    /// The second that was written last: all lines of a second begin with the same date.
    static LAST: Cell<(u64, [u8; LEN])> = const { Cell::new((0, *b"1970-01-01T00:00:00.000000Z")) };
}

/// Writes the time that it is now: `2026-01-31T23:59:59.123456Z`.
pub fn now(out: &mut String) {
    out.push_str(std::str::from_utf8(&bytes()).unwrap_or_default());
}

/// The time that it is now, as [`now`] writes it.
#[expect(clippy::disallowed_types, reason = "a line says when it was written, to the microsecond")]
pub(crate) fn bytes() -> [u8; LEN] {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    written(now.unwrap_or_default())
}

/// Writes a number in digits, as many as it has.
pub fn number(number: u64, out: &mut String) {
    out.push_str(std::str::from_utf8(digits(number, &mut [0; 20])).unwrap_or_default());
}

/// A number in digits, as many as it has.
pub(crate) fn digits(mut number: u64, room: &mut [u8; 20]) -> &[u8] {
    let mut at = room.len();
    for digit in room.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        at -= 1;
        if number == 0 {
            break;
        }
    }
    room.get(at..).unwrap_or_default()
}

fn written(since: Duration) -> [u8; LEN] {
    let (second, mut text) = LAST.get();
    if second != since.as_secs() {
        text = date_and_time(since.as_secs());
        LAST.set((since.as_secs(), text));
    }
    put::<6>(since.subsec_micros().into(), text.get_mut(20..));
    text
}

fn date_and_time(secs: u64) -> [u8; LEN] {
    let (days, second) = (secs / 86_400, secs % 86_400);
    let (year, month, day) = date(days);
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    put::<4>(year, Some(&mut text));
    for (value, at) in
        [(month, 5), (day, 8), (second / 3600, 11), (second / 60 % 60, 14), (second % 60, 17)]
    {
        put::<2>(value, text.get_mut(at..));
    }
    text
}

/// Writes so many digits.
fn put<const N: usize>(mut value: u64, place: Option<&mut [u8]>) {
    let place = place.and_then(|it| it.first_chunk_mut::<N>());
    for digit in place.into_iter().flatten().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// The date of a day since 1970, in the calendar that is usual; years begin in March here, so that
/// the odd day is the last of one.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_they_are_read() {
        for (secs, micros, text) in [
            (0, 0, "1970-01-01T00:00:00.000000Z"),
            (68_169_599, 7, "1972-02-28T23:59:59.000007Z"),
            (68_169_600, 0, "1972-02-29T00:00:00.000000Z"),
            (951_827_696, 123_456, "2000-02-29T12:34:56.123456Z"),
            (951_868_800, 0, "2000-03-01T00:00:00.000000Z"),
            (1_798_761_599, 999_999, "2026-12-31T23:59:59.999999Z"),
            (1_798_761_600, 0, "2027-01-01T00:00:00.000000Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000000Z"),
        ] {
            // The second time the date is that of the first.
            for micros in [micros, micros, 999_999, micros] {
                let written = written(Duration::new(secs, micros * 1000));
                let text = format!("{}.{micros:06}Z", text.split('.').next().unwrap());
                assert_eq!(std::str::from_utf8(&written).unwrap(), text);
            }
        }
        let mut out = String::new();
        now(&mut out);
        assert!(out.len() == 27 && out.starts_with("20"), "{out}");
    }

    #[test]
    fn numbers_have_as_many_digits_as_they_need() {
        for value in [0, 7, 10, 65_535, u64::MAX] {
            let mut out = String::new();
            number(value, &mut out);
            assert_eq!(out, value.to_string());
        }
    }
}
