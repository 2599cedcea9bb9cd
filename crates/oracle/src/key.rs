//! dockit's side: the key of a project.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;

use dockit_core::lockfile::LockedPlatform;
use dockit_core::{ImageGraph, KeyOptions, Lockfile, compute_keys, config};

use crate::State;
use crate::state::NONCE;

/// What dockit says about a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keyed {
    /// The image's key.
    Key(String),
    /// There is no key, for this reason.
    Refused(String),
}

/// The image with a shell, as keys see it; which one it is does not matter to a comparison.
const BASE_REFERENCE: &str = "registry.example/base:1";

/// Through the same functions as the command: the project is written, loaded, and keyed. Once for all
/// tests of a process.
pub fn key(state: &State) -> Keyed {
    static KNOWN: Mutex<BTreeMap<String, Keyed>> = Mutex::new(BTreeMap::new());
    let fingerprint = state.fingerprint();
    if let Some(keyed) = KNOWN.lock().unwrap().get(&fingerprint) {
        return keyed.clone();
    }
    let keyed = compute(state);
    KNOWN.lock().unwrap().insert(fingerprint, keyed.clone());
    keyed
}

fn compute(state: &State) -> Keyed {
    let directory = tempfile::tempdir().unwrap();
    state.write_to(&directory.path().join("context"), NONCE, BASE_REFERENCE);
    let file = directory.path().join("dockit.toml");
    std::fs::write(&file, configuration(state)).unwrap();

    let project = config::load(&file, &config::LoadOptions::default()).unwrap();
    let graph = match ImageGraph::new(&project) {
        Ok(graph) => graph,
        Err(error) => return Keyed::Refused(error.to_string()),
    };
    let names = graph.order().iter().cloned().collect();
    let lockfile = lockfile(&state.platform);
    match compute_keys(&project, &graph, &names, &lockfile, &KeyOptions::default()) {
        Ok(keys) => {
            let (_, keyed) = keys.iter().next().unwrap();
            Keyed::Key(keyed.key.to_string())
        }
        Err(error) => Keyed::Refused(error.to_string()),
    }
}

fn configuration(state: &State) -> String {
    let mut text = format!(
        "[images.a]\ncontext = \"context\"\ndockerfile = \"context/{}\"\nplatforms = [\"{}\"]\n",
        state.dockerfile, state.platform
    );
    if let Some(target) = &state.target {
        writeln!(text, "target = \"{target}\"").unwrap();
    }
    text.push_str("[images.a.args]\n");
    for (name, value) in &state.args {
        writeln!(text, "{name} = '{value}'").unwrap();
    }
    text
}

fn lockfile(platform: &str) -> Lockfile {
    let digest = |byte: &str| format!("sha256:{}", byte.repeat(32)).parse().unwrap();
    let mut lockfile = Lockfile::default();
    let entry = LockedPlatform { digest: digest("bb"), env: vec![], onbuild: vec![] };
    let platform = platform.parse().unwrap();
    lockfile.lock_base(BASE_REFERENCE.parse().unwrap(), digest("aa"), platform, entry);
    lockfile
}
