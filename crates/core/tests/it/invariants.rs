//! The dependency rules of ARCHITECTURE.md, over `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Crates that open sockets, or exist for those that do.
const NETWORK: &[&str] =
    &["reqwest", "hyper", "tokio", "bollard", "oci-client", "rustls", "h2", "socket2", "mio"];

/// What only the CLI may know.
const TERMINAL: &[&str] = &["clap", "indicatif", "console"];

/// Packages that `cargo tree` reports for one of ours, without its dev-dependencies.
fn dependencies(package: &str, arguments: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--edges", "normal,build", "--prefix", "none"])
        .args(["--format", "{p}", "--package", package])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != package)
        .map(str::to_owned)
        .collect()
}

fn found(dependencies: &BTreeSet<String>, forbidden: &[&str]) -> Vec<String> {
    forbidden
        .iter()
        .filter(|name| dependencies.contains(**name))
        .map(|name| (*name).to_owned())
        .collect()
}

#[test]
fn hashing_knows_no_network_no_runtime_and_none_of_us() {
    let dependencies = dependencies("dockit-hashing", &["--all-features"]);
    assert!(dependencies.contains("sha2"), "the list is real: {dependencies:?}");
    assert_eq!(found(&dependencies, NETWORK), Vec::<String>::new());
    assert_eq!(found(&dependencies, TERMINAL), Vec::<String>::new());
    assert!(!dependencies.iter().any(|name| name.starts_with("dockit-")), "{dependencies:?}");
}

#[test]
fn registry_without_client_has_no_network_crate() {
    let without = dependencies("dockit-registry", &["--no-default-features"]);
    assert_eq!(found(&without, NETWORK), Vec::<String>::new());
    let with = dependencies("dockit-registry", &[]);
    assert!(with.contains("reqwest"), "{with:?}");
    assert!(!with.iter().any(|name| name.starts_with("dockit-")), "{with:?}");
    assert!(!with.contains("openssl-sys") && !with.contains("native-tls"), "{with:?}");
}

#[test]
fn assemble_knows_no_network_and_of_us_only_what_it_reads_and_writes() {
    let dependencies = dependencies("dockit-assemble", &["--all-features"]);
    assert_eq!(found(&dependencies, NETWORK), Vec::<String>::new());
    assert_eq!(found(&dependencies, TERMINAL), Vec::<String>::new());
    let ours: Vec<&str> = dependencies
        .iter()
        .filter(|name| name.starts_with("dockit-"))
        .map(String::as_str)
        .collect();
    assert_eq!(ours, ["dockit-hashing", "dockit-registry"]);
}

#[test]
fn only_the_cli_knows_terminals_and_arguments() {
    let core = dependencies("dockit-core", &[]);
    assert_eq!(found(&core, TERMINAL), Vec::<String>::new());
    let ours = ["dockit-assemble", "dockit-buildkit", "dockit-hashing", "dockit-registry"];
    assert_eq!(found(&core, &ours), ours);
    assert!(!core.contains("dockit-cli") && !core.contains("openssl-sys"), "{core:?}");
    let cli = dependencies("dockit-cli", &[]);
    assert_eq!(found(&cli, TERMINAL), TERMINAL);
}

#[test]
fn buildkit_knows_none_of_us_and_no_engine() {
    let dependencies = dependencies("dockit-buildkit", &["--all-features"]);
    assert!(dependencies.contains("tonic"), "the list is real: {dependencies:?}");
    assert_eq!(found(&dependencies, TERMINAL), Vec::<String>::new());
    let too_much = ["bollard", "reqwest", "rustls", "openssl-sys"];
    assert_eq!(found(&dependencies, &too_much), Vec::<String>::new());
    assert!(!dependencies.iter().any(|name| name.starts_with("dockit-")), "{dependencies:?}");
}

/// Where processes may be started and sockets opened, by file, below `crates/`.
#[test]
fn processes_and_sockets_stay_where_they_belong() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        (
            "process::Command",
            &[
                "core/src/process.rs",
                "registry/src/client/docker_config/helper.rs",
                "registry/src/client/identity/azure/cli.rs",
            ][..],
        ),
        // As it stands in lists of imports.
        ("std::process::{", &[][..]),
        ("tokio::process::{", &["core/src/process.rs", "core/src/process/"][..]),
        ("hyper_util::", &["core/src/backend/docker/", "buildkit/src/"][..]),
        ("hyper_rustls::", &["core/src/backend/docker/"][..]),
        ("reqwest::", &["registry/src/client/"][..]),
        ("bollard::", &["core/src/backend/docker/"][..]),
        ("TcpStream", &["buildkit/src/connection/", "core/src/backend/dial.rs"][..]),
        // The second is an ssh agent's.
        ("UnixStream", &["buildkit/src/connection/", "buildkit/src/session/ssh.rs"][..]),
    ]);
    let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut seen = 0;
    for name in ["hashing", "registry", "buildkit", "assemble", "core", "cli"] {
        for (path, text) in sources(&crates.join(name).join("src")) {
            let path = path.strip_prefix(crates).unwrap().to_str().unwrap().to_owned();
            seen += 1;
            for (word, places) in &allowed {
                let fine = places.iter().any(|place| path.starts_with(place));
                assert!(fine || !text.contains(word), "{path} uses {word}");
            }
            if path == "core/src/plan.rs" {
                for word in ["std::fs", "async", "std::io", "Registry for", "SystemTime"] {
                    assert!(!text.contains(word), "{path} uses {word}: planning does no I/O");
                }
            }
        }
    }
    assert!(seen > 30, "the sources were found: {seen}");
}

fn sources(directory: &std::path::Path) -> Vec<(std::path::PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}
