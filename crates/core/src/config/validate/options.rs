//! Build options: `network`, `hosts`, `shm-size` and `ulimits`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Validator;
use crate::build_options::{BuildOptions, Network, Ulimit};
use crate::config::reader::Located;

/// The limits that Docker has names for.
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Build options of an image as they are written.
pub(super) struct WrittenOptions {
    pub(super) network: Option<Located<String>>,
    pub(super) hosts: BTreeMap<String, Located<String>>,
    pub(super) shm_size: Option<Located<String>>,
    pub(super) ulimits: BTreeMap<String, Located<String>>,
}

impl Validator<'_> {
    pub(super) fn build_options(&mut self, written: WrittenOptions) -> BuildOptions {
        let WrittenOptions { network, hosts, shm_size, ulimits } = written;
        BuildOptions {
            network: network.and_then(|network| self.network(&network)).unwrap_or_default(),
            hosts: hosts
                .into_iter()
                .filter_map(|(name, address)| Some((name.clone(), self.host(&name, &address)?)))
                .collect(),
            shm_size: shm_size
                .and_then(|size| self.shm_size(&size))
                // Engines that cannot set it have this one.
                .filter(|bytes| *bytes != BuildOptions::SHM_SIZE),
            ulimits: ulimits
                .into_iter()
                .filter_map(|(name, limit)| Some((name.clone(), self.ulimit(&name, &limit)?)))
                .collect(),
        }
    }

    fn network(&mut self, written: &Located<String>) -> Option<Network> {
        let known = [Network::Default, Network::None, Network::Host];
        let network = known.into_iter().find(|known| known.as_str() == written.value);
        if network.is_none() {
            let message = format!(
                "network must be \"default\", \"none\" or \"host\", not {:?}",
                written.value
            );
            self.suggest_near(written.line, message, &written.value, &known.map(Network::as_str));
        }
        network
    }

    fn host(&mut self, name: &str, address: &Located<String>) -> Option<IpAddr> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if name.is_empty() || !name.bytes().all(plain) {
            self.problem(address.line, format!("{name:?} cannot be the name of a host"));
            return None;
        }
        let parsed = address.value.parse().ok();
        if parsed.is_none() {
            let message =
                format!("hosts: {name:?} needs an IP address, and {:?} is none", address.value);
            self.problem(address.line, message);
        }
        parsed
    }

    fn shm_size(&mut self, written: &Located<String>) -> Option<u64> {
        let size = bytes(&written.value);
        if size.is_none() {
            let message = format!(
                "shm-size must be a size above zero such as \"512m\" or \"2g\", not {:?}",
                written.value
            );
            self.problem(written.line, message);
        }
        size
    }

    fn ulimit(&mut self, name: &str, written: &Located<String>) -> Option<Ulimit> {
        if !ULIMITS.contains(&name) {
            let message = format!("ulimits: there is no limit {name:?}");
            self.suggest_near(written.line, message, name, &ULIMITS);
            return None;
        }
        let limit = ulimit(&written.value);
        if limit.is_none() {
            let message = format!(
                "ulimits: {name:?} must be SOFT:HARD or one number for both, -1 being no limit and \
                 SOFT not above HARD, not {:?}",
                written.value
            );
            self.problem(written.line, message);
        }
        limit
    }
}

/// A size as Docker reads it: a number, and a unit of 1024 and its powers, with a `b` behind or without.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.find(|next: char| !next.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim_start() {
        "" | "b" => 1,
        "k" | "kb" => 1 << 10,
        "m" | "mb" => 1 << 20,
        "g" | "gb" => 1_u64 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit).filter(|bytes| *bytes > 0)
}

fn ulimit(text: &str) -> Option<Ulimit> {
    let number = |text: &str| text.parse::<i64>().ok().filter(|number| *number >= -1);
    let (soft, hard) = text.split_once(':').unwrap_or((text, text));
    let limit = Ulimit { soft: number(soft)?, hard: number(hard)? };
    // -1 is no limit, and so above all others.
    let height = |number: i64| if number == -1 { i64::MAX } else { number };
    (height(limit.soft) <= height(limit.hard)).then_some(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        for (text, expected) in [
            ("1024", Some(1024)),
            ("3b", Some(3)),
            ("64m", Some(BuildOptions::SHM_SIZE)),
            ("2G", Some(1 << 31)),
            ("2 gb", Some(1 << 31)),
            ("1kb", Some(1024)),
            ("0", None),
            ("", None),
            ("g", None),
            ("1.5g", None),
            ("-1", None),
            ("1t", None),
            ("99999999999g", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn a_limit_is_two_numbers_or_one_for_both() {
        for (text, expected) in [
            ("1024:2048", Some((1024, 2048))),
            ("512", Some((512, 512))),
            ("-1", Some((-1, -1))),
            ("0:-1", Some((0, -1))),
            ("-1:5", None),
            ("2:1", None),
            ("-2", None),
            ("1:2:3", None),
            ("", None),
            ("many", None),
        ] {
            let expected = expected.map(|(soft, hard)| Ulimit { soft, hard });
            assert_eq!(ulimit(text), expected, "{text}");
        }
    }
}
