//! What is configured: a file with credentials, or none.

use std::io::{ErrorKind as IoErrorKind, Read as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{GoogleMetadata, GoogleSettings};
use crate::client::credential::CredentialError;

/// Largest file that is read, in bytes.
const MAX_FILE_SIZE: u64 = 1024 * 1024;

/// Longest text that an error says of an answer, in characters.
const MAX_TEXT: usize = 400;

/// Longest run of characters that is no secret. Tokens, keys and signatures are longer.
const MAX_WORD: usize = 60;

/// Who Google knows this machine or job as.
pub(super) enum Configuration {
    /// The key of a service account.
    ServiceAccount(File),
    /// Other credentials.
    Other(File),
    /// Whatever the metadata server says.
    Machine(GoogleMetadata),
    Nobody,
}

/// A file with credentials.
pub(super) struct File {
    path: PathBuf,
    pub(super) content: Value,
}

impl Configuration {
    /// The first place that has something.
    pub(super) fn find(settings: &GoogleSettings) -> Result<Self, CredentialError> {
        if let Some(path) = &settings.file {
            return Self::of_file(path, &read(path)?);
        }
        if let Some(path) = &settings.optional_file {
            match read(path) {
                Ok(bytes) => return Self::of_file(path, &bytes),
                Err(error) if is_missing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(match &settings.metadata {
            GoogleMetadata::Never => Self::Nobody,
            metadata => Self::Machine(metadata.clone()),
        })
    }

    fn of_file(path: &Path, bytes: &[u8]) -> Result<Self, CredentialError> {
        let shown = path.display();
        // What serde says could quote a secret.
        let content: Value = serde_json::from_slice(bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            CredentialError::new(format!("{shown} is no JSON (line {line}, column {column})"))
        })?;
        let file = File { path: path.to_owned(), content };
        match file.text("type") {
            Some("service_account") => Ok(Self::ServiceAccount(file)),
            Some("authorized_user" | "external_account" | "impersonated_service_account") => {
                Ok(Self::Other(file))
            }
            Some(kind) => {
                Err(file.error(format!("credentials of the type {kind:?} are not known")))
            }
            None => Err(file.error("its credentials have no type")),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CredentialError> {
    let mut bytes = Vec::new();
    let read =
        std::fs::File::open(path).and_then(|file| file.take(MAX_FILE_SIZE).read_to_end(&mut bytes));
    let shown = path.display();
    read.map_err(|error| {
        CredentialError::io(format!("cannot read Google's credentials in {shown}"), error)
    })?;
    Ok(bytes)
}

fn is_missing(error: &CredentialError) -> bool {
    let source = std::error::Error::source(error);
    let io = source.and_then(|source| source.downcast_ref::<std::io::Error>());
    // A home directory may be none at all.
    let missing = [IoErrorKind::NotFound, IoErrorKind::NotADirectory];
    io.is_some_and(|error| missing.contains(&error.kind()))
}

impl File {
    /// A field that is text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.content.get(name)?.as_str()
    }

    /// A field that has to be text.
    pub(super) fn required(&self, name: &str) -> Result<&str, CredentialError> {
        self.text(name).ok_or_else(|| self.error(format!("{name} is missing")))
    }

    /// An error that says which file it is about, and nothing secret of it.
    pub(super) fn error(&self, message: impl AsRef<str>) -> CredentialError {
        let message = self.harmless(message.as_ref());
        CredentialError::new(format!("{}: {message}", self.path.display()))
    }

    /// Text from elsewhere as a bounded part of one line, without what only this file should hold, and
    /// without whatever looks like a token.
    fn harmless(&self, text: &str) -> String {
        let mut text = text.to_owned();
        let mut secrets = Vec::new();
        secrets_in(&self.content, false, &mut secrets);
        for secret in secrets {
            text = text.replace(secret, "***");
        }
        let in_word =
            |character: char| character.is_ascii_alphanumeric() || "-_.~+/=%".contains(character);
        let mut shown = String::new();
        let mut word = String::new();
        for character in text.chars().chain([' ']) {
            if in_word(character) {
                word.push(character);
                continue;
            }
            // A URL is long as a whole, and its parts are not.
            let long = word.split('/').any(|part| part.len() > MAX_WORD);
            shown.push_str(if long { "***" } else { &word });
            word.clear();
            shown.push(if character.is_control() { ' ' } else { character });
        }
        let shown = shown.trim_end();
        match shown.char_indices().nth(MAX_TEXT) {
            Some((end, _)) => format!("{}…", &shown[..end]),
            None => shown.to_owned(),
        }
    }
}

/// The values of fields whose names say that they are secret.
fn secrets_in<'a>(value: &'a Value, secret: bool, found: &mut Vec<&'a str>) {
    const NAMES: [&str; 5] =
        ["private_key", "private_key_id", "client_secret", "refresh_token", "headers"];
    match value {
        Value::String(text) if secret && !text.is_empty() => found.push(text),
        Value::Array(values) => {
            values.iter().for_each(|value| secrets_in(value, secret, found));
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                secrets_in(value, secret || NAMES.contains(&name.as_str()), found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_secret_is_in_what_an_error_says() {
        let content = json!({
            "client_secret": "hunter2",
            "source_credentials": {"refresh_token": "1//hunter3", "client_id": "client"},
            "credential_source": {"headers": {"Authorization": "bearer hunter4"}},
        });
        let file = File { path: "/adc.json".into(), content };
        let token = "eyJhbGciOiJSUzI1NiJ9.".to_owned() + &"x".repeat(100);
        for (text, shown) in [
            ("hunter2 of client and 1//hunter3", "*** of client and ***"),
            ("sent bearer hunter4\nto it", "sent *** to it"),
            (&format!("token=<{token}>"), "token=<***>"),
            (&format!("{{\"t\":\"{token}\"}}"), "{\"t\":\"***\"}"),
            (
                "https://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p",
                "https://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p",
            ),
        ] {
            assert_eq!(file.error(text).to_string(), format!("/adc.json: {shown}"));
        }
        let long = file.error("word ".repeat(1000)).to_string();
        assert!(long.chars().count() < 500 && long.ends_with('…'), "{long}");
    }
}
