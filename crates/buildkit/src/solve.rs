//! From a build to what BuildKit calls it: a request to solve, with attributes of the Dockerfile frontend
//! (<https://docs.docker.com/reference/dockerfile/>; the attributes' names are in
//! <https://github.com/moby/buildkit/blob/master/frontend/dockerui/config.go>).

use std::collections::{BTreeMap, HashMap};

use bollard_buildkit_proto::moby::buildkit::v1::{
    CacheOptions, CacheOptionsEntry, Exporter, SolveRequest,
};
use serde_json::json;

use crate::build::{Build, CacheEntry, Network, Output, ResolveMode, Transfer};

/// BuildKit's name for being allowed to use the machine's network.
const NETWORK_HOST: &str = "network.host";

pub(crate) fn request(build: &Build, reference: &str, session: &str) -> SolveRequest {
    let (exporter, attributes) = exporter(&build.output);
    let exporters = match exporter {
        "" => Vec::new(),
        kind => vec![Exporter { r#type: kind.to_owned(), attrs: attributes.clone() }],
    };
    SolveRequest {
        r#ref: reference.to_owned(),
        session: session.to_owned(),
        frontend: "dockerfile.v0".to_owned(),
        frontend_attrs: frontend_attributes(build, session),
        // Versions before 0.13 know only these two.
        exporter_deprecated: exporter.to_owned(),
        exporter_attrs_deprecated: attributes,
        exporters,
        entitlements: match build.network {
            Some(Network::Host) => vec![NETWORK_HOST.to_owned()],
            Some(Network::None) | None => Vec::new(),
        },
        cache: Some(CacheOptions {
            exports: build.cache_exports.iter().map(cache_entry).collect(),
            imports: build.cache_imports.iter().map(cache_entry).collect(),
            ..CacheOptions::default()
        }),
        ..SolveRequest::default()
    }
}

fn exporter(output: &Output) -> (&'static str, HashMap<String, String>) {
    let mut attributes = HashMap::new();
    let mut set = |name: &str, value: &str| attributes.insert(name.to_owned(), value.to_owned());
    match output {
        Output::EngineStore { names } => {
            if !names.is_empty() {
                set("name", &names.join(","));
            }
            ("moby", attributes)
        }
        Output::Push { repository, by_digest, insecure } => {
            set("name", repository);
            set("push", "true");
            set("oci-mediatypes", "true");
            if *by_digest {
                set("push-by-digest", "true");
            }
            if *insecure {
                set("registry.insecure", "true");
            }
            ("image", attributes)
        }
        Output::CacheOnly => ("", attributes),
    }
}

fn frontend_attributes(build: &Build, session: &str) -> HashMap<String, String> {
    let mut attributes = HashMap::new();
    let mut set = |name: &str, value: String| attributes.insert(name.to_owned(), value);
    set("filename", build.dockerfile_name.clone());
    if let Some(target) = &build.target {
        set("target", target.clone());
    }
    if !build.platforms.is_empty() {
        set("platform", build.platforms.join(","));
    }
    for (name, value) in &build.args {
        set(&format!("build-arg:{name}"), value.clone());
    }
    for (name, value) in &build.labels {
        set(&format!("label:{name}"), value.clone());
    }
    if !build.layer_cache {
        // All stages.
        set("no-cache", String::new());
    }
    if let Some(mode) = build.resolve {
        let mode = match mode {
            ResolveMode::Default => "default",
            ResolveMode::Pull => "pull",
            ResolveMode::PreferLocal => "local",
        };
        set("image-resolve-mode", mode.to_owned());
    }
    if let Some(network) = build.network {
        let network = match network {
            Network::Host => "host",
            Network::None => "none",
        };
        set("force-network-mode", network.to_owned());
    }
    if !build.hosts.is_empty() {
        let hosts: Vec<_> = build.hosts.iter().map(|(name, ip)| format!("{name}={ip}")).collect();
        set("add-hosts", hosts.join(","));
    }
    if let Some(bytes) = build.shm_size {
        set("shm-size", bytes.to_string());
    }
    if !build.ulimits.is_empty() {
        set("ulimit", build.ulimits.join(","));
    }
    if !build.cache_imports.is_empty() {
        let imports = build.cache_imports.iter();
        let imports: Vec<_> =
            imports.map(|entry| json!({ "Type": entry.kind, "Attrs": entry.attributes })).collect();
        set("cache-imports", json!(imports).to_string());
    }
    if build.transfer == Transfer::Archive {
        // An address that BuildKit takes for the session; and the Dockerfile is not in the archive.
        set("context", format!("http://buildkit-session/{session}"));
        set("dockerfilekey", "dockerfile".to_owned());
    }
    attributes.extend(into_map(&build.attributes));
    attributes
}

fn cache_entry(entry: &CacheEntry) -> CacheOptionsEntry {
    CacheOptionsEntry { r#type: entry.kind.clone(), attrs: into_map(&entry.attributes) }
}

fn into_map(map: &BTreeMap<String, String>) -> HashMap<String, String> {
    map.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::tree::NoFiles;

    fn build() -> Build {
        Build::new("FROM scratch", Arc::new(NoFiles), "none")
    }

    #[test]
    fn a_build_without_options_says_no_more_than_it_must() {
        let request = request(&build(), "r", "s");
        assert_eq!((request.r#ref.as_str(), request.session.as_str()), ("r", "s"));
        let wanted = [("filename".to_owned(), "Dockerfile".to_owned())];
        assert_eq!(request.frontend_attrs, HashMap::from(wanted));
        assert_eq!(request.exporter_deprecated, "moby");
        assert!(request.exporter_attrs_deprecated.is_empty() && request.entitlements.is_empty());
    }

    #[test]
    fn options_are_attributes() {
        let build = Build {
            target: Some("last".to_owned()),
            platforms: vec!["linux/amd64".to_owned(), "linux/arm64".to_owned()],
            args: BTreeMap::from([("A".to_owned(), "1".to_owned())]),
            labels: BTreeMap::from([("l".to_owned(), "2".to_owned())]),
            layer_cache: false,
            resolve: Some(ResolveMode::Pull),
            network: Some(Network::Host),
            hosts: vec![
                ("a".to_owned(), "10.0.0.1".parse().unwrap()),
                ("b".to_owned(), "::1".parse().unwrap()),
            ],
            shm_size: Some(65_536),
            ulimits: vec!["nofile=1:2".to_owned(), "core=0".to_owned()],
            cache_imports: vec![CacheEntry::registry("r.example/a:b")],
            cache_exports: vec![CacheEntry::inline()],
            attributes: BTreeMap::from([("hostname".to_owned(), "h".to_owned())]),
            ..build()
        };
        let request = request(&build, "r", "s");
        let sorted: BTreeMap<_, _> = request.frontend_attrs.into_iter().collect();
        let wanted = [
            ("add-hosts", "a=10.0.0.1,b=::1"),
            ("build-arg:A", "1"),
            ("cache-imports", r#"[{"Attrs":{"ref":"r.example/a:b"},"Type":"registry"}]"#),
            ("filename", "Dockerfile"),
            ("force-network-mode", "host"),
            ("hostname", "h"),
            ("image-resolve-mode", "pull"),
            ("label:l", "2"),
            ("no-cache", ""),
            ("platform", "linux/amd64,linux/arm64"),
            ("shm-size", "65536"),
            ("target", "last"),
            ("ulimit", "nofile=1:2,core=0"),
        ];
        let wanted = wanted.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(sorted, BTreeMap::from(wanted));
        assert_eq!(request.entitlements, ["network.host"]);
        let cache = request.cache.unwrap();
        assert_eq!(cache.exports[0].r#type, "inline");
        assert_eq!(cache.imports[0].attrs["ref"], "r.example/a:b");
    }

    #[test]
    fn an_archive_comes_from_the_session_and_the_dockerfile_does_not_come_with_it() {
        let request = request(&Build { transfer: Transfer::Archive, ..build() }, "r", "s");
        assert_eq!(request.frontend_attrs["context"], "http://buildkit-session/s");
        assert_eq!(request.frontend_attrs["dockerfilekey"], "dockerfile");
    }

    #[test]
    fn outputs_are_exporters_old_and_new() {
        let repository = "r.example/a".to_owned();
        let push = Output::Push { repository, by_digest: true, insecure: false };
        let names = vec!["a:1".to_owned(), "b:2".to_owned()];
        let pushed: &[_] = &[
            ("name", "r.example/a"),
            ("oci-mediatypes", "true"),
            ("push", "true"),
            ("push-by-digest", "true"),
        ];
        let store: &[_] = &[("name", "a:1,b:2")];
        for (output, kind, attributes) in
            [(push, "image", pushed), (Output::EngineStore { names }, "moby", store)]
        {
            let request = request(&Build { output, ..build() }, "r", "s");
            assert_eq!(request.exporter_deprecated, kind);
            assert_eq!(request.exporters[0].r#type, kind);
            let attributes =
                attributes.iter().map(|(name, value)| (name.to_string(), value.to_string()));
            let attributes: HashMap<_, _> = attributes.collect();
            assert_eq!(request.exporter_attrs_deprecated, attributes);
            assert_eq!(request.exporters[0].attrs, attributes);
        }
        let none = request(&Build { output: Output::CacheOnly, ..build() }, "r", "s");
        assert!(none.exporter_deprecated.is_empty() && none.exporters.is_empty());
    }
}
