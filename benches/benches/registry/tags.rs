//! Listing tags.

use std::error::Error;
use std::io::Write;

use dockit_benches::statistics::{load, median, peak_memory, ratio};
use dockit_benches::turns::{Done, Tools};
use dockit_registry::{Repository, Tag};
use dockit_testkit::{Auth, RegistryProcess, Reply, ScriptedServer, TestImage};
use futures_util::TryStreamExt as _;

use crate::{Settings, child, client};

const TAGS: usize = 20_000;

/// Tags on one page of a registry that has pages.
const PAGE: usize = 1_000;

const REPOSITORY: &str = "team/app";

/// Of the length that content tags have.
fn tag(number: usize) -> String {
    format!("key-{number:064}")
}

pub(crate) fn measure(settings: &Settings, out: &mut dyn Write) -> Done {
    let registry = RegistryProcess::start(Auth::None);
    TestImage::new("tags").push(registry.host(), REPOSITORY, &tag(0), None);
    registry.multiply_tag(REPOSITORY, &tag(0), (1..TAGS).map(tag));
    let paged = paged();
    let turns = if settings.quick { 3 } else { 9 };
    for (name, host) in [("one page", registry.host()), ("pages of 1,000", &*paged.host())] {
        let repository: &Repository = &format!("{host}/{REPOSITORY}").parse()?;
        let runtime = &settings.runtime;
        let mut tools = Tools::default();
        tools.add("dockit", || runtime.block_on(list(repository)));
        tools.add("bare client", || runtime.block_on(ask(repository)));
        tools.take_turn()?;
        tools.forget_turns();
        for _ in 0..turns {
            tools.take_turn()?;
        }
        writeln!(out, "tags: {TAGS} on {name}; {turns} turns; load {}", load())?;
        for tool in &tools.0 {
            writeln!(out, "{:36} {:9.4}", tool.name, median(tool.times.iter().copied()))?;
        }
        let relation = ratio(tools.times("dockit"), tools.times("bare client"));
        writeln!(out, "dockit / bare client: {relation:.2}")?;
        for mode in [MEMORY, BARE_MEMORY, IDLE_MEMORY] {
            let peak = child(&[mode, &repository.to_string()])?;
            writeln!(out, "memory, {}: {}", mode.trim_start_matches("--"), peak.trim())?;
        }
    }
    Ok(())
}

/// A registry that has pages.
fn paged() -> ScriptedServer {
    ScriptedServer::start(|request| {
        let start = request.query("last").first().map_or(0, |last| {
            last.trim_start_matches("key-").parse::<usize>().map_or(0, |number| number + 1)
        });
        let end = (start + PAGE).min(TAGS);
        let tags: Vec<String> = (start..end).map(tag).collect();
        let body = serde_json::json!({"name": REPOSITORY, "tags": tags}).to_string();
        let reply = Reply::new(200).header("Content-Type", "application/json").body(body);
        if end == TAGS {
            return reply;
        }
        let next =
            format!("</v2/{REPOSITORY}/tags/list?n={PAGE}&last={}>; rel=\"next\"", tag(end - 1));
        reply.header("Link", next)
    })
}

async fn list(repository: &Repository) -> Done {
    let client = client()?;
    let count = client
        .tags(repository)
        .try_fold(0, |count, tag: Tag| {
            std::hint::black_box(tag);
            std::future::ready(Ok(count + 1))
        })
        .await?;
    check(count)
}

/// The whole list, as JSON, without a look at any tag.
async fn ask(repository: &Repository) -> Done {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let origin = format!("http://{}", repository.host());
    let mut next = Some(format!("/v2/{}/tags/list?n={PAGE}", repository.name()));
    let mut tags = Vec::new();
    while let Some(path) = next {
        let reply = client.get(format!("{origin}{path}")).send().await?;
        let link = reply.headers().get("link").map(|link| link.to_str().map(ToOwned::to_owned));
        next =
            link.transpose()?.and_then(|link| Some(link.split_once('>')?.0.get(1..)?.to_owned()));
        let page: serde_json::Value = serde_json::from_slice(&reply.bytes().await?)?;
        tags.extend(page["tags"].as_array().into_iter().flatten().cloned());
    }
    check(tags.len())
}

fn check(count: usize) -> Done {
    if count == TAGS { Ok(()) } else { Err(format!("{count} tags instead of {TAGS}").into()) }
}

/// Lists the tags of a repository and tells how much memory that took.
pub(crate) const MEMORY: &str = "--tags";
/// The same with the bare client.
pub(crate) const BARE_MEMORY: &str = "--tags-of-bare-client";
/// The same without asking anybody.
pub(crate) const IDLE_MEMORY: &str = "--no-tags";

/// What a process of its own does, so that nothing else counts.
pub(crate) fn tell_memory(
    mode: &str,
    repository: &str,
    runtime: &tokio::runtime::Runtime,
) -> Result<String, Box<dyn Error>> {
    let repository: Repository = repository.parse()?;
    match mode {
        MEMORY => runtime.block_on(list(&repository))?,
        BARE_MEMORY => runtime.block_on(ask(&repository))?,
        _ => drop(client()?),
    }
    Ok(peak_memory()?)
}
