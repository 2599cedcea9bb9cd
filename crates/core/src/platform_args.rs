//! The build arguments that BuildKit predefines from the platform.

use std::collections::BTreeMap;

use dockit_registry::Platform;

/// `TARGET*` from the platform; `BUILD*` as if the build ran on that same platform.
///
/// The machine that happens to build must not enter a key, so `BUILDPLATFORM` is never the machine's.
/// BuildKit lets a build argument override it, and the executor passes it.
pub(crate) fn platform_args(platform: &Platform) -> BTreeMap<String, String> {
    let mut args = BTreeMap::new();
    for side in ["TARGET", "BUILD"] {
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
    fn target_and_build_platform_are_the_images() {
        let args = platform_args(&"linux/arm/v7".parse().unwrap());
        assert_eq!(args["TARGETPLATFORM"], "linux/arm/v7");
        assert_eq!(args["TARGETVARIANT"], "v7");
        assert_eq!(args["BUILDARCH"], "arm");
        assert_eq!(args.len(), 8);
    }
}
