//! What the engine gives to every `RUN` of a build besides the image: `network`, `hosts`, `shm-size` and
//! `ulimits` in the configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// What is said about the `RUN` instructions of an image's build. The default says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildOptions {
    /// Which network they see.
    pub network: Network,
    /// What stands in their `/etc/hosts` besides: addresses by name.
    pub hosts: BTreeMap<String, IpAddr>,
    /// The size of their `/dev/shm` in bytes, where it is not the usual one.
    pub shm_size: Option<u64>,
    /// Their resource limits, by the names that Docker has for them: `nofile`, `nproc`.
    pub ulimits: BTreeMap<String, Ulimit>,
}

/// The network of a `RUN`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Network {
    /// The engine's own, behind which the world is.
    #[default]
    Default,
    /// None at all.
    None,
    /// That of the engine's machine. An engine may be set up to grant it to nobody.
    Host,
}

/// A resource limit, as `setrlimit` takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ulimit {
    /// What holds until the process raises it.
    pub soft: i64,
    /// How far it may raise it. At least `soft`.
    pub hard: i64,
}

impl BuildOptions {
    /// The size of `/dev/shm` where nothing is said, in bytes: BuildKit's, and Docker's of old.
    pub const SHM_SIZE: u64 = 64 * 1024 * 1024;

    /// As they stand in a key: by name, and only those that differ from the default.
    pub fn keyed(&self) -> BTreeMap<String, String> {
        let mut keyed = BTreeMap::new();
        if self.network != Network::Default {
            keyed.insert("network".to_owned(), self.network.as_str().to_owned());
        }
        for (name, address) in &self.hosts {
            keyed.insert(format!("{KEYED_HOST}{name}"), address.to_string());
        }
        if let Some(bytes) = self.shm_size.filter(|bytes| *bytes != Self::SHM_SIZE) {
            keyed.insert("shm-size".to_owned(), bytes.to_string());
        }
        for (name, limit) in &self.ulimits {
            keyed.insert(format!("ulimit:{name}"), limit.to_string());
        }
        keyed
    }

    /// Whether options as they stand in a key hold one whose value BuildKit's layer cache does not tell
    /// from another: of a host it takes the name alone.
    pub(crate) fn hidden_from_engine(keyed: &BTreeMap<String, String>) -> bool {
        keyed.keys().any(|name| name.starts_with(KEYED_HOST))
    }
}

/// How the name of a host begins in a key.
const KEYED_HOST: &str = "host:";

impl Network {
    /// The word for it in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::None => "none",
            Self::Host => "host",
        }
    }
}

impl fmt::Display for Ulimit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.soft, self.hard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_from_the_default_is_keyed() {
        let mut options = BuildOptions::default();
        assert_eq!(options.keyed(), BTreeMap::new());
        options.shm_size = Some(BuildOptions::SHM_SIZE);
        assert_eq!(options.keyed(), BTreeMap::new());
        options.network = Network::None;
        options.hosts.insert("a.example".to_owned(), "10.0.0.1".parse().unwrap());
        options.hosts.insert("b".to_owned(), "0:0::1".parse().unwrap());
        options.shm_size = Some(1 << 31);
        options.ulimits.insert("nofile".to_owned(), Ulimit { soft: 1024, hard: -1 });
        let keyed: Vec<String> =
            options.keyed().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let expected = [
            "host:a.example=10.0.0.1",
            "host:b=::1",
            "network=none",
            "shm-size=2147483648",
            "ulimit:nofile=1024:-1",
        ];
        assert_eq!(keyed, expected);
    }

    #[test]
    fn the_layer_cache_sees_all_but_the_addresses_of_hosts() {
        let mut options = BuildOptions { network: Network::Host, ..BuildOptions::default() };
        assert!(!BuildOptions::hidden_from_engine(&options.keyed()));
        options.hosts.insert("a".to_owned(), "10.0.0.1".parse().unwrap());
        assert!(BuildOptions::hidden_from_engine(&options.keyed()));
    }
}
