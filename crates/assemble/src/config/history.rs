//! What the history says of a step, in the words of BuildKit's frontend.

use dockit_hashing::dockerfile::{CopySource, CopyStep, StepKind};

use super::document::HealthcheckDocument;
use super::{Config, go};

/// The entry's `created_by`; none for what leaves no entry. `config` is as the step left it.
pub(super) fn wording(kind: &StepKind, config: &Config) -> Option<String> {
    let execution = &config.document.config;
    Some(match kind {
        StepKind::Add(step) => copying("ADD", step),
        StepKind::Copy(step) => copying("COPY", step),
        StepKind::Run(text) => format!("RUN {text} # buildkit"),
        StepKind::Arg(arguments) => {
            let texts = arguments.iter().map(|(name, value)| match value {
                Some(value) => format!(" {name}={value}"),
                None => format!(" {name}"),
            });
            format!("ARG{}", texts.collect::<String>())
        }
        StepKind::Env(pairs) => format!("ENV{}", pair_list(pairs)),
        StepKind::Label(pairs) => format!("LABEL{}", pair_list(pairs)),
        StepKind::Cmd(command) => format!("CMD {}", go::quote_all(&config.with_shell(command))),
        StepKind::Entrypoint(_) => format!("ENTRYPOINT {}", go::quote_all(&execution.entrypoint)),
        StepKind::Expose(ports) => {
            let mut ports: Vec<String> = ports.iter().map(|port| format!("{port}:{{}}")).collect();
            ports.sort();
            ports.dedup();
            format!("EXPOSE map[{}]", ports.join(" "))
        }
        StepKind::Healthcheck(_) => {
            format!("HEALTHCHECK &{}", healthcheck(execution.healthcheck.as_ref()?))
        }
        StepKind::Maintainer(author) => format!("MAINTAINER {author}"),
        StepKind::Shell(shell) => format!("SHELL [{}]", shell.join(" ")),
        StepKind::StopSignal(signal) => format!("STOPSIGNAL {signal}"),
        StepKind::User(user) => format!("USER {user}"),
        StepKind::Volume(volumes) => format!("VOLUME [{}]", volumes.join(" ")),
        StepKind::Workdir(_) => format!("WORKDIR {}", config.workdir()),
        // BuildKit notes no ONBUILD.
        _ => return None,
    })
}

fn pair_list(pairs: &[(String, String)]) -> String {
    pairs.iter().map(|(name, value)| format!(" {name}={value}")).collect()
}

fn copying(keyword: &str, step: &CopyStep) -> String {
    let mut text = keyword.to_owned();
    if step.parents {
        text.push_str(" --parents");
    }
    for (flag, value) in [("chown", &step.chown), ("chmod", &step.chmod)] {
        if let Some(value) = value {
            text.push_str(&format!(" --{flag}={value}"));
        }
    }
    for source in &step.sources {
        match source {
            CopySource::Path(path) => text.extend([" ", path]),
            CopySource::Heredoc { name, .. } => text.extend([" <<", name]),
        }
    }
    text.extend([" ", &step.destination, " # buildkit"]);
    text
}

/// Engines that know no start interval do not mention it; here it is mentioned where it is set.
fn healthcheck(healthcheck: &HealthcheckDocument) -> String {
    let mut durations = vec![healthcheck.interval, healthcheck.timeout, healthcheck.start_period];
    durations.extend(Some(healthcheck.start_interval).filter(|interval| *interval != 0));
    let durations: Vec<String> =
        durations.into_iter().map(|value| go::quote(&go::duration(value))).collect();
    let retries = go::quote_rune(healthcheck.retries);
    format!("{{{} {} {retries}}}", go::quote_all(&healthcheck.test), durations.join(" "))
}
