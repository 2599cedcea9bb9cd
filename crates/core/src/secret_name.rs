//! What about a build argument says that its value is a secret: its name, or the value itself.

/// Whether an argument is named as secrets are: `GITHUB_TOKEN`, `npm_password`, `API_KEY`.
///
/// A guess by the name alone, and a suspicious one. Names of keys that are public by what they are,
/// such as the `GPG_KEY` of the official images of Python, are none.
pub fn names_a_secret(name: &str) -> bool {
    const PARTS: [&str; 11] = [
        "TOKEN",
        "SECRET",
        "PASSWORD",
        "PASSWD",
        "PASSPHRASE",
        "CREDENTIAL",
        "APIKEY",
        "SSHKEY",
        "DEPLOYKEY",
        "PRIVATEKEY",
        "ACCESSKEY",
    ];
    const WORDS: [&str; 9] = ["KEY", "KEYS", "PASS", "PWD", "AUTH", "CRED", "CREDS", "PAT", "DSN"];
    /// What a key that is called so is: public, or the number of one.
    const PUBLIC: [&str; 3] = ["PUBLIC", "GPG", "PGP"];
    let name = name.to_ascii_uppercase();
    if PARTS.iter().any(|part| name.contains(part)) {
        return true;
    }
    let words: Vec<&str> = name.split(|byte: char| !byte.is_ascii_alphanumeric()).collect();
    words.iter().enumerate().any(|(index, word)| {
        let public = matches!(*word, "KEY" | "KEYS")
            && index.checked_sub(1).is_some_and(|before| PUBLIC.contains(&words[before]));
        // `PAT` and `DSN` are words of their own at the end only: `PAT_VERSION` is a version.
        let last = index + 1 == words.len();
        WORDS.contains(word) && !public && (last || !matches!(*word, "PAT" | "DSN"))
    })
}

/// Whether a value holds a URL with credentials in it: `https://user:token@host/`, `https://token@host/`.
///
/// The user alone of an SSH URL is none: `ssh://git@host/`.
pub(crate) fn holds_a_secret(value: &str) -> bool {
    // Each scheme, for a value may be a list of URLs, or a command line.
    value.match_indices("://").any(|(at, separator)| {
        let scheme = value[..at]
            .rsplit(|next: char| !(next.is_ascii_alphanumeric() || "+-.".contains(next)))
            .next()
            .unwrap_or_default();
        let rest = &value[at + separator.len()..];
        let authority = rest
            .split(|next: char| matches!(next, '/' | '?' | '#') || next.is_whitespace())
            .next()
            .unwrap_or_default();
        authority.rsplit_once('@').is_some_and(|(user, _)| {
            let password = user.split_once(':').is_some_and(|(_, password)| !password.is_empty());
            let ssh = scheme.to_ascii_lowercase().ends_with("ssh");
            password || (!user.is_empty() && !user.ends_with(':') && !ssh)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_like_a_secret_is_known() {
        for name in [
            "GITHUB_TOKEN",
            "npm_password",
            "API_KEY",
            "APIKEY",
            "DB_PASS",
            "authToken",
            "SSHKEY",
            "SSH_KEY",
            "DEPLOYKEY",
            "DEPLOY_KEY_FILE",
            "PRIVATEKEY",
            "GPG_PRIVATE_KEY",
            "GH_PAT",
            "SENTRY_DSN",
            "PAT",
            "GPG_PASSPHRASE",
            "PUBLIC_TOKEN",
        ] {
            assert!(names_a_secret(name), "{name}");
        }
        for name in [
            "PYTHON_VERSION",
            "MONKEY",
            "COMPASS",
            "BYPASS",
            "BYPASS_CACHE",
            "AUTHOR",
            "KEYBOARD",
            "KEYRING",
            "APT_KEYRING",
            "GPG_KEY",
            "GPG_KEYS",
            "PGP_KEY_ID",
            "PUBLIC_KEY",
            "SSH_PUBLIC_KEY",
            "PATH",
            "PATCH",
            "PAT_VERSION",
            "",
        ] {
            assert!(!names_a_secret(name), "{name}");
        }
    }

    #[test]
    fn a_url_with_credentials_is_a_secret() {
        for value in [
            "postgres://u:pw@h/d",
            "https://user:token@host/simple",
            "https://ghp_token@github.com/x",
            "https://:pw@h",
            "http://h/a https://u:p@h/b",
            "--index-url=https://u:p@h",
            "ssh://git:pw@h/x",
            "https://u:p@w@h/",
        ] {
            assert!(holds_a_secret(value), "{value}");
        }
        for value in [
            "",
            "3.12",
            "user@host",
            "https://h/a@b",
            "https://h?x=a@b",
            "https://h#a@b",
            "http://",
            "https://h:80/x",
            "ssh://git@h/x",
            "git+ssh://git@h/x",
            "https://h a@b",
            "https://@h/x",
        ] {
            assert!(!holds_a_secret(value), "{value}");
        }
    }
}
