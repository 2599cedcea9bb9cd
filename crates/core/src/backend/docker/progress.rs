//! From BuildKit's status messages to build events.

use std::collections::{HashMap, VecDeque};

use dockit_buildkit::{StatusResponse, Vertex};
use dockit_registry::Reference;

use crate::backend::{BuildEvent, BuildObserver, BuildRequest};
use crate::masking::{MaskedStream, Masks};

/// Bytes of a step's output that are kept for the message of a failure.
const TAIL: usize = 8 * 1024;

/// Follows one build.
pub(in crate::backend) struct Progress<'a> {
    observer: &'a dyn BuildObserver,
    /// What the build can print of its secrets.
    masks: Masks,
    steps: HashMap<String, State>,
    tails: HashMap<String, Tail>,
    failure: Option<String>,
    is_of_a_command: bool,
    keyed_images: Vec<Reference>,
    unkeyed_image: Option<String>,
}

/// The end of what a step wrote, masked: of a secret that is cut off, or in pieces, nobody knows any more
/// what to mask.
struct Tail {
    masked: MaskedStream,
    bytes: VecDeque<u8>,
    /// Whether there was more before it.
    cut: bool,
}

impl Tail {
    fn new(masks: &Masks) -> Self {
        Self { masked: masks.stream(), bytes: VecDeque::new(), cut: false }
    }

    fn push(&mut self, bytes: &[u8]) {
        let masked = self.masked.push(bytes);
        self.keep(&masked);
    }

    fn keep(&mut self, masked: &[u8]) {
        self.bytes.extend(masked);
        let excess = self.bytes.len().saturating_sub(TAIL);
        self.cut |= excess > 0;
        self.bytes.drain(..excess);
    }

    /// Its lines. One that was cut is not among them.
    fn into_text(mut self) -> String {
        let rest = self.masked.finish();
        self.keep(&rest);
        let bytes: Vec<u8> = self.bytes.into();
        let start = match bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            _ if !self.cut => 0,
            Some(end) => end + 1,
            None => bytes.len(),
        };
        String::from_utf8_lossy(&bytes[start..]).into_owned()
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct State {
    started: bool,
    finished: bool,
}

impl<'a> Progress<'a> {
    pub(in crate::backend) fn of(request: &BuildRequest, observer: &'a dyn BuildObserver) -> Self {
        let masks = Masks::new(request.secrets.secrets.values());
        Self::new(observer, request.keyed_images.clone(), masks)
    }

    fn new(observer: &'a dyn BuildObserver, keyed_images: Vec<Reference>, masks: Masks) -> Self {
        Self {
            observer,
            masks,
            steps: HashMap::new(),
            tails: HashMap::new(),
            failure: None,
            is_of_a_command: false,
            keyed_images,
            unkeyed_image: None,
        }
    }

    pub(in crate::backend) fn take(&mut self, status: StatusResponse) {
        for log in status.logs {
            self.remember(&log.vertex, &log.msg);
            self.observer.event(BuildEvent::Output { id: log.vertex, bytes: log.msg });
        }
        for vertex in status.vertexes {
            self.vertex(vertex);
        }
    }

    /// An image that the engine looked at and that the key does not cover.
    pub(in crate::backend) fn unkeyed_image(&self) -> Option<&str> {
        self.unkeyed_image.as_deref()
    }

    /// The step that failed, why, and the end of what it wrote.
    pub(in crate::backend) fn failure(&self) -> Option<String> {
        self.failure.clone()
    }

    /// Whether that step is a command which ran; `error` is the engine's last word.
    pub(in crate::backend) fn is_of_a_command(&self, error: &str) -> bool {
        self.is_of_a_command || error.contains(EXIT_CODE)
    }

    fn remember(&mut self, id: &str, bytes: &[u8]) {
        if !self.tails.contains_key(id) {
            self.tails.insert(id.to_owned(), Tail::new(&self.masks));
        }
        if let Some(tail) = self.tails.get_mut(id) {
            tail.push(bytes);
        }
    }

    fn vertex(&mut self, vertex: Vertex) {
        if let Some(image) = used_image(&vertex.name)
            && !self.keyed_images.iter().any(|keyed| says(image, keyed))
        {
            self.unkeyed_image = Some(image.to_owned());
        }
        let state = self.steps.entry(vertex.digest.clone()).or_default();
        // A step that the layer cache has is never started.
        if vertex.started.is_some() && !state.started {
            state.started = true;
            self.observer.event(BuildEvent::StepStarted {
                id: vertex.digest.clone(),
                name: vertex.name.clone(),
            });
        }
        let ended = vertex.completed.is_some() || !vertex.error.is_empty();
        if !ended || state.finished {
            return;
        }
        state.finished = true;
        let tail = self.tails.remove(&vertex.digest);
        let error = (!vertex.error.is_empty()).then(|| vertex.error.clone());
        // Steps that another step's failure stopped say "canceled"; the first failure is the cause.
        if let Some(error) = &error
            && self.failure.is_none()
            && !error.contains("context canceled")
            && !is_of_the_cache(&vertex.name)
        {
            self.failure = Some(failure_text(&vertex.name, error, tail));
            self.is_of_a_command = error.contains(EXIT_CODE);
        }
        let error = match error {
            Some(reason) if is_cache_import(&vertex.name) => {
                let source = vertex.name.trim_start_matches(CACHE_IMPORT).to_owned();
                self.observer.event(BuildEvent::CacheNotUsed { source, reason });
                None
            }
            Some(reason) if is_cache_export(&vertex.name) => {
                self.observer.event(BuildEvent::LayersNotKept { reason });
                None
            }
            error => error,
        };
        self.observer.event(BuildEvent::StepFinished {
            seconds: seconds_between(&vertex),
            id: vertex.digest,
            name: vertex.name,
            cached: vertex.cached,
            error,
        });
    }
}

/// The image that a step uses, or asks a registry about, as BuildKit words it.
fn used_image(step: &str) -> Option<&str> {
    // In front of the first there can be a platform: `[linux/amd64 internal] …`.
    let asked = ["internal] load metadata for ", "resolve image config for "];
    let name = match asked.iter().find_map(|words| step.split_once(words)) {
        Some((_, name)) => name,
        // `FROM image`, or with a stage and a count: `[build 1/5] FROM image`.
        None => match step.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
            Some((_, instruction)) => instruction.strip_prefix("FROM ")?,
            None => step.strip_prefix("FROM ")?,
        },
    };
    Some(name.strip_prefix("docker-image://").unwrap_or(name).trim())
}

/// What BuildKit says before the exit code of a command.
const EXIT_CODE: &str = "exit code: ";

/// How a step begins that only reads which layers another image has. Where it fails, the build goes on.
const CACHE_IMPORT: &str = "importing cache manifest from ";

fn is_cache_import(step: &str) -> bool {
    step.starts_with(CACHE_IMPORT)
}

/// How a step begins that keeps layers for later builds. It is asked for so that no build fails on it.
const CACHE_EXPORT: &str = "exporting cache to ";

fn is_cache_export(step: &str) -> bool {
    step.starts_with(CACHE_EXPORT)
}

fn is_of_the_cache(step: &str) -> bool {
    is_cache_import(step) || is_cache_export(step)
}

/// Whether a name is this image; engines add the digest that a tag stands for.
pub(super) fn says(name: &str, keyed: &Reference) -> bool {
    name.parse::<Reference>().is_ok_and(|name| {
        name.repository() == keyed.repository()
            && (keyed.tag().is_none() || name.tag() == keyed.tag())
            && (keyed.digest().is_none() || name.digest() == keyed.digest())
    })
}

fn failure_text(name: &str, error: &str, tail: Option<Tail>) -> String {
    // The engine repeats the whole command before its exit code; the step's name shows it already.
    let reason = error.rfind(EXIT_CODE).map_or(error, |start| &error[start..]);
    let mut text = format!("{name}: {reason}");
    let tail = tail.map(Tail::into_text).unwrap_or_default();
    let lines: Vec<&str> = tail.lines().collect();
    for line in &lines[lines.len().saturating_sub(20)..] {
        text.push_str("\n    ");
        text.push_str(line);
    }
    text
}

fn seconds_between(vertex: &Vertex) -> f64 {
    match (&vertex.started, &vertex.completed) {
        (Some(start), Some(end)) => {
            let seconds = (end.seconds - start.seconds) as f64;
            seconds + f64::from(end.nanos - start.nanos) / 1e9
        }
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::SecretValue;

    struct Ignore;

    impl BuildObserver for Ignore {
        fn event(&self, _: BuildEvent) {}
    }

    fn seen(steps: &[&str]) -> Option<String> {
        let keyed = "r.example/base:k1".parse().unwrap();
        let mut progress = Progress::new(&Ignore, vec![keyed], Masks::default());
        let vertexes = steps
            .iter()
            .map(|name| Vertex { name: (*name).to_owned(), ..Vertex::default() })
            .collect();
        let status = StatusResponse { vertexes, ..StatusResponse::default() };
        progress.take(status);
        progress.unkeyed_image().map(str::to_owned)
    }

    #[test]
    fn an_image_outside_the_key_is_noticed_when_the_engine_looks_at_it() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for keyed in [
            "[internal] load metadata for r.example/base:k1",
            "[1/2] FROM r.example/base:k1",
            &format!("[build 1/2] FROM r.example/base:k1@{digest}"),
            "FROM r.example/base:k1",
            "[2/2] RUN echo FROM alpine",
            "[internal] load remote build context",
            "copy /context /",
        ] {
            assert_eq!(seen(&[keyed]), None, "{keyed}");
        }
        for step in [
            "[internal] load metadata for docker.io/library/alpine:3",
            "[internal] load metadata for r.example/base:other",
            "[linux/arm64 internal] load metadata for r.example/base:other",
            "resolve image config for docker.io/docker/dockerfile:1",
            "resolve image config for docker-image://docker.io/docker/dockerfile:1",
            "[internal] load metadata for not a reference",
            "FROM r.example/base:other",
            "[stage-1 1/2] FROM docker.io/library/alpine",
        ] {
            assert!(seen(&[step]).is_some(), "{step}");
        }
    }

    #[test]
    fn a_commands_own_failure_is_told_from_others() {
        for (error, of_a_command) in [
            ("executor failed running [/bin/sh -c x]: exit code: 7", true),
            ("process \"/bin/sh -c x\" did not complete successfully: exit code: 1", true),
            ("failed to copy: httpReadSeeker: failed open: 404 Not Found", false),
            ("failed to compute cache key: not found", false),
        ] {
            let mut progress = Progress::new(&Ignore, Vec::new(), Masks::default());
            progress.vertex(Vertex { error: error.to_owned(), ..Vertex::default() });
            assert!(progress.failure().is_some());
            assert_eq!(progress.is_of_a_command(""), of_a_command, "{error}");
            let untold = Progress::new(&Ignore, Vec::new(), Masks::default());
            assert_eq!(untold.is_of_a_command(error), of_a_command, "{error}");
        }
    }

    #[test]
    fn a_failure_shows_the_step_its_exit_code_and_the_end_of_its_output() {
        let output: Vec<u8> =
            (0..40).flat_map(|line| format!("line {line}\n").into_bytes()).collect();
        let error = "executor failed running [/bin/sh -c x]: exit code: 7";
        let mut tail = Tail::new(&Masks::default());
        tail.push(&output);
        let text = failure_text("[2/2] RUN x", error, Some(tail));
        assert!(text.starts_with("[2/2] RUN x: exit code: 7\n    line 20\n"), "{text}");
        assert!(text.ends_with("\n    line 39"), "{text}");
    }

    #[test]
    fn a_failure_shows_nothing_of_a_secret_with_short_lines() {
        let masks = Masks::new(&[SecretValue::new("deploy\nhunter2\n")]);
        let shown = |pieces: &[&[u8]]| {
            let mut tail = Tail::new(&masks);
            pieces.iter().for_each(|piece| tail.push(piece));
            failure_text("RUN x", "exit code: 1", Some(tail))
        };
        let text = shown(&[b"user: dep", b"loy\nhunt", b"er2\nend"]);
        assert_eq!(text, "RUN x: exit code: 1\n    user: ***end");
        assert_eq!(shown(&[b"deploy\nhunter2"]), "RUN x: exit code: 1\n    ***");
        let after = vec![b'x'; TAIL - 10];
        let text = shown(&[b"deploy\nhunter2\n", &after]);
        assert!(!text.contains("hunter2"), "the tail begins within the secret");
        let lines = "\nline".repeat(20);
        let text = shown(&[b"deploy\nhunter2", &lines.as_bytes()[5..]]);
        assert!(!text.contains("hunter2"), "the last lines begin within the secret");
    }

    #[test]
    fn of_long_output_no_line_is_shown_in_part() {
        let mut progress = Progress::new(&Ignore, Vec::new(), Masks::default());
        progress.remember("id", b"first SECRET\n");
        progress.remember("id", &[b'x'; TAIL]);
        assert_eq!(progress.tails.remove("id").unwrap().into_text(), "");
        progress.remember("id", b"first SECRET\n");
        progress.remember("id", &[b'x'; TAIL - 10]);
        progress.remember("id", b"\nlast");
        let expected = format!("{}\nlast", "x".repeat(TAIL - 10));
        assert_eq!(progress.tails.remove("id").unwrap().into_text(), expected);
    }
}
