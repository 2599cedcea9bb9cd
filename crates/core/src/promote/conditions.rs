//! What has to hold before a promotion, besides gates.

use std::collections::BTreeMap;

use dockit_registry::{Access, Client, Digest, Reference, Registry as _};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::report::Unmet;
use super::wanted::{Names, Wanted};
use super::{AT_A_TIME, Predecessor, PromoteError, Promotion};
use crate::moving_tags::TagFacts;
use crate::source::Source;
use crate::tag_template::TagTemplate;

/// How many changed files are named.
const NAMED: usize = 3;

/// What the conditions about the sources ask for and is not so.
pub(super) fn of_sources(promotion: &Promotion, facts: &TagFacts<'_>) -> Vec<Unmet> {
    let mut unmet = Vec::new();
    let mut says = |message: String| unmet.push(Unmet { set: promotion.name.clone(), message });
    if let Some(wanted) = &promotion.branch {
        match facts.branch() {
            Ok(branch) if branch == *wanted => {}
            Ok(branch) => says(format!("this is branch {branch}, not {wanted}")),
            Err(untold) => says(format!("branch {wanted} is asked for: {untold}")),
        }
    }
    if promotion.clean {
        match facts.source {
            Source::Git(git) if git.commit.is_none() => {
                says("there is no commit yet".to_owned());
            }
            Source::Git(git) if git.changed.is_empty() => {}
            Source::Git(git) => {
                let named: Vec<&str> = git.changed.iter().take(NAMED).map(String::as_str).collect();
                let more = git.changed.len() - named.len();
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                says(format!("files differ from the commit: {}{more}", named.join(", ")));
            }
            Source::Elsewhere => says("the sources are in no git repository".to_owned()),
            Source::Unreadable(error) => says(format!("git does not say what changed: {error}")),
        }
    }
    unmet
}

/// Templates of the tags that have to be on a promotion's images already, with what they are called.
pub(super) fn before<'a>(
    promotion: &'a Promotion,
    names: &'a Names<'_>,
) -> Vec<(String, &'a TagTemplate)> {
    let mut tags = Vec::new();
    for predecessor in &promotion.after {
        match predecessor {
            Predecessor::Tag(tag) => tags.push((tag.to_string(), tag)),
            Predecessor::Promotion(name) => {
                let configured = names.project().promotions.get(name);
                let of_it = configured.into_iter().flat_map(|promotion| &promotion.tags);
                tags.extend(of_it.map(|tag| (name.clone(), tag)));
            }
        }
    }
    tags
}

/// What has to be promoted before, and is not. What this run promotes as well counts.
pub(super) async fn of_chain(
    client: &Client,
    promotions: &[Promotion],
    names: &Names<'_>,
    wanted: &[(Wanted<'_>, Digest)],
) -> Result<Vec<Unmet>, PromoteError> {
    let this_run: BTreeMap<String, &Digest> =
        wanted.iter().map(|(one, digest)| (one.target.to_string(), digest)).collect();
    let mut questions: Vec<(&str, Reference, &Digest)> = Vec::new();
    for (one, digest) in wanted {
        let promotion = &promotions[one.set];
        for (_, template) in before(promotion, names) {
            let tag = names.tag(template, one.image)?;
            let question = (&*promotion.name, one.target.repository().with_tag(tag), digest);
            if !questions.contains(&question) {
                questions.push(question);
            }
        }
    }
    let this_run = &this_run;
    let unmet = stream::iter(questions)
        .map(|(set, before, digest)| async move {
            let now = match this_run.get(&before.to_string()) {
                Some(digest) => Some((*digest).clone()),
                None => {
                    let head = client.head_manifest(&before, Access::PullPush).await;
                    let failed =
                        |error| PromoteError::Registry { failures: vec![(before.clone(), error)] };
                    head.map_err(failed)?.map(|head| head.digest)
                }
            };
            let message = match now {
                Some(now) if now == *digest => return Ok(None),
                Some(now) => format!("{before} is on {now}, not on {digest}"),
                None => format!("{before} is absent: {digest} has to be promoted to it before"),
            };
            Ok::<_, PromoteError>(Some(Unmet { set: set.to_owned(), message }))
        })
        .buffered(AT_A_TIME)
        .try_collect::<Vec<_>>()
        .await?;
    Ok(unmet.into_iter().flatten().collect())
}
