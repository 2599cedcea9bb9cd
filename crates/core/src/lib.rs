//! dockit keys, plans and builds the container images of a project.
//!
//! Every image has an [`ImageKey`]: the hash of exactly what its build can see. An image with that
//! key is looked up before anything is built, and only what is absent is built and pushed.
//!
//! # The story
//!
//! [`config::load`] → [`ImageGraph::new`] → [`compute_keys`] → [`look_up`] → [`Plan::decide`] →
//! [`Run::execute`](execute::Run::execute) → [`Lockfile::update`]. One may stop after any step;
//! [`story::plan`] and [`story::build`] are the whole of it.
//!
//! ```
//! use std::collections::BTreeSet;
//!
//! use dockit_core::{ImageGraph, KeyOptions, Lockfile, compute_keys, config};
//! use dockit_core::config::LoadOptions;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let root = directory.path();
//! std::fs::create_dir(root.join("base"))?;
//! std::fs::write(root.join("base/Dockerfile"), "FROM scratch\nCOPY hello /\n")?;
//! std::fs::write(root.join("base/hello"), "hello")?;
//! std::fs::write(root.join("dockit.toml"), "[images.base]\n")?;
//!
//! let project = config::load(&root.join("dockit.toml"), &LoadOptions::default())?;
//! let graph = ImageGraph::new(&project)?;
//! let names: BTreeSet<_> = graph.order().iter().cloned().collect();
//! let options = KeyOptions::default();
//! let keys = compute_keys(&project, &graph, &names, &Lockfile::default(), &options)?;
//! let base = &graph.order()[0];
//! assert!(keys.get(base).unwrap().key.to_string().starts_with("k1:"));
//! # Ok(())
//! # }
//! ```
//!
//! # What this crate never does
//!
//! It prints nothing, never exits, and reads neither the environment nor the home directory. Only
//! [`bases`], [`doctor`], [`mod@lookup`], [`remote`], [`execute`], [`testing`], [`report`], [`moving_tags`], [`promote`], [`mod@wait`], [`pull`], [`backend`], [`inputs`] and [`why`]
//! open sockets, and only through the [`Registry`](dockit_registry::Registry) and [`BuildBackend`](backend::BuildBackend)
//! they are given. [`Plan::decide`] does no I/O. Only [`process`] starts processes.
//!
//! # Limitations
//!
//! - Of a directory that is copied or mounted all files are keyed, also those that no `RUN` opens.
//! - An image that copies its whole context also gets its Dockerfile, as `.dockit.Dockerfile`.
//! - An index of images for several platforms is only in a registry, and needs one.
//! - Which of two runs is the newer is told by the revisions that tags were put for, as far as these are
//!   recorded: see [`moving_tags`].
//! - Of two runs that push the same key, a far slower one can move the content tag after the other
//!   has ended; see [`execute`].
//! - What a `RUN` fetches from the network is not in the key; neither are cache mounts.

pub mod backend;
pub mod bases;
pub mod build_options;
pub mod changed;
pub mod check;
pub mod ci;
mod command_line;
pub mod config;
pub mod declared_key;
pub mod doctor;
mod epoch;
mod error;
pub mod events;
pub mod execute;
pub mod graph;
mod image_name;
pub mod inputs;
mod jitter;
pub mod key;
mod key_changes;
pub mod layer_cache;
pub mod lockfile;
pub mod lookup;
pub mod masking;
pub mod moving_tags;
mod only_here;
pub mod pin;
pub mod plan;
mod platform_args;
mod platforms;
pub mod prepare;
pub mod process;
mod project;
mod project_path;
pub mod promote;
pub mod pull;
pub mod remote;
pub mod report;
mod repositories;
pub mod revision;
pub mod run_file;
mod secret_name;
pub mod secrets;
pub mod selection;
pub mod source;
pub mod story;
mod tag_prefix;
pub mod tag_template;
pub mod testing;
pub mod update;
mod variant;
pub mod verify;
pub mod version;
pub mod wait;
pub mod why;

pub use command_line::CommandLine;
pub use epoch::{Epoch, InvalidEpoch, Refresh};
pub use error::Error;
pub use graph::ImageGraph;
pub use image_name::{ImageName, InvalidImageName};
pub use key::{ImageKey, KeyOptions, Keys, compute_keys};
pub use lockfile::Lockfile;
pub use lookup::look_up;
pub use plan::Plan;
pub use platforms::Role;
pub use project::{Image, Project, PushPolicy};
pub use project_path::ProjectPath;
pub use secret_name::names_a_secret;
pub use tag_prefix::{InvalidTagPrefix, TagPrefix};
pub use tag_template::TagTemplate;
pub use variant::{InvalidVariantName, VariantName, VariantOf};
