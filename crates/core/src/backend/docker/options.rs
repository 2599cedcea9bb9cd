//! Which engines build with which options and secrets.

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build_options::Ulimit;
    use crate::secrets::SecretValue;

    fn facts(kind: EngineKind, api_version: &str) -> EngineFacts {
        EngineFacts {
            kind,
            version: "1.2.3".to_owned(),
            api_version: api_version.to_owned(),
            platform: "linux/amd64".to_owned(),
        }
    }

    #[test]
    fn only_an_engine_that_does_what_the_options_say_builds() {
        let plain = BuildOptions::default();
        let network = BuildOptions { network: Network::None, ..plain.clone() };
        let hosts = BuildOptions {
            hosts: [("a".to_owned(), "::1".parse().unwrap())].into(),
            ..plain.clone()
        };
        let size = BuildOptions { shm_size: Some(1), ..network.clone() };
        let limit = ("nofile".to_owned(), Ulimit { soft: 1, hard: 1 });
        let limits = BuildOptions { ulimits: [limit].into(), ..plain.clone() };
        for (options, docker_20, docker_23, podman) in [
            (&plain, None, None, None),
            (&network, None, None, Some("(network)")),
            (&hosts, None, None, Some("(hosts)")),
            (&size, Some("has shm-size,"), None, Some("(network, shm-size)")),
            (&limits, Some("has ulimits,"), None, Some("(ulimits)")),
        ] {
            for (kind, api, expected) in [
                (EngineKind::Docker, "1.41", docker_20),
                (EngineKind::Docker, "1.42", docker_23),
                (EngineKind::Docker, "2.0", docker_23),
                (EngineKind::Docker, "unknown", docker_20),
                (EngineKind::Podman, "1.41", podman),
            ] {
                let refusal = refusal(&facts(kind, api), options);
                match expected {
                    None => assert_eq!(refusal, None, "{options:?} {api}"),
                    Some(words) => assert!(refusal.unwrap().contains(words), "{options:?} {api}"),
                }
            }
        }
    }

    #[test]
    fn podman_is_not_let_build_what_mounts_secrets() {
        let (docker, podman) =
            (facts(EngineKind::Docker, "1.41"), facts(EngineKind::Podman, "1.41"));
        let mut secrets = ImageSecrets::default();
        assert_eq!(refused_secrets(&podman, &secrets), None);
        secrets.secrets.insert("id".to_owned(), SecretValue::new("s3cret"));
        assert_eq!(refused_secrets(&docker, &secrets), None);
        let refusal = refused_secrets(&podman, &secrets).unwrap();
        assert!(refusal.contains("Podman 1.2.3") && !refusal.contains("s3cret"), "{refusal}");
    }
}
