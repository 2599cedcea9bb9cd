//! Running credential helpers (docker-credential-helpers' protocol). The one place of this crate
//! that starts a process.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::file::login;
use crate::client::credential::{Credential, CredentialError, Secret};

/// Largest output that is read, in bytes.
const MAX_OUTPUT_SIZE: u64 = 1024 * 1024;

/// All that helpers print, with a failure, where they hold nothing for a server. Other failures may
/// hold such words as well.
const NOT_FOUND: [&str; 2] = ["credentials not found in native keychain", "credentials not found"];

/// The program of a helper, in this directory or in the search path.
pub(super) fn program(name: &str, directory: Option<&Path>) -> Result<OsString, CredentialError> {
    let valid = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if !valid {
        return Err(CredentialError::new(format!("{name:?} cannot be a credential helper")));
    }
    let file = format!("docker-credential-{name}");
    Ok(match directory {
        Some(directory) => directory.join(file).into_os_string(),
        None => file.into(),
    })
}

/// Asks a helper for the credential of a server.
///
/// What it prints, to either stream, never gets into an error: it may hold what it should not.
pub(super) async fn get(
    program: &OsString,
    server: &str,
    timeout: Duration,
) -> Result<Credential, CredentialError> {
    let output = run(program, "get", server.as_bytes(), timeout).await?;
    let name = shown(program);
    if !output.success {
        if output.says_not_found() {
            return Ok(Credential::Anonymous);
        }
        return Err(CredentialError::new(format!("{name} failed for {server}")));
    }
    let reply: HelperReply = serde_json::from_slice(&output.stdout).map_err(|_| {
        CredentialError::new(format!("{name} printed something else than a credential"))
    })?;
    Ok(login(reply.username, reply.secret))
}

/// Has a helper keep a password.
pub(super) async fn store(
    program: &OsString,
    server: &str,
    username: &str,
    password: &Secret,
    timeout: Duration,
) -> Result<(), CredentialError> {
    let entry = json!({"ServerURL": server, "Username": username, "Secret": password.expose()});
    let output = run(program, "store", entry.to_string().as_bytes(), timeout).await?;
    if output.success {
        Ok(())
    } else {
        let message = format!("{} could not store the password for {server}", shown(program));
        Err(CredentialError::new(message))
    }
}

/// Has a helper forget the credential of a server. Whether there was one.
pub(super) async fn erase(
    program: &OsString,
    server: &str,
    timeout: Duration,
) -> Result<bool, CredentialError> {
    // Some helpers succeed in forgetting what they do not know.
    let known = match get(program, server, timeout).await {
        Ok(credential) => credential != Credential::Anonymous,
        Err(_) => true,
    };
    let output = run(program, "erase", server.as_bytes(), timeout).await?;
    if output.success || output.says_not_found() {
        Ok(known)
    } else {
        let message = format!("{} could not forget {server}", shown(program));
        Err(CredentialError::new(message))
    }
}

fn shown(program: &OsString) -> String {
    Path::new(program).file_name().unwrap_or(program).to_string_lossy().into_owned()
}

struct Output {
    success: bool,
    stdout: Vec<u8>,
}

impl Output {
    fn says_not_found(&self) -> bool {
        let text = String::from_utf8_lossy(&self.stdout).to_ascii_lowercase();
        !self.success && NOT_FOUND.contains(&text.trim())
    }
}

async fn run(
    program: &OsString,
    action: &str,
    input: &[u8],
    timeout: Duration,
) -> Result<Output, CredentialError> {
    tokio::time::timeout(timeout, exchange(program, action, input))
        .await
        .map_err(|_| {
            let (name, limit) = (shown(program), timeout.as_secs_f64());
            CredentialError::new(format!("{name} did not answer within {limit} seconds"))
        })?
        .map_err(|error| CredentialError::io(format!("cannot run {}", shown(program)), error))
}

async fn exchange(program: &OsString, action: &str, input: &[u8]) -> std::io::Result<Output> {
    let mut child = Command::new(program)
        .arg(action)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(input).await {
            // A helper need not read what it does not need.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(error),
            _ => {}
        }
    }
    let mut stdout = Vec::new();
    if let Some(pipe) = child.stdout.take() {
        pipe.take(MAX_OUTPUT_SIZE).read_to_end(&mut stdout).await?;
    }
    Ok(Output { success: child.wait().await?.success(), stdout })
}

#[derive(Deserialize)]
struct HelperReply {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_helper_is_no_path() {
        assert_eq!(program("ecr-login", None).unwrap(), "docker-credential-ecr-login");
        for name in ["", "a/b", "../x", "a b", "x;y"] {
            assert!(program(name, None).is_err(), "{name}");
        }
    }
}
