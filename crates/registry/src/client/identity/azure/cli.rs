//! Whoever is logged in to `az` (Azure: *az account get-access-token*).

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, UNIX_EPOCH};

use serde::Deserialize;
use tokio::process::Command;

use crate::client::credential::{CredentialError, Secret};
use crate::client::identity::AccessToken;

/// How long it may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Names of the program.
const NAMES: &[&str] = if cfg!(windows) { &["az.cmd", "az.exe"] } else { &["az"] };

pub(super) struct AzureCli {
    /// The search path.
    pub(super) path: OsString,
    /// Where `az` keeps what it knows.
    pub(super) config: PathBuf,
}

impl AzureCli {
    /// A token; `None` if there is no such program, or nobody is logged in. That costs no process.
    pub(super) async fn token(&self, scope: &str) -> Result<Option<AccessToken>, CredentialError> {
        #[derive(Deserialize)]
        struct Output {
            #[serde(rename = "accessToken")]
            token: String,
            /// Seconds since 1970; older versions do not say it.
            expires_on: Option<u64>,
        }

        let Some(program) = self.program() else { return Ok(None) };
        if !self.is_logged_in() {
            return Ok(None);
        }
        let mut command = Command::new(program);
        command.args(["account", "get-access-token", "--output", "json", "--scope", scope]);
        command.env("AZURE_CONFIG_DIR", &self.config).kill_on_drop(true);
        // What it prints may hold what it should not, and says little that its own users do not know.
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let output = tokio::time::timeout(TIMEOUT, command.output()).await;
        let failed =
            |problem: &str| CredentialError::new(format!("az account get-access-token {problem}"));
        let output = output
            .map_err(|_| failed("did not answer within 30 seconds"))?
            .map_err(|error| CredentialError::io("cannot run az", error))?;
        if !output.status.success() {
            return Err(failed("failed: az login may have to be run again"));
        }
        let output: Output = serde_json::from_slice(&output.stdout)
            .map_err(|_| failed("printed something else than a token"))?;
        let expires = output.expires_on;
        let expires =
            expires.and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
        Ok(Some(AccessToken { token: Secret::new(output.token), expires }))
    }

    fn program(&self) -> Option<PathBuf> {
        let directories = std::env::split_paths(&self.path);
        let mut programs =
            directories.flat_map(|directory| NAMES.iter().map(move |name| directory.join(name)));
        programs.find(|program| program.is_absolute() && program.is_file())
    }

    /// Whether `az` knows an account. What it cannot say costs nobody's pull.
    fn is_logged_in(&self) -> bool {
        #[derive(Deserialize)]
        struct Profile {
            #[serde(default)]
            subscriptions: Vec<serde::de::IgnoredAny>,
        }
        let Ok(text) = std::fs::read_to_string(self.config.join("azureProfile.json")) else {
            return false;
        };
        // It begins with a mark of its byte order.
        let profile = serde_json::from_str::<Profile>(text.trim_start_matches('\u{feff}'));
        profile.is_ok_and(|profile| !profile.subscriptions.is_empty())
    }
}
