//! `--platform`: some of the platforms that images are for.

use std::collections::BTreeSet;

use clap::Args;
use dockit_core::{Error, Image, ImageName, Project};
use dockit_registry::Platform;
use serde::Serialize;

use crate::diagnostics::{Exit, Failure};
use crate::ui;

/// Which platforms.
#[derive(Args, Debug)]
pub(super) struct PlatformArgs {
    /// Only images for PLATFORM, and of images for several platforms that part; repeatable. With
    /// --dockerfile what to build for, linux/amd64 without it
    #[arg(long = "platform", value_name = "PLATFORM")]
    platforms: Vec<String>,
}

impl PlatformArgs {
    /// As they are given.
    pub(super) fn given(&self) -> &[String] {
        &self.platforms
    }

    /// The platforms that a project's images are chosen by: those that options describe are for all that
    /// they name. What was named and is for none of them is told.
    pub(super) fn of(
        &self,
        project: &Project,
        images: &[String],
    ) -> Result<BTreeSet<Platform>, Failure> {
        if project.from_options {
            return Ok(BTreeSet::new());
        }
        let parsed = self.platforms.iter().map(|platform| {
            platform
                .parse::<Platform>()
                .map_err(|error| Failure::new(Exit::Usage, format!("--platform: {error}")))
        });
        let platforms = parsed.collect::<Result<BTreeSet<Platform>, Failure>>()?;
        let selected = project.select_for(images, &platforms).map_err(Error::from)?;
        for name in selected.left_out {
            let for_platforms: Vec<String> =
                project.images[&name].platforms().iter().map(ToString::to_string).collect();
            ui::say(&format!("{name}: left out: it is for {}", for_platforms.join(", ")));
        }
        Ok(platforms)
    }
}

/// What an image for several platforms says of itself in JSON.
#[derive(Clone, Default, Serialize)]
pub(super) struct PlatformEntry {
    /// Of a part: the one that it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
    /// Of an index: those that its parts are for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    platforms: Vec<String>,
}

impl PlatformEntry {
    /// Of an image of this name, for these platforms.
    pub(super) fn new(name: &ImageName, platforms: &[Platform]) -> Self {
        let mut platforms: Vec<String> = platforms.iter().map(ToString::to_string).collect();
        if name.is_part() {
            return Self { platform: platforms.pop(), platforms: Vec::new() };
        }
        // An image for one platform says nothing, as before there were others.
        Self { platform: None, platforms: if platforms.len() > 1 { platforms } else { Vec::new() } }
    }

    /// Of an image of the project.
    pub(super) fn of(image: &Image) -> Self {
        Self::new(&image.name, image.platforms())
    }
}
