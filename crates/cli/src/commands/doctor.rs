//! `dockit doctor`

use std::collections::BTreeSet;

use clap::Args;
use dockit_core::backend::{BuildKitFacts, DockerEngine, EngineFacts, EngineKind, RemoteBuildKit};
use dockit_core::doctor::{self, Examined, Instruments, Origin, Rights, Subjects};
use dockit_core::{ImageGraph, Project};
use dockit_registry::{Client, ErrorKind, ProviderKind, RegistryHost, Repository};
use serde::Serialize;

use super::login::place;
use super::{Format, GlobalArgs};
use crate::backends::{AnyBackend, Backends, is_optional};
use crate::diagnostics::{Exit, Failure};
use crate::ui::{self, output};
use crate::{rights, session};

/// Arguments of `dockit doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Registries; without any, those of the project and of the images that it builds on
    #[arg(value_name = "HOST")]
    hosts: Vec<RegistryHost>,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Serialize)]
struct Check {
    subject: String,
    status: Status,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(skip)]
    exit: Exit,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Warning,
    Failed,
}

impl Check {
    fn ok(subject: impl ToString, message: impl Into<String>) -> Self {
        let (subject, message) = (subject.to_string(), message.into());
        Self { subject, status: Status::Ok, message, hint: None, exit: Exit::Done }
    }

    fn warning(subject: impl ToString, message: impl Into<String>) -> Self {
        Self { status: Status::Warning, ..Self::ok(subject, message) }
    }

    fn failed(subject: impl ToString, exit: Exit, message: impl Into<String>) -> Self {
        Self { status: Status::Failed, exit, ..Self::ok(subject, message) }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

pub(super) async fn run(global: &GlobalArgs, args: &DoctorArgs) -> Result<Exit, Failure> {
    session::require_network(global, "doctor")?;
    let mut checks = Vec::new();
    let mut texts: Vec<String> = args.hosts.iter().map(|host| format!("{host}/")).collect();
    if texts.is_empty() {
        // The project is what is meant.
        texts.push(String::new());
    }
    let project = match session::project_for(global, &texts) {
        Ok(project) => project,
        // Whatever else works is worth knowing.
        Err(failure) => {
            checks.push(Check::failed("dockit.toml", Exit::Usage, failure.message()));
            None
        }
    };
    let (subjects, wants_engine) = subjects(project.as_ref(), args, &mut checks);
    let settings = session::settings(project.as_ref(), global, args.hosts.is_empty());
    let client = session::registry(settings)?;
    engines(project.as_ref(), &client, wants_engine, &mut checks).await;
    let config = session::docker_config();
    let places = session::places();
    let instruments = Instruments { client: &client, config: &config, places: &places };
    for examined in doctor::examine(&instruments, &subjects).await {
        let pushes = subjects.pushed.iter().any(|repository| *repository.host() == examined.host);
        registry(&client, &examined, !pushes, &mut checks);
    }
    let exit = exit(&checks);
    match global.format {
        Format::Json => output::json(&Document { schema: "dockit.doctor/1", checks })?,
        Format::Text => text(&checks)?,
    }
    Ok(exit)
}

/// What is to be examined, and whether the project has anything that only an engine does; what keeps that
/// from being known is told.
fn subjects(
    project: Option<&Project>,
    args: &DoctorArgs,
    checks: &mut Vec<Check>,
) -> (Subjects, bool) {
    let of_project = project.map(ImageGraph::new);
    let mut wants_engine = false;
    let mut subjects = match of_project {
        Some(Ok(graph)) => {
            wants_engine = doctor::wants_engine(&graph);
            Subjects::of(&graph)
        }
        Some(Err(problems)) => {
            checks.push(Check::failed("Dockerfiles", Exit::Usage, problems.to_string()));
            Subjects::default()
        }
        None => Subjects::default(),
    };
    if !args.hosts.is_empty() {
        let named: BTreeSet<RegistryHost> = args.hosts.iter().cloned().collect();
        subjects.pushed.retain(|repository| named.contains(repository.host()));
        subjects.read.retain(|reference| named.contains(reference.repository().host()));
        subjects.hosts = named;
    }
    (subjects, wants_engine)
}

/// This machine's engine, and the build backends that are configured.
async fn engines(
    project: Option<&Project>,
    client: &Client,
    wants_engine: bool,
    checks: &mut Vec<Check>,
) {
    let this = match session::engine_to_examine() {
        Ok(engine) => engine,
        Err(failure) => return checks.push(engine_failure("engine", &failure)),
    };
    let backends = match project.map(|project| Backends::of(project, &[], client)).transpose() {
        Ok(backends) => backends,
        Err(failure) => {
            checks.push(engine_failure("backends", &failure));
            None
        }
    };
    let mut others: Vec<(&str, AnyBackend<'_>)> =
        backends.iter().flat_map(|backends| backends.each(&this)).collect();
    let is_this = |what: &AnyBackend<'_>| matches!(what, AnyBackend::Engine(engine) if std::ptr::eq(*engine, &this));
    let assembles = others.iter().any(|(_, what)| matches!(what, AnyBackend::Assemble(_)));
    // It takes what is loaded and runs what `dockit test` runs, whether it builds or not.
    let builds = others.is_empty() || others.iter().any(|(_, what)| is_this(what));
    let of_this = engine("engine", &this).await;
    let dispensable = !builds || assembles && is_optional(&this) && !wants_engine;
    let is_there = of_this.status != Status::Failed;
    checks.push(match of_this.status {
        Status::Failed if dispensable => {
            Check { status: Status::Warning, exit: Exit::Done, ..of_this }
        }
        _ => of_this,
    });
    others.retain(|(_, what)| !is_this(what));
    for (name, other) in others {
        let subject = format!("backends.{name}");
        checks.push(match other {
            AnyBackend::Engine(other) => engine(&subject, other).await,
            AnyBackend::Assemble(assembler) => {
                let store = assembler.store().directory().display();
                let unpushed = match is_there || !is_optional(&this) {
                    true => "the engine".to_owned(),
                    false => store.to_string(),
                };
                let message = format!(
                    "images that run no command need no engine; what is not pushed stays in {unpushed}"
                );
                Check::ok(subject, message)
            }
            AnyBackend::BuildKit(other) => buildkit(&subject, other).await,
        });
    }
}

async fn buildkit(subject: &str, buildkit: &RemoteBuildKit) -> Check {
    match buildkit.facts().await {
        Ok(BuildKitFacts { version, platforms }) => {
            let (place, platforms) = (buildkit.endpoint(), platforms.join(", "));
            Check::ok(subject, format!("BuildKit {version} ({platforms}) at {place}"))
        }
        Err(error) => engine_failure(subject, &Failure::from(dockit_core::Error::Backend(error))),
    }
}

async fn engine(subject: &str, engine: &DockerEngine) -> Check {
    let endpoint = engine.endpoint();
    match engine.facts().await {
        Ok(EngineFacts { kind, version, api_version, platform, .. }) => {
            let name = if kind == EngineKind::Podman { "Podman" } else { "Docker" };
            let place = endpoint.map(ToString::to_string).unwrap_or_default();
            let message = format!("{name} {version} (API {api_version}, {platform}) at {place}");
            let tls = endpoint.and_then(|endpoint| endpoint.tls.as_ref());
            if tls.is_some_and(|tls| !tls.verify) {
                let message = format!("{message}, whose certificate is not checked");
                return Check::warning(subject, message).hint("set DOCKER_TLS_VERIFY=1");
            }
            Check::ok(subject, message)
        }
        Err(error) => engine_failure(subject, &Failure::from(dockit_core::Error::Backend(error))),
    }
}

fn engine_failure(subject: &str, failure: &Failure) -> Check {
    let check = Check::failed(subject, Exit::Engine, failure.message());
    failure.hints_given().first().cloned().into_iter().fold(check, Check::hint)
}

fn registry(client: &Client, examined: &Examined, needs_no_login: bool, checks: &mut Vec<Check>) {
    let host = &examined.host;
    let provider = match &examined.provider {
        Ok(provider) => *provider,
        Err(_) => ProviderKind::Generic,
    };
    checks.push(credential(examined));
    checks.push(match &examined.login {
        Ok(true) => Check::ok(host, format!("takes the credential ({provider})")),
        Ok(false) => Check::ok(host, format!("lets everybody in ({provider})")),
        Err(error) => {
            let nobody = matches!(examined.credential, Ok(Origin::Nowhere));
            let everything_read = !examined.read.is_empty()
                && examined.read.values().all(|found| matches!(found, Ok(true)));
            let check = Check::failed(host, Exit::Registry, error.to_string());
            match error.kind() {
                // What is needed is for everybody.
                ErrorKind::Unauthorized if nobody && needs_no_login && everything_read => {
                    Check::warning(host, "wants a credential, but what is read there needs none")
                }
                ErrorKind::Denied => check.hint(format!("it takes {}", rights::to_pull(provider))),
                ErrorKind::Unauthorized if nobody => check
                    .hint(format!("`dockit login {host}`: {}", rights::password(provider, host))),
                ErrorKind::Unauthorized => check.hint(rights::password(provider, host)),
                _ => check,
            }
        }
    });
    for (repository, found) in &examined.pushed {
        checks.extend(repository_checks(client, provider, repository, found));
    }
    for (reference, found) in &examined.read {
        checks.push(match found {
            Ok(true) => Check::ok(reference, "can be pulled"),
            Ok(false) => Check::failed(reference, Exit::Registry, "is not there")
                .hint("check the name and the tag in the Dockerfile"),
            Err(error) => {
                let check = Check::failed(reference, Exit::Registry, error.to_string());
                match error.kind() {
                    ErrorKind::Denied | ErrorKind::Unauthorized => {
                        check.hint(format!("it takes {}", rights::to_pull(provider)))
                    }
                    _ => check,
                }
            }
        });
    }
}

fn credential(examined: &Examined) -> Check {
    let host = &examined.host;
    match &examined.credential {
        Ok(Origin::Kept(keeper, user)) => {
            let user = user.as_ref().map(|user| format!(" of {user}")).unwrap_or_default();
            Check::ok(host, format!("a credential{user} is kept {}", place(keeper)))
        }
        Ok(Origin::Place(name)) => Check::ok(host, format!("a credential comes from {name}")),
        Ok(Origin::Identity(None)) => {
            Check::ok(host, "a credential comes from the identity in the cloud")
        }
        Ok(Origin::Identity(Some(error))) => {
            let provider = ProviderKind::of_host(host).unwrap_or(ProviderKind::Generic);
            Check::failed(host, Exit::Registry, error.to_string())
                .hint(format!("the identity in the cloud needs {}", rights::to_pull(provider)))
        }
        Ok(Origin::Nowhere) if matches!(examined.login, Ok(false)) => {
            Check::ok(host, "there is no credential")
        }
        Ok(Origin::Nowhere) => Check::warning(host, "there is no credential"),
        Err(error) => Check::failed(host, Exit::Registry, error.to_string())
            .hint("the file, or the helper that it names, has to be repaired"),
    }
}

fn repository_checks(
    client: &Client,
    provider: ProviderKind,
    repository: &Repository,
    found: &Rights,
) -> Vec<Check> {
    let creation = || client.creation_command(repository);
    let missing = |check: Check| match creation() {
        Some(command) => check.hint(format!("`{command}` makes it")),
        None => check,
    };
    match (&found.pull, &found.push) {
        (Ok(()), Ok(())) => vec![Check::ok(repository, "can be pulled from and pushed to")],
        (_, Err(error)) if *error.kind() == ErrorKind::NotFound => {
            let message = "is not there, and pushing does not make it";
            vec![missing(Check::failed(repository, Exit::Registry, message))]
        }
        (pull, push) => {
            let mut checks = Vec::new();
            let refused = |error: &dockit_registry::Error| {
                matches!(error.kind(), ErrorKind::Denied | ErrorKind::Unauthorized)
            };
            if let Err(error) = pull {
                let check = Check::failed(
                    repository,
                    Exit::Registry,
                    format!("cannot be pulled from: {error}"),
                );
                checks.push(if refused(error) {
                    check.hint(format!("it takes {}", rights::to_pull(provider)))
                } else {
                    check
                });
            }
            if let Err(error) = push {
                let check = Check::failed(
                    repository,
                    Exit::Registry,
                    format!("cannot be pushed to: {error}"),
                );
                checks.push(match (refused(error), creation()) {
                    (false, _) => check,
                    (true, None) => check.hint(format!("it takes {}", rights::to_push(provider))),
                    (true, Some(command)) => check.hint(format!(
                        "it takes {}; if it is not there, `{command}` makes it",
                        rights::to_push(provider)
                    )),
                });
            } else {
                checks.push(Check::ok(repository, "can be pushed to"));
            }
            checks
        }
    }
}

/// Of what failed, what says most about what to do.
fn exit(checks: &[Check]) -> Exit {
    let order = [Exit::Usage, Exit::Engine, Exit::Registry];
    let found = order.into_iter().find(|exit| checks.iter().any(|check| check.exit == *exit));
    found.unwrap_or(Exit::Done)
}

fn text(checks: &[Check]) -> Result<(), Failure> {
    let word = |status| match status {
        Status::Ok => "ok",
        Status::Warning => "warning",
        Status::Failed => "failed",
    };
    let rows = checks.iter().map(|check| {
        vec![word(check.status).to_owned(), check.subject.clone(), check.message.clone()]
    });
    output::table(rows.collect())?;
    let mut hints = BTreeSet::new();
    for check in checks {
        if let Some(hint) = &check.hint
            && hints.insert(hint)
        {
            ui::say(&format!("hint: {}: {hint}", check.subject));
        }
    }
    Ok(())
}
