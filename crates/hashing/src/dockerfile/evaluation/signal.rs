//! The signals that `STOPSIGNAL` takes.

/// Linux's, without `SIG`; the real-time ones are told by their numbers.
const NAMES: [&str; 34] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
    "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
    "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ",
];

/// Whether this is a number, or a name in any case with or without `SIG`.
pub(super) fn is_signal(text: &str) -> bool {
    if let Ok(number) = text.parse::<i64>() {
        return number != 0;
    }
    let name = text.to_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let offset = |prefix: &str, most: u8| {
        name.strip_prefix(prefix).is_some_and(|rest| {
            rest.is_empty() || (1..=most).any(|offset| rest[1..] == offset.to_string())
        })
    };
    let real_time = match name.as_bytes().get(5) {
        Some(b'+') => offset("RTMIN", 15),
        Some(b'-') => offset("RTMAX", 14),
        Some(_) => false,
        None => name == "RTMIN" || name == "RTMAX",
    };
    real_time || NAMES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_numbers_and_names() {
        for text in [
            "9",
            "-1",
            "TERM",
            "SIGTERM",
            "sigterm",
            "stkflt",
            "RTMIN",
            "SIGRTMIN+15",
            "rtmax-14",
            "RTMAX",
            "SIGRTMAX-1",
            "VTALRM",
        ] {
            assert!(is_signal(text), "{text}");
        }
        for text in [
            "",
            "0",
            "SIG",
            "SIGSIGTERM",
            "NOTHING",
            "RTMIN+0",
            "RTMIN+16",
            "RTMIN+01",
            "RTMIN-1",
            "RTMAX-15",
            "RTMAX+1",
            "RTMINX1",
            " TERM",
            "RTMIN+é",
            "RTMINé",
        ] {
            assert!(!is_signal(text), "{text}");
        }
    }
}
