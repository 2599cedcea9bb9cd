//! `dockit logout`

use clap::Args;
use dockit_registry::RegistryHost;
use serde::Serialize;

use super::login::{self, Kept};
use super::{Format, GlobalArgs};
use crate::diagnostics::{Exit, Failure};
use crate::session;
use crate::ui::{self, output};

/// Arguments of `dockit logout`.
#[derive(Args, Debug)]
pub struct LogoutArgs {
    /// The registry, such as ghcr.io; without it, the project's
    #[arg(value_name = "HOST")]
    host: Option<RegistryHost>,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    host: String,
    /// Who kept it, and does no longer.
    forgotten: Vec<Kept>,
    /// Who keeps it still.
    left: Vec<Kept>,
}

pub(super) async fn run(global: &GlobalArgs, args: &LogoutArgs) -> Result<Exit, Failure> {
    let (host, _) = login::host(global, args.host.clone())?;
    let erased = session::docker_config().erase(&host).await;
    let erased = erased.map_err(|error| Failure::new(Exit::Registry, error.to_string()))?;
    match global.format {
        Format::Json => output::json(&Document {
            schema: "dockit.logout/1",
            host: host.to_string(),
            forgotten: erased.from.iter().map(login::kept).collect(),
            left: erased.left.iter().map(login::kept).collect(),
        })?,
        Format::Text if erased.from.is_empty() => {
            output::line(&format!("no password for {host} was kept"))?;
        }
        Format::Text => {
            let places: Vec<String> = erased.from.iter().map(login::place).collect();
            output::line(&format!(
                "forgot the password for {host}, kept {}",
                places.join(" and ")
            ))?;
        }
    }
    for keeper in &erased.left {
        ui::say(&format!("warning: there is still one for {host} {}", login::place(keeper)));
    }
    Ok(Exit::Done)
}
