//! Trees, what changes in them, and layers in between.

use std::sync::Arc;

use dockit_assemble::assemble::Compression;
use dockit_assemble::images::BaseLayer;
use dockit_assemble::layer::read;
use dockit_assemble::tree::{Change, Node, NodeKind, Tree};
use dockit_assemble::{AssembleError, LayerBlob};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::layers::{Output, file_node, meta};

/// What is done to a tree.
#[derive(Clone, Debug)]
enum Action {
    Directory(Vec<u8>, u32),
    File(Vec<u8>, Vec<u8>),
    Link(Vec<u8>),
    Remove(Vec<u8>),
    Clear(Vec<u8>),
}

impl Action {
    fn apply(&self, tree: &mut Tree) {
        let mut put = |path: &[u8], kind, mode| {
            tree.put(path, Node { kind, meta: meta(mode) }).unwrap();
        };
        match self {
            Self::Directory(path, mode) => put(path, NodeKind::Directory, *mode),
            Self::File(path, text) => put(path, NodeKind::File(file_node(text)), 0o644),
            Self::Link(path) => put(path, NodeKind::Symlink { target: b"a".to_vec() }, 0o777),
            Self::Remove(path) => tree.remove(path),
            Self::Clear(path) => tree.clear(path),
        }
    }
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    vec(prop::sample::select(vec!["a", "b", "a.b", "\u{e9}", "-"]), 1..4)
        .prop_map(|names| names.join("/").into_bytes())
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        (path(), prop::sample::select(vec![0o755, 0o700, 0o1777]))
            .prop_map(|(path, mode)| Action::Directory(path, mode)),
        (path(), vec(any::<u8>(), 0..5)).prop_map(|(path, text)| Action::File(path, text)),
        path().prop_map(Action::Link),
        path().prop_map(Action::Remove),
        path().prop_map(Action::Clear),
    ]
}

/// Everything in a tree, to compare.
fn all(tree: &Tree) -> Vec<String> {
    let mut all = Vec::new();
    tree.walk(&mut |path, node| {
        let holds = match &node.kind {
            NodeKind::File(file) => {
                let mut bytes = Vec::new();
                file.content.write_to(&mut bytes).unwrap();
                format!("file {bytes:?}")
            }
            other => format!("{other:?}"),
        };
        all.push(format!("{} {holds} {:?}", path.escape_ascii(), node.meta));
    });
    all
}

/// A packed layer in a layout.
struct Packed(Output, dockit_assemble::layer::PackedLayer);

impl LayerBlob for Packed {
    fn open(&self) -> Result<Box<dyn std::io::Read + Send>, AssembleError> {
        Ok(Box::new(self.0.open(&self.1)))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn changes_make_of_one_tree_the_other(
        before in vec(action(), 0..12),
        after in vec(action(), 0..12),
    ) {
        let mut one = Tree::default();
        before.iter().for_each(|action| action.apply(&mut one));
        let untouched = all(&one);
        let mut other = one.clone();
        after.iter().for_each(|action| action.apply(&mut other));
        // The clone shares what it did not change, and changes nothing of what it shares.
        prop_assert_eq!(all(&one), untouched);

        let changes = other.changes_since(&one);
        prop_assert!(changes.is_sorted_by(|one, next| one.path() < next.path()));
        let mut applied = one.clone();
        applied.apply(&changes).unwrap();
        prop_assert_eq!(all(&applied), all(&other));

        // Each change lies in directories that are put as well.
        let puts: Vec<&[u8]> = changes
            .iter()
            .filter(|change| matches!(change, Change::Put(..)))
            .map(Change::path)
            .collect();
        for change in &changes {
            if let Some(slash) = change.path().iter().rposition(|byte| *byte == b'/') {
                prop_assert!(puts.contains(&&change.path()[..slash]));
            }
        }

        let output = Output::new();
        let packed = output.pack(&changes, Compression::Gzip, 2);
        let (descriptor, diff_id) = (packed.descriptor.clone(), packed.diff_id.clone());
        let spools = tempfile::tempdir().unwrap();
        let layer = BaseLayer { descriptor, blob: Arc::new(Packed(output, packed)) };
        let contents = read(&layer, Some(&diff_id), spools.path()).unwrap();
        let mut applied = one.clone();
        applied.apply(&contents.changes).unwrap();
        prop_assert_eq!(all(&applied), all(&other));
    }

    #[test]
    fn a_path_leads_to_where_no_link_is_on_the_way(
        nodes in vec((path(), prop::option::of("[ab./]{1,6}")), 0..12),
        asked in "[ab./]{0,8}",
    ) {
        let mut tree = Tree::default();
        for (path, target) in nodes {
            let kind = match target {
                Some(target) => NodeKind::Symlink { target: target.into_bytes() },
                None => NodeKind::Directory,
            };
            tree.put(&path, Node { kind, meta: meta(0o755) }).unwrap();
        }
        let Ok(resolved) = tree.resolve(asked.as_bytes()) else { return Ok(()) };
        prop_assert!(!resolved.split(|byte| *byte == b'/').any(|name| name == b".."));
        prop_assert_eq!(tree.resolve(&resolved).unwrap(), resolved.clone());
        let ends = (0..resolved.len()).filter(|at| resolved[*at] == b'/').chain([resolved.len()]);
        for end in ends {
            let node = tree.get(&resolved[..end]);
            let is_link = node.is_some_and(|node| matches!(node.kind, NodeKind::Symlink { .. }));
            prop_assert!(!is_link);
        }
    }
}
