//! What vendors call the rights that pulling and pushing need, and how a person gets a password there
//! (from each vendor's documentation of its registry's access control).

use dockit_registry::{ProviderKind, RegistryHost};

/// The right that is missing for reading.
pub(crate) fn to_pull(provider: ProviderKind) -> &'static str {
    match provider {
        ProviderKind::Google => "the role roles/artifactregistry.reader on the repository",
        ProviderKind::Ecr => {
            "a policy that allows ecr:GetAuthorizationToken, ecr:BatchGetImage and \
             ecr:GetDownloadUrlForLayer, as AmazonEC2ContainerRegistryReadOnly does"
        }
        ProviderKind::EcrPublic => {
            "no right: public images are for everybody, and a credential that has expired is refused"
        }
        ProviderKind::Acr => "the role AcrPull on the registry (or a repository token that reads)",
        ProviderKind::Gitlab => {
            "a token with the scope read_registry, of a user who is at least Reporter in the project"
        }
        ProviderKind::DockerHub => "an access token that may read, of a user with access to it",
        ProviderKind::Ghcr => {
            "a token with read:packages; in GitHub Actions `permissions: packages: read`, and access of \
             this repository to the package"
        }
        ProviderKind::Quay => "a robot account with the permission Read on the repository",
        ProviderKind::Harbor => "the role Limited Guest in the project, or a robot that may pull",
        _ => "the right to pull",
    }
}

/// The right that is missing for writing.
pub(crate) fn to_push(provider: ProviderKind) -> &'static str {
    match provider {
        ProviderKind::Google => "the role roles/artifactregistry.writer on the repository",
        ProviderKind::Ecr => {
            "a policy that allows ecr:GetAuthorizationToken, ecr:BatchGetImage, ecr:BatchCheckLayerAvailability, ecr:InitiateLayerUpload, \
             ecr:UploadLayerPart, ecr:CompleteLayerUpload and ecr:PutImage, as \
             AmazonEC2ContainerRegistryPowerUser does"
        }
        ProviderKind::EcrPublic => {
            "a policy as AmazonElasticContainerRegistryPublicPowerUser, in the registry's account"
        }
        ProviderKind::Acr => "the role AcrPush on the registry (or a repository token that writes)",
        ProviderKind::Gitlab => {
            "a token with the scope write_registry, of a user who is at least Developer in the project; a \
             job's own token writes to its own project alone"
        }
        ProviderKind::DockerHub => {
            "an access token that may read and write, of a member who may push"
        }
        ProviderKind::Ghcr => {
            "a token with write:packages; in GitHub Actions `permissions: packages: write`, and access of \
             this repository to the package"
        }
        ProviderKind::Quay => "a robot account with the permission Write on the repository",
        ProviderKind::Harbor => "the role Developer in the project, or a robot that may push",
        _ => "the right to push",
    }
}

/// How somebody gets a password, or does without.
pub(crate) fn password(provider: ProviderKind, host: &RegistryHost) -> String {
    match provider {
        ProviderKind::Google => format!(
            "`gcloud auth print-access-token | dockit login -u oauth2accesstoken {host}`; where \
             application default credentials are set up, no login is needed (`dockit logout {host}` forgets an old one)"
        ),
        ProviderKind::Ecr => format!(
            "`aws ecr get-login-password | dockit login -u AWS {host}`; where AWS credentials are set up, no login is needed (`dockit logout {host}` forgets an old one)"
        ),
        ProviderKind::EcrPublic => format!(
            "`aws ecr-public get-login-password --region us-east-1 | dockit login -u AWS {host}`"
        ),
        ProviderKind::Acr => format!(
            "`az acr login --expose-token --name {}` prints a token for the user \
             00000000-0000-0000-0000-000000000000; where an Azure identity is set up, no login is needed",
            host.name().split('.').next().unwrap_or_default()
        ),
        ProviderKind::Gitlab => {
            "the password is a token with the scopes read_registry and write_registry (in a job: \
             CI_REGISTRY_USER and CI_REGISTRY_PASSWORD, which dockit finds by itself)"
                .to_owned()
        }
        ProviderKind::DockerHub => {
            "take an access token of the account's security settings, not its password".to_owned()
        }
        ProviderKind::Ghcr => {
            "the password is a classic personal access token with read:packages or write:packages; in \
             GitHub Actions GITHUB_TOKEN"
                .to_owned()
        }
        ProviderKind::Quay => "take a robot account's name and token, or an encrypted password".to_owned(),
        ProviderKind::Harbor => "where users log in by OIDC, the password is the CLI secret".to_owned(),
        _ => format!("check user and password for {host}"),
    }
}
