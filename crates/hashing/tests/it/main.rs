//! The crate from outside, on real directories.

mod archive;
mod contents;
mod context;
mod dockerfile;
mod format;
mod ignore;
mod odd_files;
mod odd_trees;
mod refusals;
mod selection;
mod tree;
