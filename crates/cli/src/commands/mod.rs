//! The commands, one file each.

mod affected;
mod build;
mod changed;
mod content_tag;
mod copy;
mod creation_hints;
mod doctor;
mod graph;
mod held_tags;
mod key;
mod list;
mod login;
mod logout;
mod named;
mod one_image;
mod pin;
mod plan;
mod platforms;
mod prepare;
mod promotion;
mod pull;
mod reports;
mod run_report;
mod tag;
mod test;
mod transfer;
mod update;
mod verify;
mod why;
mod written_files;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::run_report::ToldArgs;
use crate::diagnostics::{Exit, Failure};

/// Container images for CI: each is keyed by exactly what its build can see, looked up in the
/// registry, and built and pushed only when it is absent.
#[derive(Debug, Parser)]
#[command(name = "dockit", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub struct GlobalArgs {
    /// Look for dockit.toml in DIR and above it, not in the working directory. Layouts (oci:DIR) stay
    /// relative to the working directory
    #[arg(short = 'C', value_name = "DIR", global = true)]
    pub directory: Option<PathBuf>,
    /// Read this configuration file
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// How to print data
    #[arg(long, value_enum, default_value_t, global = true)]
    pub format: Format,
    /// Never open a socket
    #[arg(long, global = true)]
    pub offline: bool,
    /// Say less: only warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more: what builds write, also on a terminal
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

/// How data is printed on standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON document with a `schema` field.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the images: reference, dependencies, key, and whether the lockfile records that key
    List(list::ListArgs),
    /// Print the graph of images and check it
    Graph(graph::GraphArgs),
    /// Print keys, without network
    Key(key::KeyArgs),
    /// Print what would be done and why; writes nothing
    Plan(plan::PlanArgs),
    /// Build and push what is absent
    Build(build::BuildArgs),
    /// Run the tests of images that are there
    Test(test::TestArgs),
    /// Put tags on an image that a registry holds, or on a set of them, without moving layers
    Tag(tag::TagArgs),
    /// Fetch images into the engine, or into an OCI layout
    Pull(pull::PullArgs),
    /// Copy an image between registries and OCI layouts, byte for byte, with what refers to it
    Copy(copy::CopyArgs),
    /// Rewrite references in files to what the lockfile records, or check them
    Pin(pin::PinArgs),
    /// Check that every image is present, and that neither the lockfile nor a pin would change
    Verify(verify::VerifyArgs),
    /// Move the external images in dockit.lock to what their references stand for today
    Update(update::UpdateArgs),
    /// Name the images that a range of commits affects
    Changed(changed::ChangedArgs),
    /// Say why an image has another key than it had
    Why(why::WhyArgs),
    /// Check a registry's password, and keep it where Docker's own tools find it
    Login(login::LoginArgs),
    /// Forget a registry's password
    Logout(logout::LogoutArgs),
    /// Say what works: the engine, registries, credentials, the right to read and to write
    Doctor(doctor::DoctorArgs),
}

/// Runs a command.
///
/// # Errors
///
/// What kept the command from being done, with its exit code.
pub async fn run(cli: Cli) -> Result<Exit, Failure> {
    let global = &cli.global;
    match cli.command {
        Command::List(args) => list::run(global, &args).await,
        Command::Graph(args) => graph::run(global, &args),
        Command::Key(args) => key::run(global, &args).await,
        Command::Plan(args) => plan::run(global, &args).await,
        Command::Build(args) => build::run(global, &args).await,
        Command::Test(args) => test::run(global, &args).await,
        Command::Tag(args) => tag::run(global, &args).await,
        Command::Pull(args) => pull::run(global, &args).await,
        Command::Copy(args) => copy::run(global, &args).await,
        Command::Pin(args) => pin::run(global, &args).await,
        Command::Verify(args) => verify::run(global, &args).await,
        Command::Update(args) => update::run(global, &args).await,
        Command::Changed(args) => changed::run(global, &args).await,
        Command::Why(args) => why::run(global, &args).await,
        Command::Login(args) => login::run(global, args).await,
        Command::Logout(args) => logout::run(global, &args).await,
        Command::Doctor(args) => doctor::run(global, &args).await,
    }
}
