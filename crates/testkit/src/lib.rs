//! Servers on loopback for tests: a real registry, a token server that it trusts, what vendors put in front
//! of theirs, an imitation of AWS, a proxy that lets go wrong what a test wants, and an HTTP server that answers whatever a test wants;
//! and generated projects.
//!
//! Everything panics where it cannot go on, as tests do. Everything stops when it is dropped, and when
//! the test process dies.

mod connections;
mod fault_proxy;
mod generated;
mod http;
mod image;
mod moto_process;
mod registry_process;
mod scripted;
mod tls_front;
mod token_issuer;
mod vendor;

pub use fault_proxy::{Exchange, Fault, FaultProxy, Rule};
pub use generated::GeneratedProject;
pub use http::{Message, exchange};
pub use image::TestImage;
pub use moto_process::MotoProcess;
pub use registry_process::{Auth, PASSWORD, READER, RegistryProcess, USERNAME};
pub use scripted::{Reply, Request, ScriptedServer};
pub use tls_front::TlsFront;
pub use token_issuer::TokenIssuer;
pub use vendor::{
    AcrFront, AcrRole, Behind, ControlPlane, DEPLOY_TOKEN, DEPLOY_USER, EcrFront, EntraServer,
    GitlabFront, GitlabSetup, GitlabTagDeletion, GoogleFront, Held, JOB_TOKEN, Login, VendorFront,
};
