//! What turns of several programs come to, and what the machine was doing.

use std::io;

/// How many times longer the one took than the other, in the median turn.
pub fn ratio(one: &[f64], other: &[f64]) -> f64 {
    median(one.iter().zip(other).map(|(one, other)| one / other))
}

/// The number in the middle; the upper one of two.
pub fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The shortest time.
pub fn quickest(times: &[f64]) -> f64 {
    times.iter().copied().fold(f64::INFINITY, f64::min)
}

/// How many programs wanted to run during the last minute; the bench itself accounts for about as
/// many as there are cores.
pub fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().filter(|load| !load.is_empty()).unwrap_or("unknown").to_owned()
}

/// The most memory that this process has had, as the kernel says it.
///
/// # Errors
///
/// The kernel does not say.
pub fn peak_memory() -> io::Result<String> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.map(|peak| peak.trim().to_owned()).ok_or_else(|| io::Error::other("no VmHWM"))
}
