//! Platforms that images are built for.

use std::fmt;
use std::str::FromStr;

use crate::text::serde_as_text;

/// An operating system and an architecture, `os/architecture[/variant]`, as in an image index.
///
/// Spellings of the same platform are one value: `x86_64` is `amd64`, `aarch64` and `arm64/v8` are
/// `arm64`, `arm` is `arm/v7`, `amd64/v1` is `amd64`, as containerd normalises them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

/// Text that is no platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no platform: expected \"os/architecture\" or \"os/architecture/variant\"")]
pub struct PlatformError {
    text: String,
}

impl Platform {
    /// `linux/amd64`.
    pub fn linux_amd64() -> Self {
        Self { os: "linux".to_owned(), architecture: "amd64".to_owned(), variant: None }
    }

    /// The platform of these parts, as an index entry or an image config holds them.
    ///
    /// # Errors
    ///
    /// A part is empty (an empty variant counts as none), or holds other characters than letters,
    /// digits, `_`, `.` and `-`.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Result<Self, PlatformError> {
        let variant = variant.filter(|variant| !variant.is_empty());
        let valid = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
        };
        if ![Some(os), Some(architecture), variant].into_iter().flatten().all(valid) {
            let text = [Some(os), Some(architecture), variant];
            let text = text.into_iter().flatten().collect::<Vec<_>>().join("/");
            return Err(PlatformError { text });
        }
        let os = match os.to_ascii_lowercase() {
            os if os == "macos" => "darwin".to_owned(),
            os => os,
        };
        let (architecture, variant) =
            normalise(architecture.to_ascii_lowercase(), variant.map(str::to_ascii_lowercase));
        Ok(Self { os, architecture, variant })
    }

    /// The operating system, such as `linux`.
    pub fn os(&self) -> &str {
        &self.os
    }

    /// The architecture by its Go name, such as `amd64`.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// The variant of the architecture, such as `v7`.
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }

    /// The platform among these whose images serve best where `self` is wanted; `None` where none do.
    ///
    /// An older variant of the same architecture serves on a newer one.
    pub fn closest<'a>(&self, among: impl IntoIterator<Item = &'a Self>) -> Option<&'a Self> {
        let served = among.into_iter().filter_map(|it| Some((self.distance(it)?, it)));
        served.min_by_key(|(distance, _)| *distance).map(|(_, platform)| platform)
    }

    /// How well an image for `other` serves where `self` is wanted: 0 is exact, more is worse,
    /// `None` is not at all.
    ///
    /// An older variant of the same architecture runs on a newer one; another architecture never
    /// does, even where a processor could emulate it.
    pub(crate) fn distance(&self, other: &Self) -> Option<u32> {
        if self.os != other.os || self.architecture != other.architecture {
            return None;
        }
        if self.variant == other.variant {
            return Some(0);
        }
        self.level()?.checked_sub(other.level()?)
    }

    /// The number of the variant: `v7` is 7. No variant is the architecture's first.
    fn level(&self) -> Option<u32> {
        match (self.architecture.as_str(), self.variant()) {
            ("amd64", None) => Some(1),
            ("arm64", None) => Some(8),
            (_, Some(variant)) => variant.strip_prefix('v')?.parse().ok(),
            (_, None) => None,
        }
    }
}

fn normalise(architecture: String, variant: Option<String>) -> (String, Option<String>) {
    let named = |architecture: &str, variant: Option<&str>| {
        (architecture.to_owned(), variant.map(ToOwned::to_owned))
    };
    match (architecture.as_str(), variant.as_deref()) {
        ("x86_64" | "x86-64" | "amd64", None | Some("v1")) => named("amd64", None),
        ("x86_64" | "x86-64", variant) => named("amd64", variant),
        ("i386", variant) => named("386", variant),
        ("aarch64" | "arm64", None | Some("8" | "v8")) => named("arm64", None),
        ("aarch64", variant) => named("arm64", variant),
        ("armhf", _) => named("arm", Some("v7")),
        ("armel", _) => named("arm", Some("v6")),
        ("arm", None) => named("arm", Some("v7")),
        ("arm", Some(variant @ ("5" | "6" | "7" | "8"))) => {
            ("arm".to_owned(), Some(format!("v{variant}")))
        }
        _ => (architecture, variant),
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let error = || PlatformError { text: text.to_owned() };
        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(error());
        }
        match parts.as_slice() {
            [os, architecture] => Self::new(os, architecture, None),
            [os, architecture, variant] => Self::new(os, architecture, Some(variant)),
            _ => Err(error()),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(formatter, "/{variant}"),
            None => Ok(()),
        }
    }
}

serde_as_text!(Platform);

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn spellings_of_one_platform_are_one_value() {
        for (text, normal) in [
            ("linux/amd64", "linux/amd64"),
            ("Linux/x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/x86_64/v3", "linux/amd64/v3"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/i386", "linux/386"),
            ("macos/arm64", "darwin/arm64"),
            ("windows/amd64", "windows/amd64"),
        ] {
            assert_eq!(platform(text).to_string(), normal, "{text}");
            assert_eq!(platform(normal), platform(text));
        }
    }

    #[test]
    fn what_is_no_platform_is_refused() {
        for text in ["", "linux", "linux/", "/amd64", "linux/amd64/", "a/b/c/d", "linux/a b"] {
            let error = text.parse::<Platform>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{text:?} is no platform")), "{error}");
        }
    }

    #[test]
    fn an_older_variant_serves_a_newer_one_and_never_the_other_way_round() {
        for (wanted, offered, distance) in [
            ("linux/amd64", "linux/amd64", Some(0)),
            ("linux/amd64/v3", "linux/amd64", Some(2)),
            ("linux/amd64", "linux/amd64/v3", None),
            ("linux/arm/v7", "linux/arm/v6", Some(1)),
            ("linux/arm/v6", "linux/arm/v7", None),
            ("linux/arm64", "linux/arm/v7", None),
            ("linux/amd64", "linux/386", None),
            ("linux/amd64", "windows/amd64", None),
            ("linux/riscv64", "linux/riscv64", Some(0)),
        ] {
            assert_eq!(
                platform(wanted).distance(&platform(offered)),
                distance,
                "{wanted} {offered}"
            );
        }
    }

    #[test]
    fn the_closest_is_the_newest_that_serves() {
        let among = ["linux/arm64", "linux/amd64", "linux/amd64/v4", "linux/amd64/v2"];
        let among = among.map(platform);
        let closest = |wanted: &str| platform(wanted).closest(&among).map(ToString::to_string);
        assert_eq!(closest("linux/amd64/v3").as_deref(), Some("linux/amd64/v2"));
        assert_eq!(closest("linux/amd64").as_deref(), Some("linux/amd64"));
        assert_eq!(closest("linux/s390x"), None);
    }
}
