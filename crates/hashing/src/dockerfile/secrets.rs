//! Which secrets and ssh agents a `RUN` mounts, by the rules of
//! <https://docs.docker.com/reference/dockerfile/#run---mounttypesecret> and the paragraph after it.

use super::environment::Environment;
use super::expand::expand;
use super::flags::{Flag, Mount};
use super::instruction::Instruction;

/// A `RUN --mount=type=secret` or `type=ssh` that a build reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretMount {
    /// The 1-based line of the instruction.
    pub line: u32,
    /// What is mounted.
    pub kind: SecretMountKind,
    /// What it is called. Two names where a variable stands in it, which old engines do not expand; none
    /// where the environment of a base image decides.
    pub ids: Vec<String>,
    /// Whether the build fails without it.
    pub required: bool,
}

/// What a [`SecretMount`] mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SecretMountKind {
    /// A file.
    Secret,
    /// The socket of an ssh agent.
    Ssh,
}

impl SecretMountKind {
    /// The word for it in a Dockerfile.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Ssh => "ssh",
        }
    }
}

/// What an ssh mount is called that does not say.
const DEFAULT_AGENT: &str = "default";

/// What an instruction mounts, given the variables it sees.
pub(super) fn secret_mounts(
    instruction: &Instruction,
    environment: &Environment,
) -> Vec<SecretMount> {
    let mounts = instruction.flags.iter().filter_map(|flag| match flag {
        Flag::Mount(mount) => Some(mount),
        _ => None,
    });
    let value = |text: &str| {
        let expanded = expand(text, instruction.escape, &|name| environment.get(name));
        expanded.ok().and_then(|expanded| expanded.value)
    };
    mounts.filter_map(|mount| read(mount, instruction.line, &value)).collect()
}

fn read(mount: &Mount, line: u32, value: &dyn Fn(&str) -> Option<String>) -> Option<SecretMount> {
    let option = |names: &[&str]| {
        mount.fields.iter().rev().find_map(|field| {
            let (name, text) = field.split_once('=')?;
            names.contains(&name.trim().to_lowercase().as_str()).then_some(text)
        })
    };
    let kind = match value(option(&["type"])?)?.to_lowercase().as_str() {
        "secret" => SecretMountKind::Secret,
        "ssh" => SecretMountKind::Ssh,
        _ => return None,
    };
    let written = |names: &[&str]| option(names).filter(|text| !text.is_empty());
    let named = match kind {
        SecretMountKind::Secret => written(&["source", "src"]).or_else(|| written(&["id"])),
        SecretMountKind::Ssh => Some(written(&["id"]).unwrap_or(DEFAULT_AGENT)),
    };
    let base = |path: &str| path.trim_end_matches('/').rsplit('/').next().unwrap_or("").to_owned();
    let texts = match named {
        Some(text) => [value(text), Some(text.to_owned())],
        None => {
            let target = written(&["target", "dst", "destination"])?;
            [value(target).map(|target| base(&target)), Some(base(target))]
        }
    };
    let mut ids: Vec<String> = match texts {
        // Nobody but the base image knows.
        [None, _] => Vec::new(),
        texts => texts.into_iter().flatten().collect(),
    };
    ids.dedup();
    let required = mount.fields.iter().rev().find_map(|field| {
        let (name, value) = field.split_once('=').unwrap_or((field, "true"));
        // What Go takes for true.
        let is_true = || matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True");
        name.trim().eq_ignore_ascii_case("required").then(is_true)
    });
    Some(SecretMount { line, kind, ids, required: required.unwrap_or(false) })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{Dockerfile, ImageConfig, ResolveOptions};

    fn mounts(dockerfile: &str) -> Vec<String> {
        let none = BTreeMap::new();
        let dockerfile = Dockerfile::parse(dockerfile.as_bytes()).unwrap();
        let options = ResolveOptions { target: None, args: &none, platform_args: &none };
        let resolved = dockerfile.resolve(&options).unwrap();
        let inputs = resolved.context_inputs(&|_| Some(ImageConfig::unknown())).unwrap();
        let shown = inputs.secret_mounts().iter().map(|mount| {
            let (kind, ids) = (mount.kind.as_str(), mount.ids.join("|"));
            let required = if mount.required { " required" } else { "" };
            format!("{} {kind} {ids}{required}", mount.line)
        });
        shown.collect()
    }

    #[test]
    fn what_reachable_instructions_mount_is_found_under_its_name() {
        let text = "FROM x AS unused\nRUN --mount=type=secret,id=no y\nFROM x\nARG N=npm\n\
                    RUN --mount=type=secret,id=a,required --mount=type=ssh y\n\
                    RUN --mount=type=SECRET,target=/run/b/token y\n\
                    RUN --mount=type=secret,id=z,src=c,required=false y\n\
                    RUN --mount=type=ssh,id=$N,required=1 y\n\
                    RUN --mount=type=secret,id=$FROM_BASE y\n\
                    RUN --mount=type=cache,target=/c --mount=target=/x y\n\
                    ONBUILD RUN --mount=type=secret,id=later y\n";
        assert_eq!(
            mounts(text),
            [
                "5 secret a required",
                "5 ssh default",
                "6 secret token",
                "7 secret c",
                "8 ssh npm|$N required",
                "9 secret ",
            ]
        );
    }

    #[test]
    fn triggers_of_a_stage_mount_where_they_run() {
        let text = "FROM x AS base\nONBUILD RUN --mount=type=secret,id=late y\nFROM base\n";
        assert_eq!(mounts(text), ["2 secret late"]);
    }
}
