//! Puts other names in the place of image names.

use super::flags::Mention;
use super::resolve::ImageUse;

/// Replaces the mention of each use for which `name` returns something. `mentions` and `uses` have
/// the same order, which is that of the source.
pub(super) fn rewrite(
    source: &[u8],
    uses: &[ImageUse],
    mentions: &[Mention],
    name: &mut dyn FnMut(usize, &ImageUse) -> Option<String>,
) -> Vec<u8> {
    let mut rewritten = Vec::with_capacity(source.len());
    let mut at = 0;
    for (index, (used, mention)) in uses.iter().zip(mentions).enumerate() {
        let Some(name) = name(index, used) else {
            continue;
        };
        rewritten.extend_from_slice(&source[at..mention.span.start]);
        rewritten.extend_from_slice(name.as_bytes());
        rewritten.extend_from_slice(mention.quotes.as_bytes());
        at = mention.span.end;
    }
    rewritten.extend_from_slice(&source[at..]);
    rewritten
}
