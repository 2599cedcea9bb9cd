//! What CI systems tell their jobs about registries.

use std::ffi::OsString;

use async_trait::async_trait;

use super::credential::{Credential, CredentialError, CredentialSource, Issued, Secret};
use crate::reference::RegistryHost;

/// The user whose password is a job's token (GitLab, *CI/CD job token*).
const JOB_USER: &str = "gitlab-ci-token";

/// Credentials that GitLab and GitHub hand to every job in variables of its environment, for registries
/// of their own:
///
/// | registry | user and password |
/// | --- | --- |
/// | `$CI_REGISTRY` | `CI_REGISTRY_USER`, `CI_REGISTRY_PASSWORD`; or else `gitlab-ci-token`, `CI_JOB_TOKEN`; or else `CI_DEPLOY_USER`, `CI_DEPLOY_PASSWORD` |
/// | `$CI_DEPENDENCY_PROXY_SERVER` | `CI_DEPENDENCY_PROXY_USER`, `CI_DEPENDENCY_PROXY_PASSWORD` |
/// | `ghcr.io`, if `GITHUB_ACTIONS` is `true` | `GITHUB_ACTOR`, `GITHUB_TOKEN` |
///
/// The names are those of GitLab's page *Predefined CI/CD variables reference* and of GitHub's *Variables
/// reference* and *Working with the Container registry*. GitHub puts its token into the environment only
/// of steps that ask for it. No CI system sets variables for Docker Hub: the names that people give to
/// secrets of theirs differ from project to project, so that none is guessed here.
///
/// Nobody chose them for a registry ([`Issued::inferred`]): what anybody may pull is pulled without them
/// where they are refused.
#[derive(Clone, Debug, Default)]
pub struct CiCredentials(Vec<(RegistryHost, Credential)>);

impl CiCredentials {
    /// What these variables say. Nothing is read here: they are the caller's.
    pub fn new(variable: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let text = |name: &str| {
            let value = variable(name)?.into_string().ok()?;
            (!value.is_empty()).then_some(value)
        };
        let host = |name: &str| text(name)?.parse::<RegistryHost>().ok();
        let login = |user: &str, password: &str| Some(basic(text(user)?, text(password)?));
        let job = || Some(basic(JOB_USER.to_owned(), text("CI_JOB_TOKEN")?));

        let gitlab = || {
            let login = login("CI_REGISTRY_USER", "CI_REGISTRY_PASSWORD")
                .or_else(job)
                .or_else(|| login("CI_DEPLOY_USER", "CI_DEPLOY_PASSWORD"));
            Some((host("CI_REGISTRY")?, login?))
        };
        let dependency_proxy = || {
            let login = login("CI_DEPENDENCY_PROXY_USER", "CI_DEPENDENCY_PROXY_PASSWORD");
            Some((host("CI_DEPENDENCY_PROXY_SERVER")?, login?))
        };
        let github = || {
            let in_actions = text("GITHUB_ACTIONS").as_deref() == Some("true");
            let login = login("GITHUB_ACTOR", "GITHUB_TOKEN").filter(|_| in_actions);
            Some(("ghcr.io".parse().ok()?, login?))
        };
        Self([gitlab(), dependency_proxy(), github()].into_iter().flatten().collect())
    }

    /// The credential for this registry; `Anonymous` if the variables name none.
    fn of(&self, host: &RegistryHost) -> Credential {
        let found = self.0.iter().find(|(known, _)| is_same(known, host));
        found.map_or(Credential::Anonymous, |(_, credential)| credential.clone())
    }
}

#[async_trait]
impl CredentialSource for CiCredentials {
    async fn credential(&self, host: &RegistryHost) -> Result<Issued, CredentialError> {
        Ok(Issued { inferred: true, ..self.of(host).into() })
    }
}

fn basic(username: String, password: String) -> Credential {
    Credential::Basic { username, password: Secret::new(password) }
}

/// GitLab writes the port of its server even where it is that of HTTPS, and references leave it out.
fn is_same(one: &RegistryHost, other: &RegistryHost) -> bool {
    let port = |host: &RegistryHost| host.port().unwrap_or(443);
    one.name() == other.name() && port(one) == port(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// User and password for this host in an environment of these variables.
    fn login(variables: &[(&str, &str)], host: &str) -> Option<(String, String)> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        match CiCredentials::new(&variable).of(&host.parse().unwrap()) {
            Credential::Anonymous => None,
            Credential::Basic { username, password } => {
                Some((username, password.expose().to_owned()))
            }
            other => panic!("{other:?}"),
        }
    }

    fn pair(username: &str, password: &str) -> Option<(String, String)> {
        Some((username.to_owned(), password.to_owned()))
    }

    const GITLAB: [(&str, &str); 6] = [
        ("CI_REGISTRY", "registry.example:5050"),
        ("CI_REGISTRY_USER", "job-user"),
        ("CI_REGISTRY_PASSWORD", "job-password"),
        ("CI_JOB_TOKEN", "job-token"),
        ("CI_DEPLOY_USER", "deploy-user"),
        ("CI_DEPLOY_PASSWORD", "deploy-password"),
    ];

    #[test]
    fn gitlabs_registry_gets_the_first_login_that_is_whole() {
        for (left_out, expected) in [
            (&[][..], pair("job-user", "job-password")),
            (&["CI_REGISTRY_USER"], pair("gitlab-ci-token", "job-token")),
            (&["CI_REGISTRY_PASSWORD", "CI_JOB_TOKEN"], pair("deploy-user", "deploy-password")),
            (&["CI_REGISTRY_USER", "CI_JOB_TOKEN", "CI_DEPLOY_USER"], None),
            (&["CI_REGISTRY"], None),
        ] {
            let variables: Vec<_> =
                GITLAB.into_iter().filter(|(name, _)| !left_out.contains(name)).collect();
            assert_eq!(login(&variables, "registry.example:5050"), expected, "{left_out:?}");
            assert_eq!(login(&variables, "registry.example"), None);
            assert_eq!(login(&variables, "docker.io"), None);
        }
    }

    #[test]
    fn an_empty_variable_is_none() {
        let variables = [
            ("CI_REGISTRY", "r.example"),
            ("CI_REGISTRY_USER", "u"),
            ("CI_REGISTRY_PASSWORD", ""),
            ("CI_JOB_TOKEN", ""),
        ];
        assert_eq!(login(&variables, "r.example"), None);
        assert_eq!(login(&[("CI_REGISTRY", "no host"), ("CI_JOB_TOKEN", "x")], "r.example"), None);
    }

    #[test]
    fn the_dependency_proxy_is_the_same_with_and_without_its_port() {
        let variables = [
            ("CI_DEPENDENCY_PROXY_SERVER", "gitlab.example:443"),
            ("CI_DEPENDENCY_PROXY_USER", "gitlab-ci-token"),
            ("CI_DEPENDENCY_PROXY_PASSWORD", "proxy-password"),
        ];
        for host in ["gitlab.example", "gitlab.example:443"] {
            assert_eq!(login(&variables, host), pair("gitlab-ci-token", "proxy-password"));
        }
        assert_eq!(login(&variables, "gitlab.example:5050"), None);
    }

    #[test]
    fn githubs_token_is_for_its_own_registry_and_only_in_its_jobs() {
        let token = [("GITHUB_TOKEN", "ghs"), ("GITHUB_ACTOR", "octo")];
        assert_eq!(login(&token, "ghcr.io"), None);
        let in_job = [token[0], token[1], ("GITHUB_ACTIONS", "true")];
        assert_eq!(login(&in_job, "ghcr.io"), pair("octo", "ghs"));
        assert_eq!(login(&in_job, "docker.io"), None);
    }

    #[test]
    fn debug_shows_no_password() {
        let secret = |name: &str| {
            let value = if name.ends_with("PASSWORD") { "hunter2" } else { "host.example" };
            Some(OsString::from(value))
        };
        let text = format!("{:?}", CiCredentials::new(&secret));
        assert!(text.contains("[redacted]") && !text.contains("hunter2"), "{text}");
    }
}
