//! Build options, as the Engine's API takes them.

use std::collections::BTreeMap;

use super::{EngineFacts, EngineKind};
use crate::build_options::{BuildOptions, Network};
use crate::secrets::ImageSecrets;

/// The first API of an engine whose BuildKit sets the size of `/dev/shm`, and limits (Docker 23.0).
/// Those before take both and do nothing.
const SIZES_API: (u32, u32) = (1, 42);

/// Why this engine must not build with these options, if it must not: it would build something else.
pub(super) fn refusal(facts: &EngineFacts, options: &BuildOptions) -> Option<String> {
    if *options == BuildOptions::default() {
        return None;
    }
    let EngineFacts { kind, version, api_version, .. } = facts;
    if *kind == EngineKind::Podman {
        return Some(format!(
            "the image has build options ({}), and it is not known what Podman {version} makes of \
             them",
            names(options)
        ));
    }
    let sizes =
        BuildOptions { network: Network::Default, hosts: BTreeMap::new(), ..options.clone() };
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u32>().ok());
    let mut parts = api_version.split('.');
    let api = number(parts.next()).zip(number(parts.next()));
    if sizes == BuildOptions::default() || api.is_some_and(|api| api >= SIZES_API) {
        return None;
    }
    Some(format!(
        "the image has {}, and Docker {version} (API {api_version}) builds without (Docker 23.0 does \
         not)",
        names(&sizes)
    ))
}

/// Why this engine must not build what mounts these, if it must not.
pub(super) fn refused_secrets(facts: &EngineFacts, secrets: &ImageSecrets) -> Option<String> {
    let EngineFacts { kind, version, .. } = facts;
    (*kind == EngineKind::Podman && !secrets.is_empty()).then(|| {
        format!("the build mounts secrets or ssh agents, which Podman {version} is not given")
    })
}

/// As the configuration names them.
fn names(options: &BuildOptions) -> String {
    let all = [
        ("network", options.network != Network::Default),
        ("hosts", !options.hosts.is_empty()),
        ("shm-size", options.shm_size.is_some()),
        ("ulimits", !options.ulimits.is_empty()),
    ];
    let set = all.into_iter().filter(|(_, set)| *set).map(|(name, _)| name);
    set.collect::<Vec<_>>().join(", ")
}
