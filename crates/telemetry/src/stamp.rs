//! When a line was written, as it stands at its beginning.
//!
//! Every request has such a line, and the formatting of dates for people costs more than the rest
//! of it.

use std::time::Duration;

/// Writes the time that it is now: `2026-01-31T23:59:59.123456Z`.
#[expect(clippy::disallowed_types, reason = "a line says when it was written, to the microsecond")]
pub fn now(out: &mut String) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    write(now.unwrap_or_default(), out);
}

/// Writes a number in digits, as many as it has.
pub fn number(mut number: u64, out: &mut String) {
    let (mut digits, mut at) = ([b'0'; 20], 20);
    loop {
        at -= 1;
        if let Some(digit) = digits.get_mut(at) {
            *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
        }
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.push_str(digits.get(at..).and_then(|it| std::str::from_utf8(it).ok()).unwrap_or_default());
}

fn write(since: Duration, out: &mut String) {
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    for (mut value, place) in [
        (year, 0..4),
        (month, 5..7),
        (day, 8..10),
        (second / 3600, 11..13),
        (second / 60 % 60, 14..16),
        (second % 60, 17..19),
        (u64::from(since.subsec_micros()), 20..26),
    ] {
        for digit in text.get_mut(place).unwrap_or_default().iter_mut().rev() {
            *digit = b'0' + (value % 10) as u8;
            value /= 10;
        }
    }
    out.push_str(std::str::from_utf8(&text).unwrap_or_default());
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
            let mut out = String::new();
            write(Duration::new(secs, micros * 1000), &mut out);
            assert_eq!(out, text);
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
