//! The client against servers that answer what a test wants.

mod auth;
mod blobs;
mod copy;
mod credentials;
mod deletion;
mod keep;
mod layout;
mod layout_damage;
mod layout_disk;
mod layout_foreign;
mod layout_image;
mod layout_rivals;
mod lists;
mod lookup;
mod models;
mod put;
mod redirects;
mod referrers;
mod resolve;
mod retag;
mod retry;
mod secrets;
mod streams;
mod substitute;
mod support;
mod uploads;
