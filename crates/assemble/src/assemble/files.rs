//! The files of stages, images and the build context, read when an instruction looks at them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use dockit_hashing::context::Contents;
use dockit_registry::ImageConfig;

use super::Assembly;
use crate::error::{AssembleError, AssembleErrorKind};
use crate::images::BaseImage;
use crate::layer::LayerCache;
use crate::tree::{Change, Tree};

/// The files of a stage. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Files {
    /// Of an image that is the lowest base, its position; it is not read yet.
    image: Option<usize>,
    /// What was put on top of what is not read yet.
    unread: Vec<Arc<Vec<Change>>>,
    /// All of it, if something looked at it.
    tree: Option<Tree>,
    /// Whether there is nothing below and no instruction has made a layer.
    nothing: bool,
}

impl Files {
    pub(super) fn scratch() -> Self {
        Self { nothing: true, ..Self::default() }
    }

    pub(super) fn of_image(position: usize) -> Self {
        Self { image: Some(position), ..Self::default() }
    }

    /// Whether there are no files that an instruction could look at.
    pub(super) fn are_nothing(&self) -> bool {
        self.nothing
    }

    /// All files.
    pub(super) fn tree(&mut self, sources: &mut Sources<'_>) -> Result<&Tree, AssembleError> {
        let mut tree = match self.tree.take() {
            Some(tree) => tree,
            None => match self.image {
                Some(position) => sources.image(position)?,
                None => Tree::default(),
            },
        };
        for changes in self.unread.drain(..) {
            tree.apply(&changes)?;
        }
        Ok(self.tree.insert(tree))
    }

    /// Goes on with a tree that was made of them.
    pub(super) fn become_tree(&mut self, tree: Tree) {
        self.nothing = false;
        self.tree = Some(tree);
    }

    /// Puts changes on top without a look at what is there.
    pub(super) fn put(&mut self, changes: Arc<Vec<Change>>) {
        self.nothing = false;
        self.unread.push(changes);
    }
}

/// What does not change while an image is assembled.
pub(super) struct Sources<'a> {
    assembly: &'a Assembly<'a>,
    context: Option<Tree>,
    images: BTreeMap<usize, Tree>,
    /// For images that are not read for others as well.
    layers: LayerCache,
}

impl<'a> Sources<'a> {
    pub(super) fn new(assembly: &'a Assembly<'a>) -> Self {
        let layers = LayerCache::new(assembly.output.directory());
        Self { assembly, context: None, images: BTreeMap::new(), layers }
    }

    /// The files of the build context.
    pub(super) fn context(&mut self) -> Result<Tree, AssembleError> {
        if let Some(tree) = &self.context {
            return Ok(tree.clone());
        }
        let contents = Contents::open(self.assembly.context)
            .map_err(|error| AssembleError::new(AssembleErrorKind::Context, error.to_string()))?;
        let tree = Tree::of_context(self.assembly.listing, &Arc::new(contents))?;
        Ok(self.context.insert(tree).clone())
    }

    fn layer_cache(&self) -> &LayerCache {
        self.assembly.images.layer_cache().unwrap_or(&self.layers)
    }

    /// Where archives are unpacked.
    pub(super) fn spools(&self) -> &Path {
        self.layer_cache().spools()
    }

    /// The files of an image that the Dockerfile names.
    pub(super) fn image(&mut self, position: usize) -> Result<Tree, AssembleError> {
        if let Some(tree) = self.images.get(&position) {
            return Ok(tree.clone());
        }
        let image = self.assembly.images.image(position)?;
        let tree = read(&image, self.layer_cache())?;
        Ok(self.images.entry(position).or_insert(tree).clone())
    }
}

fn read(image: &BaseImage, cache: &LayerCache) -> Result<Tree, AssembleError> {
    let damaged = |message: String| AssembleError::new(AssembleErrorKind::Image, message);
    let config = ImageConfig::parse(&image.config).map_err(|error| damaged(error.to_string()))?;
    image.check(config.diff_ids.len())?;
    let mut tree = Tree::default();
    for (position, layer) in image.layers.iter().enumerate() {
        let contents = cache.read(layer, config.diff_ids.get(position))?;
        tree.apply(&contents.changes)
            .map_err(|error| damaged(format!("layer {}: {error}", layer.descriptor.digest)))?;
    }
    Ok(tree)
}
