//! The crate as its users see it.

mod generated;
mod layers;
mod pack;
mod read;
mod tars;
mod unpack;
