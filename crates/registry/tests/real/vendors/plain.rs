//! A registry that asks nobody who they are.

use dockit_registry::{Client, Credential, RegistryHost};
use dockit_testkit::{Auth, RegistryProcess};

use super::{distribution, registry_tests};
use crate::contract::{Expected, Vendor};

struct Plain(RegistryProcess);

impl Vendor for Plain {
    fn host(&self) -> RegistryHost {
        self.0.host().parse().unwrap()
    }

    fn client(&self) -> Client {
        crate::client(Credential::Anonymous)
    }

    fn expected(&self) -> Expected {
        distribution()
    }

    fn login(&self) -> Option<(String, String)> {
        None
    }
}

registry_tests!(
    Plain(RegistryProcess::start(Auth::None)),
    manifests::a_manifest_without_its_blobs_is_refused,
    deletion::a_tag_is_removed_by_substitute
);
