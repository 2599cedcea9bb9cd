//! The build arguments that BuildKit predefines from the platform.

use std::collections::BTreeMap;

use dockit_registry::Platform;

/// `TARGET*` from the platform that an image is for, `BUILD*` from the one that it is built on.
///
/// The machine that happens to build must not enter a key, so `BUILDPLATFORM` is never the machine's, but
/// what the configuration says. BuildKit lets a build argument override it, and the executor passes it.
pub(crate) fn platform_args(target: &Platform, build: &Platform) -> BTreeMap<String, String> {
    let mut args = BTreeMap::new();
    for (side, platform) in [("TARGET", target), ("BUILD", build)] {
        let mut set = |name: &str, value: &str| {
            args.insert(format!("{side}{name}"), value.to_owned());
        };
        set("PLATFORM", &platform.to_string());
        set("OS", platform.os());
        set("ARCH", platform.architecture());
        set("VARIANT", platform.variant().unwrap_or(""));
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_has_its_own_platform() {
        let args = platform_args(&"linux/arm/v7".parse().unwrap(), &Platform::linux_amd64());
        assert_eq!(args["TARGETPLATFORM"], "linux/arm/v7");
        assert_eq!(args["TARGETVARIANT"], "v7");
        assert_eq!(args["BUILDARCH"], "amd64");
        assert_eq!(args["BUILDVARIANT"], "");
        assert_eq!(args.len(), 8);
    }
}
