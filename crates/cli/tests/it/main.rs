//! The command without an engine and without a real registry.

mod assembled;
mod backends;
mod bad_input;
mod changed;
mod checks;
mod copy;
mod doctor;
mod endpoint;
mod failures;
mod key_inputs;
mod layout;
mod list_remote;
mod log;
mod login;
mod offline;
mod one_image;
mod outputs;
mod platforms;
mod promotion;
mod run;
mod selection;
mod tag;
mod tags;
mod update;
mod waiting;
mod whole_story;
mod why;

use run::Project;

/// An image that needs nothing from elsewhere, below a registry.
pub(crate) fn scratch(registry: &str) -> Project {
    Project::new(&[
        (
            "dockit.toml",
            &format!("[project]\nregistry = \"{registry}/p\"\n[images.base]\n[images.child]\n"),
        ),
        ("base/Dockerfile", "FROM scratch\nCOPY file /\n"),
        ("base/file", "1"),
        ("child/Dockerfile", "FROM base\nCOPY file /child\n"),
        ("child/file", "1"),
    ])
}
