//! The client against servers that answer what a test wants.

mod auth;
mod blobs;
mod copy;
mod credentials;
mod layout;
mod layout_damage;
mod layout_disk;
mod layout_foreign;
mod layout_image;
mod layout_rivals;
mod lookup;
mod models;
mod put;
mod redirects;
mod referrers;
mod resolve;
mod retry;
mod secrets;
mod streams;
mod support;
mod uploads;
