//! The client against servers that answer what a test wants.

mod auth;
#[cfg(feature = "aws")]
mod aws;
#[cfg(feature = "azure")]
mod azure;
mod blobs;
#[path = "../contract/mod.rs"]
#[expect(dead_code, reason = "some items are of registries that are programs")]
mod contract;
mod copy;
mod copy_bounds;
mod credentials;
mod deletion;
mod docs;
mod entries;
mod gitlab;
mod google;
#[cfg(feature = "google")]
mod google_identity;
#[cfg(feature = "google")]
mod google_secrets;
mod hints_docker_hub;
#[cfg(feature = "aws")]
mod hints_ecr;
mod hints_ghcr;
mod hints_harbor;
mod hints_quay;
mod inferred;
mod keep;
mod layout;
mod layout_alone;
mod layout_bits;
mod layout_client;
mod layout_contract;
mod layout_damage;
mod layout_disk;
mod layout_foreign;
mod layout_image;
mod layout_kill;
mod layout_many;
mod layout_rivals;
mod layout_store;
mod layout_sweep;
mod lists;
mod lookup;
mod memory_place;
mod models;
mod put;
mod redirects;
mod referrers;
mod renewal;
mod resolve;
mod retag;
mod retry;
mod secrets;
mod streams;
mod substitute;
mod support;
mod uploads;
mod vouched;

use contract::source;
