//! Content tags as destinations of copies: they stand for a key, so only the image that has one already
//! may take it along.

use dockit_core::ImageKey;
use dockit_registry::copy::{ImagePlace, LayoutImage, RemoteImage};
use dockit_registry::{Client, Location, Tag};

use super::transfer::shown;
use crate::diagnostics::{Exit, Failure};

/// Refuses a destination under a content tag unless the source is the image with this very tag, whole,
/// and the destination is absent or the same. Anything else would make another image pass for the one
/// with that key.
pub(super) async fn check(
    client: &Client,
    source: &Location,
    destination: &Location,
    only_a_platform: bool,
) -> Result<(), Failure> {
    let Some(tag) = content_tag(destination) else { return Ok(()) };
    let refused = |why: String| {
        let message = format!("{} is under a content tag: {why}", shown(destination));
        Failure::new(Exit::Usage, message).hint("take another tag or name for the copy")
    };
    if content_tag(source).as_ref() != Some(&tag) {
        return Err(refused(format!("{} is not, or under another", shown(source))));
    }
    if only_a_platform {
        return Err(refused("one platform's image is not the image with that key".to_owned()));
    }
    // A digest beside the tag decides what is copied, but only the tag says what has the key.
    let Some(tagged) = place(client, &by_name(source)).named_digest().await? else {
        // The copy itself says best what is absent; what has a digest alone has no key.
        return match source.digest() {
            None => Ok(()),
            Some(_) => Err(refused(format!("{} is absent", shown(&by_name(source))))),
        };
    };
    if source.digest().is_some_and(|digest| *digest != tagged) {
        return Err(refused(format!("{} is on {tagged}", shown(&by_name(source)))));
    }
    let there = match destination {
        Location::Layout(layout) if !layout.directory().join("index.json").exists() => None,
        _ => place(client, &by_name(destination)).named_digest().await?,
    };
    match there {
        Some(there) if there != tagged => {
            Err(refused(format!("it is on {there} already, and the source on {tagged}")))
        }
        _ => Ok(()),
    }
}

/// The content tag that a place has, as its tag or at the end of its name.
fn content_tag(place: &Location) -> Option<Tag> {
    let tag: Tag = match place {
        Location::Registry(reference) => reference.tag().cloned()?,
        Location::Layout(layout) => {
            let name = layout.name()?.as_str();
            name.rsplit_once(':').map_or(name, |(_, tag)| tag).parse().ok()?
        }
    };
    ImageKey::is_content_tag(&tag).then_some(tag)
}

/// The same place without the digest.
fn by_name(place: &Location) -> Location {
    match place {
        Location::Registry(reference) => match reference.tag() {
            Some(tag) => Location::Registry(reference.repository().with_tag(tag.clone())),
            None => place.clone(),
        },
        Location::Layout(layout) => {
            let directory = layout.directory().to_owned();
            let name = layout.name().cloned();
            Location::Layout(dockit_registry::layout::LayoutReference::new(directory, name, None))
        }
    }
}

fn place(client: &Client, location: &Location) -> Box<dyn ImagePlace> {
    match location {
        Location::Registry(reference) => {
            Box::new(RemoteImage::new(client.clone(), reference.clone()))
        }
        Location::Layout(reference) => Box::new(LayoutImage::open(reference.clone())),
    }
}
