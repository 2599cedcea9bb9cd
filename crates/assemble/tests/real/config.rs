//! Configurations: those of the engine's BuildKit, and ours of the same steps.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::engine::{self, NamedImage, Request, SavedImage};
use crate::ours;

/// What both are given. `@base@` in the Dockerfile stands for the image of [`base`].
#[derive(Default)]
struct Case {
    dockerfile: String,
    args: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
}

impl Case {
    fn of(dockerfile: impl Into<String>) -> Self {
        Self { dockerfile: dockerfile.into(), ..Self::default() }
    }
}

/// An image with something of everything.
fn base() -> NamedImage {
    engine::load(
        json!({
            "architecture": "amd64", "os": "linux", "author": "someone",
            "created": "2001-01-01T00:00:00Z", "docker_version": "1.0",
            "container_config": {"Cmd": ["x"]},
            "config": {
                "Hostname": "h", "Image": "sha256:0", "User": "7:8", "WorkingDir": "/w",
                "Env": ["A=base", "B=b c"], "Cmd": ["base", "command"], "Entrypoint": ["entry"],
                "Labels": {"l": "base"}, "OnBuild": ["ENV T=$A", "LABEL t=\"$B\"", "WORKDIR sub"],
                "ExposedPorts": {"1/tcp": {}}, "Volumes": {"/v": {}}, "StopSignal": "SIGINT",
                "Shell": ["/sh", "-x"], "Healthcheck": {"Test": ["CMD", "h"], "Interval": 5_000_000},
            },
            "history": [
                {"created": "2001-01-01T00:00:00.5Z", "created_by": "/bin/sh -c one", "author": "x"},
                {"created": "2001-01-01T00:00:00.5Z", "created_by": "two", "empty_layer": true},
            ],
        }),
        vec![layer()],
    )
}

/// An archive with a file.
fn layer() -> Vec<u8> {
    let mut layer = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o644);
    layer.append_data(&mut header, "file", &b"x"[..]).unwrap();
    layer.into_inner().unwrap()
}

/// Without what differs by design (docs/assemble.md).
fn comparable(mut config: Value) -> Value {
    let named = config["history"].as_array().into_iter().flatten();
    let named = named.filter(|entry| entry["empty_layer"] != true).count();
    let layers = config["rootfs"]["diff_ids"].as_array().map_or(0, Vec::len);
    assert_eq!(layers, named, "each layer is in the history: {config:#}");
    config["rootfs"]["diff_ids"] = Value::Null;
    if let Some(entries) = config["history"].as_array_mut() {
        for entry in entries {
            let entry = entry.as_object_mut().unwrap();
            entry.remove("created");
            let text = entry.get("created_by").and_then(Value::as_str).unwrap_or_default();
            if let Some(arguments) = text.strip_prefix("ARG ") {
                // The engine notes defaults as they are written, newer ones and we the values.
                let names = arguments.split(['=', ' ']).next().unwrap_or_default();
                let text = format!("ARG {names}");
                entry.insert("created_by".to_owned(), text.into());
            } else if let Some(("COPY", flags)) = text.split_once(" --chown=") {
                // An old engine does not note it.
                let (_, rest) = flags.split_once(' ').unwrap_or_default();
                let text = format!("COPY {rest}");
                entry.insert("created_by".to_owned(), text.into());
            } else if text.starts_with("WORKDIR ") {
                // Whether the directory was there already is for the tests of trees.
                entry.remove("empty_layer");
            }
        }
    }
    without_nothing(config)
}

/// `null` and what is empty say as much as nothing.
fn without_nothing(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, value)| (name, without_nothing(value)));
            Value::Object(members.filter(|(_, value)| !value.is_null()).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nothing).collect()),
        other => other,
    }
}

/// Whether there is an image at all, for both; or what differs, in words.
fn compare(case: &Case, base: &NamedImage, context: &std::path::Path) -> Result<bool, String> {
    let mut dockerfile = String::new();
    for line in case.dockerfile.replace("@base@", &base.name).lines() {
        dockerfile.extend([line, "\n"]);
        if line.starts_with("FROM scratch") {
            // An engine cannot save an image without layers.
            dockerfile.push_str("COPY f /always\n");
        }
    }
    let request = Request {
        dockerfile: &dockerfile,
        context: Some(context),
        args: case.args.clone(),
        labels: case.labels.clone(),
        ..Request::default()
    };
    match (engine::build(&request), ours::build(&request, &base.saved)) {
        (Err(_), Err(_)) => Ok(false),
        (Ok(engine), Ok(ours)) => {
            let read =
                |image: SavedImage| -> Value { serde_json::from_slice(&image.config).unwrap() };
            let (engine, mut ours) = (read(engine), read(ours));
            ours["created"] = engine["created"].clone();
            let (engine, ours) = (comparable(engine), comparable(ours));
            if engine == ours {
                return Ok(true);
            }
            Err(format!("{}\nengine: {engine:#}\nours: {ours:#}", case.dockerfile))
        }
        (Ok(_), Err(error)) => Err(format!("{}\nours alone: {error}", case.dockerfile)),
        (Err(error), Ok(_)) => Err(format!("{}\nengine alone: {error}", case.dockerfile)),
    }
}

/// How many of them were built.
fn agree(cases: &[Case]) -> usize {
    let base = base();
    let context = tempfile::tempdir().unwrap();
    for name in ["f", "g"] {
        std::fs::write(context.path().join(name), name).unwrap();
    }
    let mut built = 0;
    let mut differences = Vec::new();
    for case in cases {
        match compare(case, &base, context.path()) {
            Ok(image) => built += usize::from(image),
            Err(difference) => differences.push(difference),
        }
    }
    let (count, all) = (differences.len(), cases.len());
    assert_eq!(count, 0, "{count} of {all} differ:\n{}", differences.join("\n\n"));
    built
}

/// Instructions that stand alone, on nothing and on a base.
const INSTRUCTIONS: &[&str] = &[
    "ENV A=1 B=$A C=\"$A x\"",
    "ENV A 1  2",
    "ENV PATH=/x:$PATH",
    "ENV \"a b\"=c d\\ e='f g'",
    "LABEL l=1 \"a b\"='c\"d' e=${A:-none}",
    "LABEL x=\"<&>\\\\\"",
    "EXPOSE 80 443/udp 80",
    "EXPOSE 8000-8002 1/SCTP",
    "ENV P=\"1 2\"\nEXPOSE $P",
    "EXPOSE 1:2 127.0.0.1:3:4",
    "EXPOSE x",
    "EXPOSE 80/icmp",
    "EXPOSE 3-2",
    "EXPOSE 65536",
    "VOLUME /a /b\nVOLUME [\"/c d\"]",
    "VOLUME $A/x",
    "VOLUME $NONE",
    "USER x:y",
    "USER $A",
    "WORKDIR rel\nWORKDIR ../other",
    "WORKDIR /abs/../b/",
    "WORKDIR $NONE",
    "WORKDIR /$A\nCOPY f .",
    "STOPSIGNAL SIGKILL",
    "STOPSIGNAL rtmin+3",
    "STOPSIGNAL 77",
    "STOPSIGNAL 0",
    "STOPSIGNAL SIGNOTHING",
    "CMD a b",
    "CMD [\"a\", \"b c\", \"ü\\n\\u0001\"]",
    "CMD []",
    "CMD $A",
    "CMD [a",
    "ENTRYPOINT x \"y\"",
    "ENTRYPOINT [\"e\"]",
    "ENTRYPOINT []",
    "CMD [\"c\"]\nENTRYPOINT [\"e\"]",
    "ENTRYPOINT [\"e\"]\nCMD [\"c\"]",
    "SHELL [\"/x\", \"-y\"]\nCMD a\nENTRYPOINT b",
    "HEALTHCHECK NONE",
    "HEALTHCHECK CMD curl -f http://x || exit 1",
    "HEALTHCHECK --interval=90s --timeout=1.5s --start-period=1h --retries=3 CMD [\"x\", \"y\"]",
    "HEALTHCHECK --interval=1500us --retries=100 CMD x",
    "HEALTHCHECK --interval=1us CMD x",
    "HEALTHCHECK --interval=3 CMD x",
    "HEALTHCHECK --retries=-1 CMD x",
    "MAINTAINER who  <who@example.com>",
    "ONBUILD  RUN  x  y\nONBUILD copy a /",
    "COPY f g /d/\nCOPY [\"f\", \"/a b\"]\nADD f /e",
    "COPY --chown=1:2 f /d/",
    "COPY f /$A",
    "COPY f* nothing* /d/",
    "ARG X\nARG Y=1\nENV Z=$X$Y",
    "ARG A\nENV Z=$A",
    "ARG A=arg\nENV Z=$A\nENV A=env\nARG A=again\nLABEL a=$A",
];

#[test]
fn instructions_set_what_the_engine_has_them_set() {
    let mut cases: Vec<Case> = ["scratch", "@base@"]
        .iter()
        .flat_map(|from| {
            INSTRUCTIONS.iter().map(move |text| Case::of(format!("FROM {from}\n{text}\n")))
        })
        .collect();
    cases.push(Case::of("FROM @base@"));
    assert!(agree(&cases) > cases.len() * 3 / 4);
}

#[test]
fn stages_hand_on_what_the_engine_has_them_hand_on() {
    let args = BTreeMap::from([
        ("X".to_owned(), "given".to_owned()),
        ("A".to_owned(), "given A".to_owned()),
    ]);
    let mut cases: Vec<Case> = [
        "FROM scratch AS a\nENV A=1\nCMD [\"c\"]\nFROM a\nENTRYPOINT [\"e\"]",
        "FROM scratch AS a\nONBUILD ENV T=$A\nONBUILD WORKDIR t\nENV A=1\nFROM a AS b\nENV B=$T\nFROM b",
        "FROM @base@ AS a\nFROM a\nENV Z=$A$T",
        "FROM @base@ AS a\nONBUILD LABEL again=1\nFROM a\nWORKDIR x",
        "FROM scratch AS a\nCOPY f /f\nFROM scratch\nCOPY --from=a /f /g\nCOPY --from=0 f .",
        "FROM scratch AS a\nARG X=1\nFROM a\nENV Y=$X",
        "ARG X=global\nFROM scratch\nARG X\nENV Y=$X",
        "ARG X=global\nARG Z=$X-z\nFROM scratch\nARG Z\nLABEL z=$Z x=$X",
        "FROM scratch AS a\nWORKDIR /a\nUSER 3\nSHELL [\"s\"]\nFROM a\nWORKDIR b\nCMD c",
        "FROM scratch AS a\nENV PATH=/only\nFROM a\nENV Y=$PATH",
    ]
    .iter()
    .flat_map(|text| {
        let given = Case { args: args.clone(), ..Case::of(*text) };
        [Case::of(*text), given]
    })
    .collect();
    let labels = BTreeMap::from([("l".to_owned(), "outside".to_owned())]);
    cases.push(Case { labels: labels.clone(), ..Case::of("FROM scratch\nLABEL l=inside m=1") });
    cases.push(Case { labels, ..Case::of("FROM scratch\nENV A=1") });
    assert_eq!(agree(&cases), cases.len());
}

/// Numbers that look random and follow from a seed (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    fn one<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.below(texts.len())]
    }

    /// A word with all that may be in one.
    fn word(&mut self) -> String {
        const PIECES: &[&str] = &[
            "a",
            "B",
            "/x",
            "1",
            "$A",
            "${B}",
            "${A:-d}",
            "${N:-$B}",
            "${A:+y}",
            "${N:-'q'}",
            "'s p'",
            "\"d $A\"",
            "\\ ",
            "\\$A",
            "ü",
            "<",
            ".",
            "..",
            "/",
        ];
        (0..=self.below(3)).map(|_| self.one(PIECES)).collect()
    }

    fn instruction(&mut self) -> String {
        let (name, word, other) = (self.one(&["A", "B", "C", "N"]), self.word(), self.word());
        match self.below(20) {
            0..=3 => format!("ENV {name}={word} D={other}"),
            4 => format!("ENV {name} {word}  {other}"),
            5..=6 => format!("LABEL {name}={word} {other}=x"),
            7 => format!("ARG {name}={word}"),
            8 => format!("ARG {name}"),
            9..=10 => format!("WORKDIR {word}"),
            11 => format!("USER 1${{{name}:+2}}:{}", self.below(9)),
            12 => format!("VOLUME {word} {other}"),
            13 => format!("CMD {word} {other}"),
            14 => format!("ENTRYPOINT [\"{name}\", \"x\"]"),
            15 => format!("SHELL [\"{name}\", \"-c\"]"),
            16 => format!("HEALTHCHECK --interval={}s CMD {word}", self.below(100_000)),
            17 => format!("EXPOSE {}-{}", self.below(30), 20 + self.below(30)),
            18 => format!("ONBUILD ENV O={word}"),
            _ => format!("COPY f /d/{name}"),
        }
    }

    fn case(&mut self) -> Case {
        let mut text = format!("FROM {} AS s0\n", self.one(&["scratch", "@base@"]));
        for _ in 0..3 + self.below(6) {
            text.extend([&*self.instruction(), "\n"]);
        }
        if self.below(3) == 0 {
            text.push_str("FROM s0\n");
            for _ in 0..self.below(4) {
                text.extend([&*self.instruction(), "\n"]);
            }
        }
        let mut case = Case::of(text);
        if self.below(3) == 0 {
            case.args.insert("A".to_owned(), "given".to_owned());
        }
        case
    }
}

#[test]
fn made_up_dockerfiles_set_what_the_engine_has_them_set() {
    #[expect(clippy::disallowed_methods, reason = "a person may want other ones")]
    let seed = std::env::var("DOCKIT_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut random = Random(seed.unwrap_or(0x9e37_79b9_7f4a_7c15));
    let cases: Vec<Case> = (0..60).map(|_| random.case()).collect();
    let built = agree(&cases);
    assert!(built > cases.len() / 2, "only {built} were built");
}
