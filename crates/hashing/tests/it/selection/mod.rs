//! Which files of a build context a Dockerfile reads, on real directories.

mod dockerfile_text;
mod links;
mod oracle;
mod reasons;
mod reference;

use std::collections::BTreeMap;
use std::path::Path;

use dockit_hashing::context::{BuildContext, ContextError, ContextOptions, Listing, Selection};
use dockit_hashing::dockerfile::{
    ContextInputs, Dockerfile, ImageConfig, ResolveOptions, ResolvedDockerfile,
};

use crate::tree::{Tree, paths};

/// A Dockerfile with everything that decides what it reads.
#[derive(Clone, Default)]
struct Build<'a> {
    text: &'a str,
    target: Option<&'a str>,
    args: &'a [(&'a str, &'a str)],
    platform: &'a [(&'a str, &'a str)],
    /// Of every base image; without it, one that sets and triggers nothing.
    base: Option<ImageConfig>,
}

fn owned(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

impl<'a> Build<'a> {
    fn of(text: &'a str) -> Self {
        Self { text, ..Self::default() }
    }

    fn look<T>(&self, look: impl FnOnce(&ResolvedDockerfile<'_>, ImageConfig) -> T) -> T {
        let (args, platform) = (owned(self.args), owned(self.platform));
        let options = ResolveOptions { target: self.target, args: &args, platform_args: &platform };
        let dockerfile = Dockerfile::parse(self.text.as_bytes()).expect(self.text);
        let resolved = dockerfile.resolve(&options).expect(self.text);
        let base = self.base.clone().unwrap_or_else(|| ImageConfig::new([], Vec::new()));
        look(&resolved, base)
    }

    fn inputs(&self) -> ContextInputs {
        self.look(|resolved, base| {
            resolved.context_inputs(&|_| Some(base.clone())).expect(self.text)
        })
    }

    fn try_list(&self, root: &Path) -> Result<Listing, ContextError> {
        let dockerfile = root.join("Dockerfile");
        let options = ContextOptions { dockerfile: Some(&dockerfile), ..Default::default() };
        BuildContext::open(root, &options)?.listing(&self.inputs().selection())
    }

    fn list(&self, root: &Path) -> Listing {
        self.try_list(root).expect(self.text)
    }

    /// The paths that it reads of a tree.
    fn paths(&self, tree: &Tree) -> Vec<String> {
        paths(&self.list(tree.plant().path()))
    }
}

fn listing(tree: &Tree, selection: &Selection) -> Listing {
    let root = tree.plant();
    let context = BuildContext::open(root.path(), &ContextOptions::default()).expect("a context");
    context.listing(selection).expect("a listing")
}
