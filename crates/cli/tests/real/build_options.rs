//! What a build option does in the engine, or that the engine is not let build without it.

use crate::engine::{self, Cleanup};
use crate::run::{Project, Ran};
use crate::{base_image, nonce};

/// Builds an image with these options that runs this.
fn built(options: &str, run: &str) -> (Project, Ran) {
    let mut project = Project::new(&[
        (
            "dockit.toml",
            &format!(
                "[images.a]\nargs = {{ BASE = \"{}\", NONCE = \"{}\" }}\n{options}\n",
                base_image(),
                nonce()
            ),
        ),
        ("a/Dockerfile", &format!("ARG BASE\nFROM $BASE\nARG NONCE\nRUN set -eux; {run}\n")),
    ]);
    project.docker_host = engine::endpoint();
    let ran = project.run(&["build", "--format", "json"]);
    (project, ran)
}

fn runs(options: &str, run: &str) {
    let (_project, ran) = built(options, run);
    let _cleanup = (!ran.out.is_empty()).then(|| Cleanup::of(&ran.json()));
    assert_eq!(ran.code, 0, "{}", ran.err);
}

#[test]
fn without_network_there_is_no_interface_but_loopback() {
    let interfaces = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | sort | tr '\\n' ' '";
    runs("network = \"none\"", &format!("test \"$({interfaces})\" = 'lo '"));
    runs("", &format!("test \"$({interfaces})\" != 'lo '"));
}

#[test]
fn the_network_of_the_host_is_that_of_the_engines_machine() {
    let namespace = std::fs::read_link("/proc/self/ns/net").unwrap();
    let namespace = namespace.to_str().unwrap();
    runs("network = \"host\"", &format!("test \"$(readlink /proc/self/ns/net)\" = '{namespace}'"));
    runs("", &format!("test \"$(readlink /proc/self/ns/net)\" != '{namespace}'"));
}

#[test]
fn hosts_are_in_etc_hosts_and_another_address_is_another_build() {
    let check =
        |address: &str| format!("grep -E '^{address}[[:space:]]+mirror.example$' /etc/hosts");
    runs("hosts = { \"mirror.example\" = \"10.9.8.7\" }", &check("10.9.8.7"));
    runs(
        "hosts = { one = \"10.9.8.7\", two = \"fd00::7\" }",
        "grep -E '^10.9.8.7[[:space:]]+one$' /etc/hosts; grep -E '^fd00::7[[:space:]]+two$' /etc/hosts",
    );
    // BuildKit's own layer cache would not tell these two apart.
    let (project, ran) = built("hosts = { m = \"10.9.8.7\" }", "grep -w m /etc/hosts > /seen");
    let _cleanup = (!ran.out.is_empty()).then(|| Cleanup::of(&ran.json()));
    assert_eq!(ran.code, 0, "{}", ran.err);
    let text = std::fs::read_to_string(project.root().join("dockit.toml")).unwrap();
    project.write(
        "dockit.toml",
        &(text.replace("10.9.8.7", "10.9.8.6") + "test = [\"grep 10.9.8.6 /seen\"]\n"),
    );
    let ran = project.run(&["build", "--format", "json"]);
    let _cleanup = (!ran.out.is_empty()).then(|| Cleanup::of(&ran.json()));
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(ran.json()["images"][0]["status"], "built");
}

#[test]
fn an_engine_that_ignores_sizes_and_limits_does_not_build() {
    for (option, check) in [
        ("shm-size = \"128m\"", "df -k /dev/shm | grep -w 131072"),
        ("ulimits.nofile = \"77:88\"", "test \"$(ulimit -n)\" = 77"),
    ] {
        if engine::major_version() >= 23 {
            runs(option, check);
            continue;
        }
        let (_project, ran) = built(option, check);
        assert_eq!(ran.code, 4, "{}", ran.err);
        let name = option.split([' ', '.']).next().unwrap();
        assert!(ran.err.contains(&format!("engine unsuited: the image has {name}")), "{}", ran.err);
    }
}
