//! The ports of an `EXPOSE`.

use std::net::IpAddr;

use super::super::error::DockerfileError;
use super::words::Words;

/// Each port as `PORT/PROTOCOL`. Words are taken in the order of their texts as written, and a range is
/// all the ports in it.
pub(super) fn ports(words: Words<'_>, texts: &[String]) -> Result<Vec<String>, DockerfileError> {
    let mut texts: Vec<&String> = texts.iter().collect();
    texts.sort();
    let mut ports = Vec::new();
    for text in texts {
        for word in words.split(text)? {
            let found = parse(&word)
                .map_err(|problem| words.invalid(format!("invalid port {word:?}: {problem}")))?;
            ports.extend(found);
        }
    }
    Ok(ports)
}

/// `[[ADDRESS:]PORTS:]PORTS[/PROTOCOL]`, of which only the last part counts, as in BuildKit.
fn parse(word: &str) -> Result<Vec<String>, String> {
    let (rest, container) = word.rsplit_once(':').unwrap_or(("", word));
    let (address, host) = rest.rsplit_once(':').unwrap_or(("", rest));
    let (range, protocol) = container.split_once('/').unwrap_or((container, ""));
    if range.is_empty() {
        return Err("there is no port".to_owned());
    }
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "" => "tcp".to_owned(),
        known @ ("tcp" | "udp" | "sctp") => known.to_owned(),
        _ => return Err(format!("there is no protocol {protocol:?}")),
    };
    let plain = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let plain = plain.unwrap_or(address);
    if !plain.is_empty() && plain.parse::<IpAddr>().is_err() {
        return Err(format!("{plain:?} is no address"));
    }
    let (first, last) = self::range(range)?;
    if !host.is_empty() {
        let (first_outside, last_outside) = self::range(host)?;
        if first != last && last - first != last_outside - first_outside {
            return Err("ranges differ in length".to_owned());
        }
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

fn range(text: &str) -> Result<(u16, u16), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| {
        text.parse::<u16>().map_err(|_| format!("{text:?} is no number from 0 to 65535"))
    };
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err("the range ends before it begins".to_owned());
    }
    Ok((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_buildkit_reads_them() {
        for (word, expected) in [
            ("80", &["80/tcp"][..]),
            ("0080/UDP", &["80/udp"]),
            ("80/", &["80/tcp"]),
            ("+80", &["80/tcp"]),
            ("80-82/sctp", &["80/sctp", "81/sctp", "82/sctp"]),
            ("80-80", &["80/tcp"]),
            ("0", &["0/tcp"]),
            ("8080:80", &["80/tcp"]),
            ("8080-8082:80", &["80/tcp"]),
            ("127.0.0.1:8080:80/tcp", &["80/tcp"]),
            ("127.0.0.1::80", &["80/tcp"]),
            ("[::1]:1:2", &["2/tcp"]),
            ("::1:1:2", &["2/tcp"]),
        ] {
            assert_eq!(parse(word).as_deref(), Ok(&expected.map_owned()[..]), "{word}");
        }
        for word in [
            "",
            "/tcp",
            "http",
            "65536",
            "-1",
            "80-",
            "-80",
            "82-80",
            "80/icmp",
            "1-2:3-5",
            "nowhere:1:2",
            "80/tcp/udp",
            "x:80",
        ] {
            assert!(parse(word).is_err(), "{word}");
        }
    }

    trait MapOwned {
        fn map_owned(&self) -> Vec<String>;
    }

    impl MapOwned for &[&str] {
        fn map_owned(&self) -> Vec<String> {
            self.iter().map(|text| (*text).to_owned()).collect()
        }
    }
}
