//! Every layer with the command that made it: from an image's config where a registry holds it, and
//! from an engine's history, which does not say which commands made a layer.

use dockit_registry::manifest::Descriptor;
use dockit_registry::{Digest, HistoryEntry};

use super::document::{LayerEntry, SizeEntry};
use crate::backend::{EngineContents, EngineHistory};

/// What a registry says about an image's layers.
pub(super) struct Held<'a> {
    /// The layers of the manifest, the lowest first.
    pub(super) layers: &'a [Descriptor],
    /// The config's history, the oldest first.
    pub(super) history: &'a [HistoryEntry],
    /// The digests of the unpacked layers.
    pub(super) diff_ids: &'a [Digest],
}

/// The layers of an image that a registry holds; with the sizes of the same image in an engine.
pub(super) fn of_registry(held: &Held<'_>, engine: Option<&EngineContents>) -> Vec<LayerEntry> {
    // A history is optional, and tools that squash images leave it wrong: then no command is told.
    let described = held.history.iter().filter(|entry| !entry.empty_layer).count();
    let bare: Vec<HistoryEntry>;
    let (history, known) = if described == held.layers.len() {
        (held.history, true)
    } else {
        bare = held.layers.iter().map(|_| HistoryEntry::default()).collect();
        (bare.as_slice(), false)
    };
    let same = |engine: &&EngineContents| {
        known && engine.layers == held.diff_ids && engine.history.len() == history.len()
    };
    let engine = engine.filter(same);
    let mut layers = held.layers.iter().zip(0..);
    history
        .iter()
        .enumerate()
        .map(|(position, entry)| {
            let command = told(&entry.created_by).filter(|_| known);
            if entry.empty_layer {
                return LayerEntry { command, empty: true, ..LayerEntry::default() };
            }
            let (layer, index): (&Descriptor, usize) =
                layers.next().expect("as many entries have a layer as there are layers");
            LayerEntry {
                command,
                empty: false,
                digest: Some(layer.digest.to_string()),
                diff_id: held.diff_ids.get(index).map(ToString::to_string),
                size: SizeEntry {
                    compressed: Some(layer.size),
                    unpacked: engine.map(|engine| engine.history[position].size),
                },
            }
        })
        .collect()
}

/// The layers of an image that only an engine holds.
pub(super) fn of_engine(engine: &EngineContents) -> Vec<LayerEntry> {
    let count = engine.layers.len();
    let filled: Vec<bool> = engine.history.iter().map(|entry| entry.size > 0).collect();
    let possible: Vec<bool> = engine.history.iter().map(may_make_layer).collect();
    let of = |marked: &[bool]| marked.iter().filter(|it| **it).count();
    let (marked, certain) = if of(&filled) == count {
        (filled, true)
    } else if of(&possible) == count {
        (possible, true)
    } else if of(&filled) < count && of(&possible) > count {
        // Some of those that added no byte made a layer. Which is not known, and their size is 0 anyway.
        let mut missing = count - of(&filled);
        let marked = filled
            .iter()
            .zip(&possible)
            .map(|(filled, possible)| {
                let taken = !filled && *possible && missing > 0;
                missing -= usize::from(taken);
                *filled || taken
            })
            .collect();
        (marked, false)
    } else {
        return engine.layers.iter().map(bare).collect();
    };
    let mut layers = engine.layers.iter();
    engine
        .history
        .iter()
        .zip(marked)
        .map(|(entry, has_layer)| {
            let layer = if has_layer { layers.next() } else { None };
            let unpacked = has_layer.then_some(entry.size);
            LayerEntry {
                command: told(&entry.command),
                empty: !has_layer,
                digest: None,
                diff_id: layer.filter(|_| certain).map(ToString::to_string),
                size: SizeEntry { compressed: None, unpacked },
            }
        })
        .collect()
}

/// What was imported has no command.
fn told(command: &str) -> Option<String> {
    (!command.is_empty()).then(|| command.to_owned())
}

fn bare(layer: &Digest) -> LayerEntry {
    LayerEntry { diff_id: Some(layer.to_string()), ..LayerEntry::default() }
}

/// Whether a command can have made a layer: not one that only says something about the image.
fn may_make_layer(entry: &EngineHistory) -> bool {
    const METADATA: &[&str] = &[
        "ARG",
        "CMD",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "HEALTHCHECK",
        "LABEL",
        "MAINTAINER",
        "ONBUILD",
        "SHELL",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
    ];
    let command = entry.command.trim_start();
    // The classic builder's way to say that nothing ran.
    let command = command.split_once("#(nop) ").map_or(command, |(_, instruction)| instruction);
    let word = command.split_whitespace().next().unwrap_or_default();
    entry.size > 0 || !METADATA.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(seed: &str) -> Digest {
        Digest::of(seed.as_bytes())
    }

    fn contents(history: &[(&str, u64)], layers: usize) -> EngineContents {
        EngineContents {
            size: history.iter().map(|(_, size)| size).sum(),
            layers: (0..layers).map(|index| digest(&index.to_string())).collect(),
            history: history
                .iter()
                .map(|(command, size)| EngineHistory {
                    command: (*command).to_owned(),
                    size: *size,
                })
                .collect(),
        }
    }

    /// One letter for each entry: a layer with its digest, one without, or none.
    fn shape(layers: &[LayerEntry]) -> String {
        layers
            .iter()
            .map(|layer| match (layer.empty, &layer.diff_id) {
                (true, _) => '-',
                (false, Some(_)) => 'L',
                (false, None) => '?',
            })
            .collect()
    }

    #[test]
    fn an_engines_history_is_told_apart_from_its_layers() {
        const ENV: (&str, u64) = ("ENV A=b", 0);
        const COPY: (&str, u64) = ("COPY a / # buildkit", 5);
        const EMPTY: (&str, u64) = ("COPY empty / # buildkit", 0);
        const RUN: (&str, u64) = ("RUN /bin/sh -c true # buildkit", 0);
        const OLD: (&str, u64) = ("/bin/sh -c #(nop)  CMD [\"bash\"]", 0);
        for (history, layers, expected) in [
            (&[COPY, ENV, COPY, OLD][..], 2, "L-L-"),
            // Layers without a byte in them are layers.
            (&[COPY, EMPTY, ENV, RUN], 3, "LL-L"),
            // One of the two made a layer; nobody knows which.
            (&[COPY, EMPTY, ENV, RUN], 2, "??--"),
            (&[], 2, "LL"),
            (&[COPY, COPY, COPY], 1, "L"),
        ] {
            let found = of_engine(&contents(history, layers));
            assert_eq!(shape(&found), expected, "{history:?} {layers}");
            assert_eq!(found.iter().filter(|layer| !layer.empty).count(), layers);
        }
    }

    #[test]
    fn a_registrys_layers_get_their_commands_and_the_engines_sizes() {
        let descriptor = |seed: &str, size| Descriptor::new("layer", digest(seed), size);
        let layers = [descriptor("x", 10), descriptor("y", 20)];
        let diff_ids = [digest("0"), digest("1")];
        let entry = |command: &str, empty_layer| {
            let mut entry = HistoryEntry::default();
            entry.created_by = command.to_owned();
            entry.empty_layer = empty_layer;
            entry
        };
        let history = [entry("ADD rootfs", false), entry("ENV A=b", true), entry("RUN x", false)];
        let held = Held { layers: &layers, history: &history, diff_ids: &diff_ids };
        let engine = contents(&[("ADD rootfs", 100), ("ENV A=b", 0), ("RUN x", 0)], 2);
        let found = of_registry(&held, Some(&engine));
        assert_eq!(shape(&found), "L-L");
        assert_eq!(found[0].size, SizeEntry { compressed: Some(10), unpacked: Some(100) });
        assert_eq!(found[2].size, SizeEntry { compressed: Some(20), unpacked: Some(0) });
        assert_eq!(found[2].command.as_deref(), Some("RUN x"));
        assert_eq!(found[2].digest, Some(digest("y").to_string()));

        // Another image in the engine says nothing about this one.
        let other = contents(&[("ADD rootfs", 100), ("ENV A=b", 0), ("RUN x", 0)], 1);
        assert_eq!(of_registry(&held, Some(&other))[0].size.unpacked, None);
        // A history that cannot be matched is no reason to leave a layer out.
        let held = Held { history: &history[..2], ..held };
        let found = of_registry(&held, Some(&engine));
        assert_eq!((shape(&found).as_str(), &found[0].command), ("LL", &None));
    }
}
