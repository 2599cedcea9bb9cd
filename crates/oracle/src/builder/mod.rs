//! Builds projects and changed projects, and sees what BuildKit makes of the changes.

mod buildctl;
mod docker;

pub use buildctl::Buildctl;
pub use docker::Docker;

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{Needs, Row, State, Verdict};

/// A BuildKit behind a client that people use.
pub trait Builder: Sync {
    /// What builds, with its version.
    fn name(&self) -> String;

    /// Whether it knows this syntax.
    fn has(&self, needs: Needs) -> bool;

    /// How many builds at a time.
    fn workers(&self) -> usize;

    /// Builds a context that lies in a directory which it has not seen before.
    fn build(&self, state: &State, context: &Path) -> Result<Built, String>;

    /// The image with a shell, as a `FROM` names it.
    fn base(&self) -> String;
}

/// What came out of one build.
pub struct Built {
    /// The steps that were run, not taken from the layer cache.
    pub ran: Vec<String>,
    /// Identifies the image's configuration, and with it the layers.
    pub image: String,
}

/// The verdicts on rows, in their order. An error says why a row says nothing.
///
/// Rows of the same project share its first build. A change that leads where an earlier one has led
/// finds every step in the layer cache, but its image is not the unchanged project's.
pub fn verdicts(builder: &dyn Builder, rows: &[&Row]) -> Vec<Result<Verdict, String>> {
    let groups: Vec<&[&Row]> = rows.chunk_by(|one, next| one.before == next.before).collect();
    let next = AtomicUsize::new(0);
    let verdicts = Mutex::new(vec![Vec::new(); groups.len()]);
    std::thread::scope(|scope| {
        for _ in 0..builder.workers() {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(group) = groups.get(index) else { break };
                    let result = verdicts_on_one(builder, group);
                    verdicts.lock().unwrap()[index] = result;
                }
            });
        }
    });
    verdicts.into_inner().unwrap().concat()
}

/// Builds a project, and then every change to it.
fn verdicts_on_one(builder: &dyn Builder, rows: &[&Row]) -> Vec<Result<Verdict, String>> {
    let nonce = nonce();
    let all = |error: String| rows.iter().map(|row| Err(format!("{}: {error}", row.id))).collect();
    let before = match build(builder, &rows[0].before, &nonce) {
        Ok(before) => before,
        Err(_) if rows[0].is_random => return vec![Ok(Verdict::NeverBuilt); rows.len()],
        Err(error) => return all(format!("the unchanged project does not build: {error}")),
    };
    // Everything must come from the layer cache now, or verdicts on changes mean nothing.
    match build(builder, &rows[0].before, &nonce) {
        Ok(again) if again.ran.is_empty() && again.image == before.image => {}
        Ok(again) => return all(format!("built again, unchanged, it ran {:?}", again.ran)),
        Err(error) => return all(format!("it does not build again: {error}")),
    }
    let verdict = |row: &&Row| match build(builder, &row.after, &nonce) {
        Err(_) => Verdict::Failed,
        Ok(after) if !after.ran.is_empty() => Verdict::Rebuilt,
        Ok(after) if after.image != before.image => Verdict::OtherImage,
        Ok(_) => Verdict::Same,
    };
    rows.iter().map(|row| Ok(verdict(row))).collect()
}

fn build(builder: &dyn Builder, state: &State, nonce: &str) -> Result<Built, String> {
    let directory = tempfile::tempdir().unwrap();
    let context = directory.path().join("context");
    state.write_to(&context, nonce, &builder.base());
    let mut built = builder.build(state, &context)?;
    // The step that keeps tests apart is the first of its stage: with nothing below it, 20.10 does
    // not call it cached.
    built.ran.retain(|step| !step.contains(nonce));
    Ok(built)
}

/// A text that no other build has.
fn nonce() -> String {
    static COUNTER: AtomicUsize = AtomicUsize::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("n{:x}-{}", now.as_nanos(), COUNTER.fetch_add(1, Ordering::Relaxed))
}
