//! What becomes of steps.

use std::collections::BTreeMap;

use dockit_hashing::dockerfile::{Dockerfile, ImageConfig, ResolveOptions, StageBase};
use serde_json::{Value, json};

use super::*;

/// The configuration of the target of a Dockerfile whose stages are based on `scratch`, each other, and
/// an image with this configuration. Each step that copies or makes a directory makes a layer.
fn build(base: &Value, text: &str) -> Config {
    let dockerfile = Dockerfile::parse(text.as_bytes()).unwrap();
    let none = BTreeMap::new();
    let options = ResolveOptions { target: None, args: &none, platform_args: &none };
    let resolved = dockerfile.resolve(&options).unwrap();
    let mut evaluation = resolved.evaluation();
    let mut configs: Vec<Config> = Vec::new();
    for (position, stage) in evaluation.stages().to_vec().iter().enumerate() {
        let (mut config, base) = match stage.base {
            StageBase::Scratch => {
                (Config::scratch(&Platform::linux_amd64()), ImageConfig::default())
            }
            StageBase::Stage(base) => (configs[base].of_stage(), ImageConfig::default()),
            StageBase::Image(_) => Config::of_base(base.to_string().as_bytes()).unwrap(),
        };
        for step in evaluation.stage(position, &base).unwrap() {
            let layer = match &step.kind {
                StepKind::Copy(_) | StepKind::Add(_) => Some(Digest::of(b"copied")),
                StepKind::Workdir(_) => Some(Digest::of(b"made")),
                _ => None,
            };
            config.apply(&step, layer.as_ref());
        }
        configs.push(config);
    }
    configs.pop().unwrap()
}

fn json_of(config: &Config) -> Value {
    serde_json::from_slice(&config.to_bytes()).unwrap()
}

fn scratch(instructions: &str) -> Value {
    json_of(&build(&Value::Null, &format!("FROM scratch\n{instructions}\n")))
}

/// What the history says was done.
fn done(config: &Value) -> Vec<&str> {
    let entries = config["history"].as_array().map(Vec::as_slice).unwrap_or_default();
    entries.iter().map(|entry| entry["created_by"].as_str().unwrap_or_default()).collect()
}

#[test]
fn an_image_from_nothing_has_a_path_and_a_directory() {
    let bytes = build(&Value::Null, "FROM scratch\n").to_bytes();
    let expected = format!(
        "{{\"created\":\"{TIME}\",\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{{\"Env\":[\"{PATH}\"],\
         \"WorkingDir\":\"/\"}},\"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[]}}}}"
    );
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}

#[test]
fn each_instruction_sets_what_it_names() {
    for (instructions, member, expected) in [
        ("ENV A=1 B=2\nENV A=3", "Env", json!([PATH, "A=3", "B=2"])),
        ("ENV PATH=/bin", "Env", json!(["PATH=/bin"])),
        ("LABEL b=1 a=2\nLABEL b=3", "Labels", json!({"a": "2", "b": "3"})),
        ("EXPOSE 81 80/udp\nEXPOSE 81", "ExposedPorts", json!({"80/udp": {}, "81/tcp": {}})),
        ("VOLUME /a /b\nVOLUME [\"/a\"]", "Volumes", json!({"/a": {}, "/b": {}})),
        ("USER a:b\nUSER c", "User", json!("c")),
        ("STOPSIGNAL SIGINT", "StopSignal", json!("SIGINT")),
        ("CMD a  b", "Cmd", json!(["/bin/sh", "-c", "a  b"])),
        ("CMD [\"a\", \"b\"]", "Cmd", json!(["a", "b"])),
        ("CMD [\"a\"]", "ArgsEscaped", json!(true)),
        ("CMD []", "Cmd", Value::Null),
        ("CMD", "Cmd", json!(["/bin/sh", "-c", ""])),
        ("SHELL [\"x\", \"-y\"]\nCMD a", "Cmd", json!(["x", "-y", "a"])),
        ("SHELL [\"x\"]\nENTRYPOINT a", "Entrypoint", json!(["x", "a"])),
        ("SHELL [\"x\"]\nENTRYPOINT a", "Shell", json!(["x"])),
        ("CMD [\"a\"]\nENTRYPOINT [\"b\"]", "Cmd", json!(["a"])),
        ("ENTRYPOINT [\"b\"]\nCMD [\"a\"]", "Entrypoint", json!(["b"])),
        ("ENTRYPOINT []", "Entrypoint", Value::Null),
        ("HEALTHCHECK NONE", "Healthcheck", json!({"Test": ["NONE"]})),
        (
            "HEALTHCHECK --interval=1m --retries=3 CMD a b",
            "Healthcheck",
            json!({"Test": ["CMD-SHELL", "a b"], "Interval": 60_000_000_000_i64, "Retries": 3}),
        ),
        (
            "HEALTHCHECK --timeout=1s --start-period=2s --start-interval=3s CMD [\"a\"]",
            "Healthcheck",
            json!({"Test": ["CMD", "a"], "Timeout": 1_000_000_000, "StartPeriod": 2_000_000_000,
                   "StartInterval": 3_000_000_000_i64}),
        ),
        ("ONBUILD RUN  a\nONBUILD copy b /", "OnBuild", json!(["RUN  a", "copy b /"])),
        ("WORKDIR a\nWORKDIR b/../c", "WorkingDir", json!("/a/c")),
        ("WORKDIR /a/../b/", "WorkingDir", json!("/a/../b/")),
        ("WORKDIR /a\nWORKDIR $NONE", "WorkingDir", json!("/a")),
        ("WORKDIR /a\nWORKDIR ..", "WorkingDir", json!("/")),
    ] {
        assert_eq!(scratch(instructions)["config"][member], expected, "{instructions}");
    }
    assert_eq!(scratch("MAINTAINER a  b")["author"], "a  b");
}

#[test]
fn the_history_is_in_buildkits_words() {
    for (instructions, expected) in [
        ("COPY a b* /c/", "COPY a b* /c/ # buildkit"),
        (
            "COPY --chmod=600 --chown=1:2 --link [\"a b\", \"c\"]",
            "COPY --chown=1:2 --chmod=600 a b c # buildkit",
        ),
        ("COPY --parents --exclude=x a /", "COPY --parents a / # buildkit"),
        ("COPY <<x a /b/\nbody\nx", "COPY a <<x /b/ # buildkit"),
        ("ADD a /", "ADD a / # buildkit"),
        ("ARG A=b C D=e", "ARG A=b C D=e"),
        ("ENV A=b C='d e'", "ENV A=b C=d e"),
        ("ENV A b", "ENV A=b"),
        (
            "LABEL a=\"$PATH\"",
            "LABEL a=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ),
        ("CMD a \"b\"", r#"CMD ["/bin/sh" "-c" "a \"b\""]"#),
        ("CMD []", "CMD []"),
        ("ENTRYPOINT [\"a\", \"b c\"]", r#"ENTRYPOINT ["a" "b c"]"#),
        ("EXPOSE 80-81 9/udp 80", "EXPOSE map[80/tcp:{} 81/tcp:{} 9/udp:{}]"),
        ("HEALTHCHECK NONE", r#"HEALTHCHECK &{["NONE"] "0s" "0s" "0s" '\x00'}"#),
        (
            "HEALTHCHECK --interval=90s --timeout=1.5s --retries=3 CMD a",
            r#"HEALTHCHECK &{["CMD-SHELL" "a"] "1m30s" "1.5s" "0s" '\x03'}"#,
        ),
        ("MAINTAINER a", "MAINTAINER a"),
        ("SHELL [\"a\", \"b c\"]", "SHELL [a b c]"),
        ("STOPSIGNAL 9", "STOPSIGNAL 9"),
        ("USER 1:2", "USER 1:2"),
        ("VOLUME /b /a", "VOLUME [/b /a]"),
        ("WORKDIR a", "WORKDIR /a"),
    ] {
        assert_eq!(done(&scratch(instructions)), [expected], "{instructions}");
    }
    assert!(done(&scratch("ONBUILD RUN a")).is_empty());
}

#[test]
fn only_steps_with_layers_are_not_empty() {
    let config = scratch("COPY a /\nENV A=1\nCOPY b /");
    let entry =
        |created_by: &str| json!({"created": TIME, "created_by": created_by, "comment": COMMENT});
    let mut empty = entry("ENV A=1");
    empty["empty_layer"] = json!(true);
    let expected = json!([entry("COPY a / # buildkit"), empty, entry("COPY b / # buildkit")]);
    assert_eq!(config["history"], expected);
    let digest = Digest::of(b"copied").to_string();
    assert_eq!(config["rootfs"]["diff_ids"], json!([digest, digest]));
}

fn base() -> Value {
    json!({
        "architecture": "arm64", "variant": "v8", "os": "linux", "os.version": "1",
        "author": "someone", "created": "2001-01-01T00:00:00Z",
        "docker_version": "1.0", "container_config": {"Cmd": ["x"]}, "moby.buildkit.cache.v0": "x",
        "config": {
            "Hostname": "h", "Image": "sha256:0", "User": "u", "WorkingDir": "/w", "Env": ["A=base", "B"],
            "Cmd": ["base"], "Entrypoint": null, "Labels": null, "OnBuild": ["ENV T=$A", "LABEL t=1"],
            "ExposedPorts": {"1/tcp": {}}, "Volumes": null, "StopTimeout": 7, "Shell": null,
            "Healthcheck": {"Test": ["CMD", "h"], "Interval": 5},
        },
        "rootfs": {"type": "layers", "diff_ids": ["sha256:a", "sha256:b"]},
        "history": [
            {"created": "2001-01-01T00:00:00.5Z", "created_by": "/bin/sh -c one", "author": "x"},
            {"created_by": "nothing", "empty_layer": true},
        ],
    })
}

#[test]
fn a_base_is_kept_as_buildkit_keeps_it() {
    let config = json_of(&build(&base(), "FROM base\nENV C=$T\nLABEL x=y\n"));
    assert_eq!(
        config["config"],
        json!({
            "User": "u", "WorkingDir": "/w", "Cmd": ["base"], "StopTimeout": 7,
            "Env": ["A=base", "B", PATH, "T=base", "C=base"],
            "Labels": {"t": "1", "x": "y"}, "ExposedPorts": {"1/tcp": {}},
            "Healthcheck": {"Test": ["CMD", "h"], "Interval": 5},
        })
    );
    for (member, expected) in [
        ("created", json!(TIME)),
        ("author", json!("someone")),
        ("architecture", json!("arm64")),
        ("variant", json!("v8")),
        ("os.version", json!("1")),
        ("docker_version", Value::Null),
        ("container_config", Value::Null),
        ("moby.buildkit.cache.v0", Value::Null),
        ("rootfs", base()["rootfs"].clone()),
    ] {
        assert_eq!(config[member], expected, "{member}");
    }
    assert_eq!(config["history"][0], base()["history"][0]);
    assert_eq!(config["history"][1], base()["history"][1]);
    // The second layer was not in it.
    assert_eq!(config["history"][2]["comment"], "buildkit.exporter.image.v0");
    assert_eq!(done(&config)[3..], ["ENV T=base", "LABEL t=1", "ENV C=base", "LABEL x=y"]);
}

#[test]
fn a_history_that_names_too_many_layers_is_put_right() {
    let mut base = base();
    base["history"] = json!([{"created_by": "1"}, {"created_by": "2"}, {"created_by": "3"}]);
    let config = json_of(&build(&base, "FROM base\n"));
    let expected =
        json!([{"created_by": "1"}, {"created_by": "2"}, {"created_by": "3", "empty_layer": true}]);
    assert_eq!(config["history"].as_array().unwrap()[..3], expected.as_array().unwrap()[..]);
}

#[test]
fn an_entrypoint_forgets_a_command_of_the_base_alone() {
    for (text, expected) in [
        ("FROM base\nENTRYPOINT [\"e\"]\n", Value::Null),
        ("FROM base\nCMD [\"c\"]\nENTRYPOINT [\"e\"]\n", json!(["c"])),
        ("FROM base AS a\nCMD [\"c\"]\nFROM a\nENTRYPOINT [\"e\"]\n", Value::Null),
        ("FROM base AS a\nENTRYPOINT [\"e\"]\nFROM a\nCMD [\"c\"]\n", json!(["c"])),
    ] {
        assert_eq!(json_of(&build(&base(), text))["config"]["Cmd"], expected, "{text}");
    }
}

#[test]
fn triggers_run_once_and_are_not_inherited() {
    let text = "FROM scratch AS a\nONBUILD ENV T=$X\nENV X=1\nFROM a AS b\nENV Y=$T\nFROM b\n";
    let config = json_of(&build(&Value::Null, text));
    assert_eq!(config["config"]["Env"], json!([PATH, "X=1", "T=1", "Y=1"]));
    assert_eq!(config["config"]["OnBuild"], Value::Null);
}

#[test]
fn the_platform_is_the_builds() {
    let platform = |text: &str| text.parse::<Platform>().unwrap();
    let (config, _) = Config::of_base(base().to_string().as_bytes()).unwrap();
    for (built, architecture, variant, version) in [
        ("linux/arm64", json!("arm64"), Value::Null, json!("1")),
        ("linux/amd64", json!("amd64"), Value::Null, Value::Null),
        ("linux/arm/v6", json!("arm"), json!("v6"), Value::Null),
    ] {
        let mut config = config.clone();
        config.set_platform(&platform(built));
        let config = json_of(&config);
        assert_eq!(config["architecture"], architecture, "{built}");
        assert_eq!(config["variant"], variant, "{built}");
        assert_eq!(config["os.version"], version, "{built}");
    }
}

#[test]
fn labels_from_outside_win() {
    let mut config = build(&Value::Null, "FROM scratch\nLABEL a=1 b=2\n");
    config.set_labels(&BTreeMap::from([("b".to_owned(), "3".to_owned())]));
    assert_eq!(json_of(&config)["config"]["Labels"], json!({"a": "1", "b": "3"}));
    assert_eq!(done(&json_of(&config)), ["LABEL a=1 b=2"]);
}

#[test]
fn a_damaged_configuration_is_an_error() {
    for bytes in [&b""[..], b"[", b"[]", b"[1]", b"7", b"{\"config\": 1}", b"{\"history\": {}}"] {
        let error = Config::of_base(bytes).unwrap_err();
        assert_eq!(error.kind(), AssembleErrorKind::Image, "{error}");
    }
}

#[test]
fn what_programs_in_go_take_is_taken() {
    let base = r#"{"os":"linux","config":{"Labels":{"a":null,"b":"1"},"User":"x","User":"y",
        "ExposedPorts":{"80/tcp":null},"Volumes":{"/v":null},"Env":null},
        "rootfs":{"type":"layers","diff_ids":null},"author":"one","author":"two"}"#;
    let (config, _) = Config::of_base(base.as_bytes()).unwrap();
    let config = json_of(&config);
    assert_eq!(config["config"]["Labels"], json!({"a": "", "b": "1"}));
    assert_eq!(config["config"]["ExposedPorts"], json!({"80/tcp": {}}));
    assert_eq!(config["config"]["Volumes"], json!({"/v": {}}));
    assert_eq!((&config["config"]["User"], &config["author"]), (&json!("y"), &json!("two")));
}
