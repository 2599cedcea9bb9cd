//! Names of build arguments that say what their value is.

/// Whether an argument is named as secrets are: `GITHUB_TOKEN`, `npm_password`, `API_KEY`.
///
/// A guess by the name alone, and a suspicious one.
pub fn names_a_secret(name: &str) -> bool {
    const PARTS: [&str; 7] =
        ["TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL", "APIKEY"];
    const WORDS: [&str; 7] = ["KEY", "KEYS", "PASS", "PWD", "AUTH", "CRED", "CREDS"];
    let name = name.to_ascii_uppercase();
    PARTS.iter().any(|part| name.contains(part))
        || name.split(|byte: char| !byte.is_ascii_alphanumeric()).any(|word| WORDS.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_like_a_secret_is_known() {
        for name in ["GITHUB_TOKEN", "npm_password", "API_KEY", "APIKEY", "DB_PASS", "authToken"] {
            assert!(names_a_secret(name), "{name}");
        }
        for name in ["PYTHON_VERSION", "MONKEY", "COMPASS", "AUTHOR", "KEYBOARD", ""] {
            assert!(!names_a_secret(name), "{name}");
        }
    }
}
