//! A registry that wants a password from everybody.

use dockit_registry::{Client, Credential, ErrorKind, RegistryHost};
use dockit_testkit::{Auth, PASSWORD, RegistryProcess, USERNAME};

use super::{distribution, registry_tests};
use crate::contract::{Expected, Vendor};

struct Htpasswd(RegistryProcess);

impl Vendor for Htpasswd {
    fn host(&self) -> RegistryHost {
        self.0.host().parse().unwrap()
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
        let credentials = [Credential::Anonymous, crate::basic("wrong")];
        credentials.map(|one| (crate::client(one), ErrorKind::Unauthorized)).into()
    }
}

registry_tests!(
    Htpasswd(RegistryProcess::start(Auth::Htpasswd)),
    access::strangers_learn_nothing,
    manifests::a_manifest_without_its_blobs_is_refused,
    deletion::a_tag_is_removed_by_substitute
);
