//! The crate as its users see it.

mod assemble;
mod generated;
mod layers;
mod pack;
mod read;
mod tars;
mod trees;
mod unpack;
