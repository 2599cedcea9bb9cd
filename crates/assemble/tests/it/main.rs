//! The crate as its users see it.

mod generated;
mod assemble;
mod layers;
mod pack;
mod read;
mod tars;
mod trees;
mod unpack;
