//! The registry client against real registries on loopback, as ratios to peers.
//!
//! ```text
//! cargo bench -p dockit-benches --bench registry -- [--quick] [lookups] [tags] [copy]
//! ```
//!
//! Without a name all are measured, which takes about two minutes on two cores. `--quick` takes fewer
//! turns and moves less. Everything needs `docker-registry`, and `copy` needs `skopeo`; `scripts/setup`
//! installs both. What is generated is in temporary directories and removed afterwards; at most about
//! 2 GB of disk are used at a time.
//!
//! What is compared takes turns, and ratios are taken within each turn; what is printed is the median
//! of all turns.
//!
//! - *lookups*: 300 keys of which half are present, as a plan looks them up, next to a bare HTTP client
//!   that sends the same requests with the same concurrency and believes every answer; and how many
//!   requests arrive for each key.
//! - *tags*: a list of 20,000 tags on one page, as `docker-registry` 2.8 gives it, and on pages of
//!   1,000, next to a bare client that holds the whole list; and the most memory each needs.
//! - *copy*: 40 layers of 10 MB, and one of 500 MB, from one registry to another, next to
//!   `skopeo copy`; then once more, when nothing is left to do; and the most memory.

mod copies;
mod lookups;
mod tags;

use std::error::Error;
use std::io::Write;
use std::process::Command;
use std::sync::Arc;

use dockit_benches::turns::Done;
use dockit_registry::{
    Client, Credential, CredentialError, CredentialSource, Issued, RegistryHost, Secret,
};
use dockit_testkit::{PASSWORD, USERNAME};

/// Settings of a measurement.
struct Settings {
    quick: bool,
    runtime: tokio::runtime::Runtime,
}

type Measurement = fn(&Settings, &mut dyn Write) -> Done;

const MEASUREMENTS: [(&str, Measurement); 3] =
    [("lookups", lookups::measure), ("tags", tags::measure), ("copy", copies::measure)];

fn main() -> Done {
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| "another TLS provider is installed")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let [mode @ (tags::MEMORY | tags::BARE_MEMORY | tags::IDLE_MEMORY), repository] = &*words {
        writeln!(std::io::stdout(), "{}", tags::tell_memory(mode, repository, &runtime)?)?;
        return Ok(());
    }
    if let [copies::COPY, from, to] = &*words {
        writeln!(std::io::stdout(), "{}", copies::tell_copy(from, to, &runtime)?)?;
        return Ok(());
    }
    let (flags, names): (Vec<&str>, Vec<&str>) =
        words.into_iter().partition(|argument| argument.starts_with("--"));
    if let Some(name) = names.iter().find(|name| MEASUREMENTS.iter().all(|one| one.0 != **name)) {
        return Err(format!("no measurement is named {name}").into());
    }
    let settings = Settings { quick: flags.contains(&"--quick"), runtime };
    let mut out = std::io::stdout().lock();
    for (name, measure) in MEASUREMENTS {
        if names.is_empty() || names.contains(&name) {
            measure(&settings, &mut out)?;
            writeln!(out)?;
        }
    }
    Ok(())
}

/// What this program prints in a process of its own, in which nothing else needs time or memory.
fn child(arguments: &[&str]) -> Result<String, Box<dyn Error>> {
    let output = Command::new(std::env::current_exe()?).args(arguments).output()?;
    if !output.status.success() {
        let problem = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{} failed: {problem}", arguments.join(" ")).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// A client that logs in as the user that test registries know.
fn client() -> Result<Client, Box<dyn Error>> {
    Ok(Client::builder().no_proxy(true).credentials(Arc::new(User)).build()?)
}

struct User;

#[async_trait::async_trait]
impl CredentialSource for User {
    async fn credential(&self, _: &RegistryHost) -> Result<Issued, CredentialError> {
        Ok(Credential::Basic { username: USERNAME.into(), password: Secret::new(PASSWORD) }.into())
    }
}
