//! Build options, as the Engine's API takes them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bollard::query_parameters::BuildImageOptions;

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
    // The API takes one, and cuts it at its colons.
    if options.hosts.len() > 1 || options.hosts.values().any(IpAddr::is_ipv6) {
        return Some("the image has several hosts, or one with an IPv6 address".to_owned());
    }
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
    let EngineFacts { version, .. } = facts;
    (!secrets.is_empty()).then(|| {
        format!("the build mounts secrets or ssh agents, which the engine (version {version}) is not given")
    })
}

/// Sets what the API takes.
pub(super) fn set(options: &BuildOptions, query: BuildImageOptions) -> BuildImageOptions {
    let hosts: Vec<String> =
        options.hosts.iter().map(|(name, address)| format!("{name}:{address}")).collect();
    BuildImageOptions {
        networkmode: match options.network {
            Network::Default => None,
            network => Some(network.as_str().to_owned()),
        },
        extrahosts: (!hosts.is_empty()).then(|| hosts.join(",")),
        ..query
    }
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
