//! `dockit login`

use std::io::{IsTerminal as _, Read as _, Write as _};

use clap::Args;
use dockit_core::Project;
use dockit_registry::{Credential, ErrorKind, Keeper, ProviderKind, RegistryHost, Secret};
use serde::Serialize;

use super::{Format, GlobalArgs};
use crate::diagnostics::{Exit, Failure};
use crate::ui::{self, output};
use crate::{rights, session};

/// Longest password, in bytes. Tokens of clouds are long, but not like this.
const MAX_PASSWORD: u64 = 64 * 1024;

/// Arguments of `dockit login`.
#[derive(Args, Debug)]
pub struct LoginArgs {
    /// The registry, such as ghcr.io; without it, the project's
    #[arg(value_name = "HOST")]
    host: Option<RegistryHost>,
    /// The user's name; `<token>` for an identity token
    #[arg(short, long, value_name = "USER")]
    username: Option<String>,
    /// Read the password from standard input, also where that is a terminal
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    host: String,
    username: String,
    /// Whether the registry was asked and took it.
    checked: bool,
    kept: Kept,
}

/// Who keeps a credential, in documents.
#[derive(Serialize)]
pub(super) struct Kept {
    kind: &'static str,
    name: String,
}

pub(super) async fn run(global: &GlobalArgs, args: LoginArgs) -> Result<Exit, Failure> {
    session::require_network(global, "login")?;
    let of_project = args.host.is_none();
    let (host, project) = host(global, args.host)?;
    let interactive = std::io::stdin().is_terminal() && !args.password_stdin;
    let username = match args.username {
        Some(username) => username,
        None if interactive => ask("user name: ")?,
        None => {
            return Err(Failure::new(Exit::Usage, "who logs in? name the user with -u").hint(
                format!("`dockit login -u USER {host} < FILE` reads the password from FILE"),
            ));
        }
    };
    let password = if interactive { ask_password(&username, &host)? } else { read_password()? };
    let settings = session::settings(project.as_ref(), global, of_project);
    let client = session::registry_as(settings, Credential::of_login(&*username, &password))?;
    let checked = match client.ping(&host).await {
        Ok(ping) => ping.authenticated,
        // A token server may say either of who it does not know.
        Err(error) if matches!(error.kind(), ErrorKind::Unauthorized | ErrorKind::Denied) => {
            let message = format!("{host} does not take this password of {username}: {error}");
            let failure = Failure::new(Exit::Registry, message);
            let provider = client.provider(&host).await.unwrap_or(ProviderKind::Generic);
            return Err(failure.hint(rights::password(provider, &host)));
        }
        Err(error) => return Err(error.into()),
    };
    let stored = session::docker_config().store(&host, &username, &password).await;
    let keeper = stored.map_err(|error| Failure::new(Exit::Registry, error.to_string()))?;
    let unasked = if checked { "" } else { "; it asks nobody, so the password was not checked" };
    match global.format {
        Format::Json => output::json(&Document {
            schema: "dockit.login/1",
            host: host.to_string(),
            username,
            checked,
            kept: kept(&keeper),
        })?,
        Format::Text => {
            output::line(&format!("logged in to {host} as {username}, kept {}", place(&keeper)))?;
            if !unasked.is_empty() {
                ui::say(&format!("warning: {host}{unasked}"));
            }
        }
    }
    if let Keeper::File(path) = &keeper {
        ui::say(&format!(
            "hint: whoever can read {} can read the password; a credential helper (credsStore there) \
             keeps it better",
            path.display()
        ));
    }
    Ok(Exit::Done)
}

/// The registry that is meant, and the project if there is one.
pub(super) fn host(
    global: &GlobalArgs,
    host: Option<RegistryHost>,
) -> Result<(RegistryHost, Option<Project>), Failure> {
    if let Some(host) = host {
        // What a broken configuration says is not needed where the registry is named.
        let texts = [format!("{host}/")];
        return Ok((host, session::project_for(global, &texts)?));
    }
    let project = session::project_for(global, &[String::new()])?;
    let images = project.iter().flat_map(|project| project.images.values());
    let mut hosts: Vec<&RegistryHost> = images
        .filter(|image| image.has_registry && !image.is_in_layout())
        .map(|image| image.repository.host())
        .collect();
    hosts.sort();
    hosts.dedup();
    match hosts.as_slice() {
        [host] => Ok(((*host).clone(), project)),
        [] => Err(Failure::new(Exit::Usage, "which registry? name its host, such as ghcr.io")),
        several => {
            let names: Vec<&str> = several.iter().map(|host| host.as_str()).collect();
            let message = format!("which registry? the project has {}", names.join(", "));
            Err(Failure::new(Exit::Usage, message))
        }
    }
}

pub(super) fn kept(keeper: &Keeper) -> Kept {
    let (kind, name) = match keeper {
        Keeper::File(path) => ("file", path.display().to_string()),
        Keeper::Helper(name) => ("helper", name.clone()),
        Keeper::Variable(name) => ("variable", name.clone()),
    };
    Kept { kind, name }
}

/// Where a credential is, for people.
pub(super) fn place(keeper: &Keeper) -> String {
    match keeper {
        Keeper::File(path) => format!("in {}", path.display()),
        Keeper::Helper(name) => format!("by docker-credential-{name}"),
        Keeper::Variable(name) => format!("in ${name}"),
    }
}

fn ask(prompt: &str) -> Result<String, Failure> {
    let _ = write!(std::io::stderr(), "{prompt}");
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line);
    read.map_err(|error| Failure::new(Exit::Usage, format!("standard input: {error}")))?;
    match line.trim() {
        "" => Err(Failure::new(Exit::Usage, "no user name was given")),
        name => Ok(name.to_owned()),
    }
}

fn ask_password(username: &str, host: &RegistryHost) -> Result<Secret, Failure> {
    let prompt = format!("password or token of {username} for {host}: ");
    let typed = rpassword::prompt_password(prompt)
        .map_err(|error| Failure::new(Exit::Usage, format!("cannot read a password: {error}")))?;
    secret(&typed)
}

/// All of standard input, but for the line feed that commands print.
fn read_password() -> Result<Secret, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().take(MAX_PASSWORD + 1).read_to_string(&mut text);
    read.map_err(|error| Failure::new(Exit::Usage, format!("standard input: {error}")))?;
    if text.len() as u64 > MAX_PASSWORD {
        return Err(Failure::new(Exit::Usage, "standard input is too long to be a password"));
    }
    secret(&text)
}

fn secret(text: &str) -> Result<Secret, Failure> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(Failure::new(Exit::Usage, "the password is empty"));
    }
    Ok(Secret::new(text))
}
