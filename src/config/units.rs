//! Lengths of time and sizes, as they are written: `"25s"`, `"1h30m"`, `"16KiB"`. A bare number is refused, because nobody
//! can see whether seconds or milliseconds are meant.

use std::time::Duration;

/// So many milliseconds.
pub(crate) const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// So many seconds.
pub(crate) const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// So many minutes.
pub(crate) const fn minutes(count: u64) -> Duration {
    Duration::from_mins(count)
}

/// So many hours.
pub(crate) const fn hours(count: u64) -> Duration {
    Duration::from_hours(count)
}

/// So many days.
pub(crate) const fn days(count: u64) -> Duration {
    hours(count * 24)
}

/// 1024 bytes.
pub(crate) const KIB: u64 = 1024;
/// 1024 KiB.
pub(crate) const MIB: u64 = 1024 * KIB;
/// 1024 MiB.
pub(crate) const GIB: u64 = 1024 * MIB;

/// The units of time, the largest first, in milliseconds.
const TIMES: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
/// The units of size, the largest first, in bytes.
const SIZES: [(&str, u64); 4] = [("GiB", GIB), ("MiB", MIB), ("KiB", KIB), ("B", 1)];

/// Reads a duration: one or more numbers, each with its unit. `None` if it is none or does not fit.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    parse(text, &TIMES).map(millis)
}

/// Writes a duration in the shortest way that `parse_duration` reads.
pub(crate) fn show_duration(duration: Duration) -> String {
    show(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &TIMES, "0s")
}

/// Reads a size: a number with its unit, in bytes.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    parse(text, &SIZES)
}

/// Writes a size in the shortest way that `parse_size` reads.
pub(crate) fn show_size(bytes: u64) -> String {
    show(bytes, &SIZES, "0B")
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (digits, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(digits.parse::<u64>().ok()?.checked_mul(*factor)?)?;
        rest = after;
    }
    Some(total)
}

fn show(amount: u64, units: &[(&str, u64)], zero: &str) -> String {
    let mut left = amount;
    let parts = units.iter().map(|(unit, factor)| {
        let count = left / factor;
        left %= factor;
        if count > 0 { format!("{count}{unit}") } else { String::new() }
    });
    let shown: String = parts.collect();
    if shown.is_empty() { zero.to_owned() } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_units_and_come_back_as_they_are_shown() {
        for (text, expected) in [("250ms", millis(250)), ("25s", seconds(25)), ("1h30m", minutes(90)), ("0s", Duration::ZERO)] {
            assert_eq!(parse_duration(text), Some(expected));
            assert_eq!(show_duration(expected), text);
        }
        for bad in ["", "25", "25 s", "s", "1.5h", "-1s", "25sec", "99999999999999999999s", "999999999999999999d"] {
            assert_eq!(parse_duration(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn sizes_need_binary_units() {
        assert_eq!(parse_size("16KiB"), Some(16_384));
        assert_eq!(show_size(10 * MIB), "10MiB");
        for bad in ["16", "16K", "16kb", "16 KiB", ""] {
            assert_eq!(parse_size(bad), None, "{bad:?}");
        }
    }
}
