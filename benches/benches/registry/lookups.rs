//! Looking keys up.

use std::error::Error;
use std::io::Write;

use dockit_benches::statistics::{load, median, ratio};
use dockit_benches::turns::{Done, Tools};
use dockit_registry::manifest::media_type;
use dockit_registry::{Access, Client, Reference, Registry as _};
use dockit_testkit::{Auth, FaultProxy, RegistryProcess, TestImage, TokenIssuer};
use futures_util::future::{join_all, try_join_all};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::{Settings, client};

const KEYS: usize = 300;

/// As many as the client sends at a time.
const AT_A_TIME: usize = 16;

const REPOSITORY: &str = "team/app";

/// How keys are spelled as tags.
fn tag(number: usize) -> String {
    format!("key-{number:064}")
}

/// Whether a key is in the registry.
fn is_present(number: usize) -> bool {
    number.is_multiple_of(2)
}

pub(crate) fn measure(settings: &Settings, out: &mut dyn Write) -> Done {
    let registry = RegistryProcess::start(Auth::None);
    push(&registry, None);
    let references = &references(registry.host())?;
    let runtime = &settings.runtime;
    let mut tools = Tools::default();
    tools.add("dockit", || runtime.block_on(async { look_up(&client()?, references).await }));
    let warm = client()?;
    tools.add("dockit, connected", move || runtime.block_on(look_up(&warm, references)));
    tools.add("bare client", || runtime.block_on(async { ask(&bare()?, references).await }));
    let connected = bare()?;
    tools.add("bare client, connected", move || runtime.block_on(ask(&connected, references)));
    tools.take_turn()?;
    tools.forget_turns();
    let turns = if settings.quick { 5 } else { 25 };
    for _ in 0..turns {
        tools.take_turn()?;
    }
    writeln!(out, "lookups: {KEYS} keys, half of them present; {turns} turns; load {}", load())?;
    writeln!(out, "{:36} {:>9} {:>10}", "", "seconds", "/ dockit")?;
    for tool in &tools.0 {
        let seconds = median(tool.times.iter().copied());
        writeln!(out, "{:36} {seconds:9.4} {:10.2}", tool.name, {
            ratio(&tool.times, tools.times("dockit"))
        })?;
    }
    writeln!(
        out,
        "dockit / bare client: {:.2}; when both are connected: {:.2}",
        ratio(tools.times("dockit"), tools.times("bare client")),
        ratio(tools.times("dockit, connected"), tools.times("bare client, connected"))
    )?;
    drop(tools);
    writeln!(out, "requests per key: {}", requests(settings, &registry, None)?)?;
    let issuer = TokenIssuer::start();
    let registry = RegistryProcess::start(Auth::Token(&issuer));
    push(&registry, Some(&issuer));
    writeln!(
        out,
        "requests per key, of a registry with tokens: {}",
        requests(settings, &registry, Some(&issuer))?
    )?;
    Ok(())
}

fn references(host: &str) -> Result<Vec<Reference>, Box<dyn Error>> {
    (0..KEYS).map(|number| Ok(format!("{host}/{REPOSITORY}:{}", tag(number)).parse()?)).collect()
}

fn push(registry: &RegistryProcess, issuer: Option<&TokenIssuer>) {
    let authorization =
        issuer.map(|issuer| issuer.authorization(&format!("repository:{REPOSITORY}:pull,push")));
    for number in (0..KEYS).filter(|number| is_present(*number)) {
        let image = TestImage::new(&number.to_string());
        image.push(registry.host(), REPOSITORY, &tag(number), authorization.as_deref());
    }
}

/// As `dockit plan` looks up.
async fn look_up(client: &Client, references: &[Reference]) -> Done {
    let heads = join_all(
        references.iter().map(|reference| client.head_manifest(reference, Access::PullPush)),
    )
    .await;
    for (number, head) in heads.into_iter().enumerate() {
        if head?.is_some() != is_present(number) {
            return Err(format!("key {number} was found to be the opposite of what it is").into());
        }
    }
    Ok(())
}

fn bare() -> Result<reqwest::Client, Box<dyn Error>> {
    Ok(reqwest::Client::builder().no_proxy().build()?)
}

/// The same requests, with nothing behind them.
async fn ask(client: &reqwest::Client, references: &[Reference]) -> Done {
    let accept = media_type::ALL.join(", ");
    let present: Vec<bool> = stream::iter(references)
        .map(|reference| {
            let (repository, tag) = (reference.repository(), reference.tag_or_latest());
            let url =
                format!("http://{}/v2/{}/manifests/{tag}", repository.host(), repository.name());
            let request = client.head(url).header("Accept", &accept);
            async move { Ok::<_, reqwest::Error>(request.send().await?.status().is_success()) }
        })
        .buffered(AT_A_TIME)
        .try_collect()
        .await?;
    if present.iter().enumerate().any(|(number, present)| *present != is_present(number)) {
        return Err("a key was found to be the opposite of what it is".into());
    }
    Ok(())
}

/// What arrives for one key on average, from a client that knows nothing yet.
fn requests(
    settings: &Settings,
    registry: &RegistryProcess,
    issuer: Option<&TokenIssuer>,
) -> Result<String, Box<dyn Error>> {
    let proxy = FaultProxy::start(registry.host());
    let references = references(&proxy.host())?;
    let before = issuer.map_or(0, |issuer| issuer.requests().len());
    let client = client()?;
    settings.runtime.block_on(try_join_all(
        references.iter().map(|reference| client.head_manifest(reference, Access::PullPush)),
    ))?;
    let asked = proxy.exchanges().len();
    let tokens = issuer.map_or(0, |issuer| issuer.requests().len()) - before;
    let mut text = format!("{:.3}", asked as f64 / KEYS as f64);
    if issuer.is_some() {
        text.push_str(&format!(" and {tokens} tokens for all"));
    }
    Ok(text)
}
