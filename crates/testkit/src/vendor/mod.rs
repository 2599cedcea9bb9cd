//! Vendors' control planes in front of a real registry.
//!
//! Only what vendors put before and beside the distribution spec is imitated here, from their
//! documentation: logins, lists, ways to delete and to make repositories. Every manifest, tag and blob is
//! in a `docker-registry` behind it.

mod acr;
mod behind;
mod ecr;
mod entra;
mod gitlab;
mod google;

use std::sync::Arc;

pub use acr::AcrFront;
pub use behind::{Behind, Held, Login};
pub use ecr::EcrFront;
pub use entra::{AcrRole, EntraServer};
pub use gitlab::{
    DEPLOY_TOKEN, DEPLOY_USER, GitlabFront, GitlabSetup, GitlabTagDeletion, JOB_TOKEN,
};
pub use google::GoogleFront;

use crate::fault_proxy::FaultProxy;
use crate::scripted::{Reply, Request};

/// What a vendor does in front of its registry.
pub trait ControlPlane: Send + Sync {
    /// Answers in the registry's place; `None` passes the request on. The request has its body, unless
    /// that is a blob.
    fn answer(&self, request: &Request) -> Option<Reply>;

    /// Changes the headers of what the registry answered.
    fn edit(&self, request: &Request, status: u16, headers: &mut Vec<(String, String)>) {
        let _ = (request, status, headers);
    }
}

/// A vendor's registry on a free port of 127.0.0.1. Faults can be had as well.
pub struct VendorFront {
    proxy: FaultProxy,
    behind: Arc<Behind>,
}

impl VendorFront {
    /// Starts a registry that asks for `login`, and the control plane in front of it, which `plane` makes
    /// of the front's own `host:port` and what is behind it.
    pub fn start<P: ControlPlane + 'static>(
        login: Login,
        plane: impl FnOnce(&str, Arc<Behind>) -> P,
    ) -> Self {
        let behind = Arc::new(Behind::start(login));
        let proxy = FaultProxy::start_with(behind.host(), |own| {
            let plane = plane(own, Arc::clone(&behind));
            Some(Box::new(Noting { plane, behind: Arc::clone(&behind) }))
        });
        Self { proxy, behind }
    }

    /// `127.0.0.1:port`.
    pub fn host(&self) -> String {
        self.proxy.host()
    }

    /// What passes, and what is to go wrong.
    pub fn proxy(&self) -> &FaultProxy {
        &self.proxy
    }

    /// The registry behind it.
    pub fn behind(&self) -> &Behind {
        &self.behind
    }
}

/// Takes note of what the registry stored.
struct Noting<P> {
    plane: P,
    behind: Arc<Behind>,
}

impl<P: ControlPlane> ControlPlane for Noting<P> {
    fn answer(&self, request: &Request) -> Option<Reply> {
        self.plane.answer(request)
    }

    fn edit(&self, request: &Request, status: u16, headers: &mut Vec<(String, String)>) {
        self.behind.note(request, status);
        self.plane.edit(request, status, headers);
    }
}
