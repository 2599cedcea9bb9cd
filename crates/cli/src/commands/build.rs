//! `dockit build`

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::{Args, ValueEnum};
use dockit_core::PushPolicy;
use dockit_core::execute::ImageReport;
use dockit_core::story::{self, Request, Services};
use serde::Serialize;

use super::{Format, GlobalArgs, creation_hints};
use crate::diagnostics::{self, Exit, Failure};
use crate::environment;
use crate::interrupt;
use crate::session::{self, Connected};
use crate::ui::{self, output};

/// How long a cancelled run may take to say what was done.
const GRACE: Duration = Duration::from_secs(5);

/// Arguments of `dockit build`.
#[derive(Args, Debug)]
pub struct BuildArgs {
    /// Images; all of them when none is named
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    /// When to push; without it, as `push` in dockit.toml says
    #[arg(long, value_enum)]
    push: Option<Push>,
    /// Afterwards each image is in the engine, under its content tag and its short name
    #[arg(long)]
    load: bool,
    /// Build the images again, without layer cache; what is in the registry stays as it is
    #[arg(long)]
    rebuild: bool,
    /// How many images to work on at the same time
    #[arg(short, long, value_name = "N", default_value = "4")]
    jobs: NonZeroUsize,
    /// Stop everything after the first failure
    #[arg(long)]
    fail_fast: bool,
    /// Record the images in dockit.lock
    #[arg(long)]
    pin: bool,
    /// Fail rather than change dockit.lock
    #[arg(long)]
    locked: bool,
}

/// When to push.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Push {
    /// Never; always build
    Never,
    /// In CI runs that are for no pull or merge request
    Auto,
    /// Always
    Always,
}

impl From<Push> for PushPolicy {
    fn from(push: Push) -> Self {
        match push {
            Push::Never => Self::Never,
            Push::Auto => Self::Auto,
            Push::Always => Self::Always,
        }
    }
}

#[derive(Serialize)]
struct Entry {
    name: String,
    key: String,
    status: &'static str,
    reference: String,
    digest: Option<String>,
    pushed: bool,
    tags: Vec<String>,
    seconds: f64,
    error: Option<String>,
}

pub(super) async fn run(global: &GlobalArgs, args: &BuildArgs) -> Result<Exit, Failure> {
    let Connected { project, registry, engine } = session::connected(global, "build")?;
    let request = Request {
        images: args.images.clone(),
        push: args.push.map(Into::into),
        ci: environment::ci_run(),
        rebuild: args.rebuild,
        jobs: args.jobs,
        fail_fast: args.fail_fast,
        load: args.load,
        pin: args.pin,
        locked: args.locked,
        keys: session::key_options(),
    };
    let display = ui::progress::start(global);
    let services = Services { registry: &registry, engine: &engine, observer: &*display };
    let cancel = interrupt::cancellation(GRACE);
    let built = story::build(&project, &request, &services, &cancel).await;
    display.finish();
    let story::Built { report, recorded } = match built {
        Err(_) if cancel.is_cancelled() => return Err(interrupt::failure()),
        Err(error) => {
            return Err(creation_hints::of_lookups(&project, &registry, error));
        }
        Ok(built) => built,
    };
    let exit = diagnostics::exit_of(&report, cancel.is_cancelled());
    match global.format {
        Format::Json => {
            let images: Vec<Entry> = report.images.iter().map(entry).collect();
            output::images("dockit.run/1", &images)?;
        }
        Format::Text => output::text(&ui::summary::text(&report))?,
    }
    recorded?;
    for hint in creation_hints::of_run(&project, &registry, &report) {
        ui::say(&format!("hint: {hint}"));
    }
    if let Some(hint) = diagnostics::run_hint(exit) {
        ui::say(&format!("hint: {hint}"));
    }
    Ok(exit)
}

fn entry(image: &ImageReport) -> Entry {
    Entry {
        name: image.image.to_string(),
        key: image.key.to_string(),
        status: image.status.as_str(),
        reference: ui::shown(&image.reference),
        digest: image.digest.as_ref().map(ToString::to_string),
        pushed: image.pushed,
        tags: image.tags.iter().map(ToString::to_string).collect(),
        seconds: (image.seconds * 1000.0).round() / 1000.0,
        error: image.error.as_ref().map(|error| error.message.clone()),
    }
}
