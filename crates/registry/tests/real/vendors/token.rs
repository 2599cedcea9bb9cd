//! A registry that wants tokens of a token server, which lets everybody read.

use dockit_registry::{Client, Credential, ErrorKind, RegistryHost, Secret};
use dockit_testkit::{Auth, PASSWORD, READER, RegistryProcess, TokenIssuer, USERNAME};

use super::{distribution, registry_tests};
use crate::contract::{Expected, Vendor};

struct Token {
    registry: RegistryProcess,
    _issuer: TokenIssuer,
}

impl Token {
    fn start() -> Self {
        let issuer = TokenIssuer::start();
        Self { registry: RegistryProcess::start(Auth::Token(&issuer)), _issuer: issuer }
    }
}

impl Vendor for Token {
    fn host(&self) -> RegistryHost {
        self.registry.host().parse().unwrap()
    }

    fn client(&self) -> Client {
        crate::client(crate::basic(PASSWORD))
    }

    fn expected(&self) -> Expected {
        distribution()
    }

    fn login(&self) -> Option<(String, String)> {
        Some((USERNAME.to_owned(), PASSWORD.to_owned()))
    }

    fn strangers(&self) -> Vec<(Client, ErrorKind)> {
        let credentials = [
            crate::basic("wrong"),
            Credential::IdentityToken { username: None, token: Secret::new("wrong") },
            Credential::Bearer(Secret::new("wrong")),
        ];
        credentials.map(|one| (crate::client(one), ErrorKind::Unauthorized)).into()
    }

    fn readers(&self) -> Vec<(Client, ErrorKind)> {
        let reader = Credential::Basic { username: READER.into(), password: Secret::new(PASSWORD) };
        vec![
            (crate::client(Credential::Anonymous), ErrorKind::Unauthorized),
            (crate::client(reader), ErrorKind::Denied),
        ]
    }
}

registry_tests!(
    Token::start(),
    access::strangers_learn_nothing,
    access::readers_read_and_do_not_write,
    manifests::a_manifest_without_its_blobs_is_refused,
    deletion::a_tag_is_removed_by_substitute
);
