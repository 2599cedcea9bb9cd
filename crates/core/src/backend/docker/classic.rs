//! From the lines of a builder without BuildKit to build events. Podman's is one: its API is Docker's,
//! and its builder is Buildah.
//!
//! `[2/2] STEP 1/4: FROM image` begins a step, everything up to the next one is the step's output,
//! `--> Using cache …` says that the layer cache had it.

use std::collections::VecDeque;
use std::time::Instant;

use bollard::models::{BuildInfo, BuildInfoAux};
use dockit_registry::Reference;

use super::progress::says;
use crate::backend::{BuildEvent, BuildObserver};

/// Lines of a step's output that are kept for the message of a failure.
const TAIL: usize = 20;

/// Bytes of a line that are held back until its end comes.
const LINE_LIMIT: usize = 8 * 1024;

/// Follows one build.
pub(super) struct Classic<'a> {
    observer: &'a dyn BuildObserver,
    /// What has come of a line whose end has not.
    partial: String,
    step: Option<Step>,
    count: usize,
    /// Names that stages of this Dockerfile have.
    stages: Vec<String>,
    image_id: Option<String>,
    keyed_images: Vec<Reference>,
    unkeyed_image: Option<String>,
}

struct Step {
    id: String,
    name: String,
    start: Instant,
    cached: bool,
    tail: VecDeque<String>,
}

impl<'a> Classic<'a> {
    pub(super) fn new(observer: &'a dyn BuildObserver, keyed_images: Vec<Reference>) -> Self {
        Self {
            observer,
            partial: String::new(),
            step: None,
            count: 0,
            stages: Vec::new(),
            image_id: None,
            keyed_images,
            unkeyed_image: None,
        }
    }

    pub(super) fn take(&mut self, info: BuildInfo) {
        if let Some(BuildInfoAux::Default(image)) = info.aux {
            self.finish(None);
            self.image_id = image.id.or(self.image_id.take());
        }
        let Some(text) = info.stream else {
            return;
        };
        self.partial.push_str(&text);
        while let Some(end) = self.partial.find('\n') {
            let rest = self.partial.split_off(end + 1);
            let line = std::mem::replace(&mut self.partial, rest);
            self.line(line.trim_end_matches('\n'));
        }
        if self.partial.len() > LINE_LIMIT {
            let line = std::mem::take(&mut self.partial);
            self.line(&line);
        }
    }

    /// An image that the engine uses and that the key does not cover.
    pub(super) fn unkeyed_image(&self) -> Option<&str> {
        self.unkeyed_image.as_deref()
    }

    /// The image that the build made, once it is done.
    pub(super) fn image_id(&self) -> Option<String> {
        self.image_id.clone()
    }

    /// The step that failed, why, and the end of what it wrote.
    pub(super) fn failure(&mut self, error: &str) -> Option<String> {
        let mut text = error.trim().to_owned();
        if let Some(step) = &self.step {
            text = format!("{}: {}", step.name, reason(&text, &step.name));
            for line in &step.tail {
                text.push_str("\n    ");
                text.push_str(line);
            }
        }
        self.finish(Some(error.trim().to_owned()));
        Some(text)
    }

    fn line(&mut self, line: &str) {
        if let Some(name) = step_name(line) {
            self.finish(None);
            self.check(name);
            self.count += 1;
            let id = format!("step-{}", self.count);
            let name = line.to_owned();
            self.observer.event(BuildEvent::StepStarted { id: id.clone(), name: name.clone() });
            let (start, tail) = (Instant::now(), VecDeque::new());
            self.step = Some(Step { id, name, start, cached: false, tail });
            return;
        }
        if let Some(image) = line.strip_prefix("Trying to pull ") {
            self.used(image.trim_end_matches("...").trim());
        }
        let Some(step) = &mut self.step else {
            return;
        };
        if line.starts_with("--> Using cache ") {
            step.cached = true;
        } else if !line.starts_with("--> ") {
            step.tail.push_back(line.to_owned());
            if step.tail.len() > TAIL {
                step.tail.pop_front();
            }
            let bytes = format!("{line}\n").into_bytes();
            self.observer.event(BuildEvent::Output { id: step.id.clone(), bytes });
        }
    }

    /// Which images an instruction uses, as far as its text says so.
    fn check(&mut self, instruction: &str) {
        let mut words = instruction.split_whitespace();
        let Some(keyword) = words.next() else {
            return;
        };
        if keyword.eq_ignore_ascii_case("FROM") {
            let mut words = words.skip_while(|word| word.starts_with("--"));
            let image = words.next();
            if let Some(image) = image {
                self.used(image);
            }
            if words.next().is_some_and(|word| word.eq_ignore_ascii_case("AS")) {
                self.stages.extend(words.next().map(str::to_ascii_lowercase));
            }
        } else {
            let flags = words.take_while(|word| word.starts_with("--"));
            let images: Vec<String> = flags.filter_map(image_of_flag).collect();
            for image in images {
                self.used(&image);
            }
        }
    }

    fn used(&mut self, image: &str) {
        // A stage by its name or its number, or by the identifier of what it made.
        let is_stage = self.stages.iter().any(|stage| stage.eq_ignore_ascii_case(image))
            || image.bytes().all(|byte| byte.is_ascii_digit())
            || (image.len() == 64 && image.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if image == "scratch"
            || is_stage
            || self.keyed_images.iter().any(|keyed| says(image, keyed))
        {
            return;
        }
        self.unkeyed_image = Some(image.to_owned());
    }

    fn finish(&mut self, error: Option<String>) {
        if let Some(step) = self.step.take() {
            self.observer.event(BuildEvent::StepFinished {
                id: step.id,
                name: step.name,
                cached: step.cached,
                error,
                seconds: step.start.elapsed().as_secs_f64(),
            });
        }
    }
}

/// The instruction, if a line begins a step: `STEP 1/4: RUN x`, `[1/2] STEP 1/4: RUN x`.
fn step_name(line: &str) -> Option<&str> {
    let counts = |text: &str| {
        text.split_once('/').is_some_and(|(one, other)| {
            let is_number =
                |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            is_number(one) && is_number(other)
        })
    };
    let rest = match line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((stage, rest)) if counts(stage) => rest,
        _ => line,
    };
    let (count, instruction) = rest.strip_prefix("STEP ")?.split_once(": ")?;
    counts(count).then_some(instruction)
}

/// The image of `--from=IMAGE`, or of `--mount=…,from=IMAGE,…`.
fn image_of_flag(flag: &str) -> Option<String> {
    let unquoted = |text: &str| text.trim_matches(['"', '\'']).to_owned();
    if let Some(image) = flag.strip_prefix("--from=") {
        return Some(unquoted(image));
    }
    let mount = flag.strip_prefix("--mount=")?;
    mount
        .trim_matches(['"', '\''])
        .split(',')
        .find_map(|field| field.strip_prefix("from=").map(unquoted))
}

/// Why a step failed, without the step, which is named already.
fn reason<'a>(error: &'a str, step: &str) -> &'a str {
    let instruction = step_name(step).unwrap_or(step);
    error
        .strip_prefix("building at STEP ")
        .and_then(|rest| rest.split_once(&format!("{instruction}\": ")))
        .map_or(error, |(_, reason)| reason)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Kept(Mutex<Vec<String>>);

    impl BuildObserver for Kept {
        fn event(&self, event: BuildEvent) {
            let text = match event {
                BuildEvent::StepStarted { name, .. } => format!("start {name}"),
                BuildEvent::StepFinished { name, cached, error, .. } => {
                    format!("end {name} {cached} {error:?}")
                }
                BuildEvent::Output { id, bytes } => {
                    format!("{id} {}", String::from_utf8_lossy(&bytes).trim_end())
                }
                event @ (BuildEvent::CacheNotUsed { .. }
                | BuildEvent::LayersNotKept { .. }
                | BuildEvent::BuiltAgain { .. }) => {
                    panic!("{event:?}")
                }
            };
            self.0.lock().unwrap().push(text);
        }
    }

    fn stream(text: &str) -> BuildInfo {
        BuildInfo { stream: Some(text.to_owned()), ..BuildInfo::default() }
    }

    /// What Podman 4.3 wrote.
    const LINES: [&str; 8] = [
        "[1/2] STEP 1/2: FROM r.example/base:k1 AS one\n",
        "[1/2] STEP 2/2: RUN echo hello\n",
        "--> Using cache 339064c5e4425f38062ac7ac6b3a1736f8feb43791a6c9e012033a9db207efb9\n",
        "--> 339064c5e44\n",
        "[2/2] STEP 1/2: FROM 339064c5e4425f38062ac7ac6b3a1736f8feb43791a6c9e012033a9db207efb9\n",
        "[2/2] STEP 2/2: RUN --mount=from=one,target=/m cat /m/x\n",
        "he",
        "llo\n",
    ];

    #[test]
    fn lines_become_steps_with_their_output() {
        let kept = Kept::default();
        let mut classic = Classic::new(&kept, vec!["r.example/base:k1".parse().unwrap()]);
        for line in LINES {
            classic.take(stream(line));
        }
        assert_eq!(classic.unkeyed_image(), None);
        let error = "building at STEP \"RUN --mount=from=one,target=/m cat /m/x\": while running: exit status 1\n";
        assert_eq!(
            classic.failure(error).unwrap(),
            "[2/2] STEP 2/2: RUN --mount=from=one,target=/m cat /m/x: while running: exit status 1\n    hello"
        );
        let events = kept.0.into_inner().unwrap();
        assert_eq!(events[1], "end [1/2] STEP 1/2: FROM r.example/base:k1 AS one false None");
        assert_eq!(events[3], "end [1/2] STEP 2/2: RUN echo hello true None");
        assert_eq!(events[7], "step-4 hello");
        assert!(events[8].starts_with("end [2/2] STEP 2/2") && events[8].contains("exit status 1"));
        assert_eq!(events.len(), 9, "{events:?}");
    }

    #[test]
    fn an_image_outside_the_key_is_noticed() {
        let noticed = |line: &str| {
            let kept = Kept::default();
            let mut classic = Classic::new(&kept, vec!["r.example/base:k1".parse().unwrap()]);
            classic.take(stream("[1/2] STEP 1/1: FROM r.example/base:k1 AS one\n"));
            classic.take(stream(&format!("{line}\n")));
            classic.unkeyed_image().map(str::to_owned)
        };
        for (line, image) in [
            ("STEP 1/2: FROM alpine", "alpine"),
            ("[2/2] STEP 1/2: FROM --platform=linux/amd64 alpine AS x", "alpine"),
            ("STEP 2/2: COPY --from=alpine:3 /a /b", "alpine:3"),
            ("STEP 2/2: COPY --chown=1 --from=alpine /a /b", "alpine"),
            ("STEP 2/2: RUN --mount=type=bind,from=alpine,target=/x ls", "alpine"),
            (
                "Trying to pull docker.io/library/alpine:latest...",
                "docker.io/library/alpine:latest",
            ),
        ] {
            assert_eq!(noticed(line).as_deref(), Some(image), "{line}");
        }
        for line in [
            "STEP 2/2: COPY --from=one /a /b",
            "STEP 2/2: COPY --from=0 /a /b",
            "STEP 2/2: COPY --from=r.example/base:k1 /a /b",
            "STEP 1/2: FROM scratch",
            "STEP 1/2: FROM one AS two",
            "STEP 2/2: RUN echo --from=alpine",
            "Trying to pull r.example/base:k1...",
            "step 1: FROM alpine",
        ] {
            assert_eq!(noticed(line), None, "{line}");
        }
    }
}
