//! Whole images.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use dockit_assemble::assemble::{AssemblyEvent, Compression};
use dockit_assemble::images::BaseLayer;
use dockit_assemble::layer::LayerCache;
use dockit_assemble::tree::{NodeKind, Tree};
use dockit_assemble::{
    AssembleError, AssembleErrorKind, Assembled, Assembly, BaseImage, Images, LayerBlob, assemble,
};
use dockit_hashing::context::{BuildContext, ContextOptions, Selection};
use dockit_hashing::dockerfile::{Dockerfile, ResolveOptions};
use dockit_registry::layout::Layout;
use dockit_registry::manifest::{Descriptor, ImageManifest, Manifest};
use dockit_registry::{ImageConfig, Platform};
use tempfile::TempDir;

/// Counts how often a layer is read.
struct Counted {
    bytes: Vec<u8>,
    opened: Arc<AtomicUsize>,
}

impl LayerBlob for Counted {
    fn open(&self) -> Result<Box<dyn Read + Send>, AssembleError> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(io::Cursor::new(self.bytes.clone())))
    }
}

/// One build.
struct Build {
    context: TempDir,
    output: TempDir,
    compression: Compression,
    threads: usize,
    base: Option<Arc<BaseImage>>,
    /// How often its layers were read.
    opened: Arc<AtomicUsize>,
    labels: BTreeMap<String, String>,
    events: Mutex<Vec<String>>,
}

impl Images for Build {
    fn image(&self, _: usize) -> Result<Arc<BaseImage>, AssembleError> {
        let none = || AssembleError::new(AssembleErrorKind::Image, "there is no image");
        self.base.clone().ok_or_else(none)
    }
}

impl Build {
    fn new(files: &[(&str, &str)]) -> Self {
        let context = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = context.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self {
            context,
            output: tempfile::tempdir().unwrap(),
            compression: Compression::Gzip,
            threads: 2,
            base: None,
            opened: Arc::default(),
            labels: BTreeMap::new(),
            events: Mutex::default(),
        }
    }

    /// The same with the image of another build as base.
    fn on(mut self, base: &Build, image: &Assembled) -> Self {
        let layers = base.manifest(image).layers.into_iter().map(|descriptor| {
            let bytes = base.blob(&descriptor);
            let blob = Arc::new(Counted { bytes, opened: self.opened.clone() });
            BaseLayer { descriptor, blob }
        });
        let layers = layers.collect();
        self.base = Some(Arc::new(BaseImage { config: base.blob(&image.config), layers }));
        self
    }

    fn layout(&self) -> Layout {
        Layout::create(self.output.path()).unwrap()
    }

    fn blob(&self, blob: &Descriptor) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.layout().open_blob(blob).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn manifest(&self, image: &Assembled) -> ImageManifest {
        match image.manifest.parse().unwrap() {
            Manifest::Image(manifest) => manifest,
            Manifest::Index(_) => panic!("an image is assembled"),
        }
    }

    fn config(&self, image: &Assembled) -> ImageConfig {
        ImageConfig::parse(&self.blob(&image.config)).unwrap()
    }

    fn run(&self, dockerfile: &str) -> Result<Assembled, AssembleError> {
        self.run_after(dockerfile, |_| {})
    }

    /// Does something to the build context once it is listed.
    fn run_after(
        &self,
        dockerfile: &str,
        meanwhile: impl FnOnce(&Path),
    ) -> Result<Assembled, AssembleError> {
        let dockerfile = Dockerfile::parse(dockerfile.as_bytes()).unwrap();
        let none = BTreeMap::new();
        let options = ResolveOptions { target: None, args: &none, platform_args: &none };
        let context = BuildContext::open(self.context.path(), &ContextOptions::default()).unwrap();
        let listing = context.listing(&Selection::whole()).unwrap();
        meanwhile(self.context.path());
        assemble(&Assembly {
            dockerfile: &dockerfile.resolve(&options).unwrap(),
            context: self.context.path(),
            listing: &listing,
            platform: &Platform::linux_amd64(),
            labels: &self.labels,
            images: self,
            output: &self.layout(),
            compression: self.compression,
            threads: NonZeroUsize::new(self.threads).unwrap(),
            observer: &|event| {
                let event = match event {
                    AssemblyEvent::StepStarted { number, text } => format!("{number} {text}"),
                    AssemblyEvent::StepFinished { number, .. } => format!("{number}"),
                    _ => panic!("there is no other event"),
                };
                self.events.lock().unwrap().push(event);
            },
        })
    }

    /// The files of an image, as a line each.
    fn files(&self, image: &Assembled) -> Vec<String> {
        let cache = LayerCache::new(self.output.path());
        let mut tree = Tree::default();
        let diff_ids = self.config(image).diff_ids;
        let layers = self.manifest(image).layers;
        assert_eq!(layers.len(), diff_ids.len());
        for (descriptor, diff_id) in layers.into_iter().zip(&diff_ids) {
            let bytes = match image.base_layers.iter().find(|base| base.descriptor == descriptor) {
                Some(base) => {
                    let mut bytes = Vec::new();
                    base.blob.open().unwrap().read_to_end(&mut bytes).unwrap();
                    bytes
                }
                None => self.blob(&descriptor),
            };
            let blob = Arc::new(Counted { bytes, opened: Arc::default() });
            let layer = cache.read(&BaseLayer { descriptor, blob }, Some(diff_id)).unwrap();
            tree.apply(&layer.changes).unwrap();
        }
        let mut lines = Vec::new();
        tree.walk(&mut |path, node| {
            let path = String::from_utf8_lossy(path);
            let holds = match &node.kind {
                NodeKind::File(file) => {
                    let mut bytes = Vec::new();
                    file.content.write_to(&mut bytes).unwrap();
                    format!("={}", String::from_utf8_lossy(&bytes))
                }
                NodeKind::Directory => "/".to_owned(),
                other => format!(" {other:?}"),
            };
            lines.push(format!("{path}{holds}"));
        });
        lines
    }
}

const FILES: &[(&str, &str)] = &[("a", "text of a"), ("d/b", "text of b"), ("d/e/c", "text of c")];

#[test]
fn an_image_has_the_layers_of_its_own_stages_alone() {
    let mut build = Build::new(FILES);
    build.labels.insert("l".to_owned(), "outside".to_owned());
    let image = build
        .run(
            "FROM scratch AS unused\nCOPY a /unused\n\
             FROM scratch AS tools\nCOPY d /tools/\nWORKDIR /x\n\
             FROM scratch AS first\nCOPY a /a\nENV X=y\n\
             FROM first\nCOPY --from=tools /tools/e /e\nCOPY none* /\nWORKDIR /\nWORKDIR /w\nLABEL l=m\n",
        )
        .unwrap();
    let manifest = build.manifest(&image);
    assert_eq!(manifest.layers.len(), 4);
    assert_eq!(manifest.config, image.config);
    assert!(manifest.annotations.is_empty());
    assert!(image.base_layers.is_empty());
    assert_eq!(build.files(&image), ["a=text of a", "e/", "e/c=text of c", "w/"]);
    let config = build.config(&image);
    assert_eq!(config.labels["l"], "outside");
    let history: Vec<_> = config.history.iter().map(|entry| entry.empty_layer).collect();
    assert_eq!(history, [false, true, false, false, true, false, true]);
    // Only what the image consists of is packed: its layers, configuration and manifest.
    let blobs = fs::read_dir(build.output.path().join("blobs/sha256")).unwrap().count();
    assert_eq!(blobs, 6);
    assert!(build.layout().names().unwrap().is_empty());
}

#[test]
fn the_same_inputs_give_the_same_bytes_everywhere() {
    let dockerfile = "FROM scratch\nCOPY . /all/\nCOPY --chown=5 <<E a /x/\ntext\nE\nWORKDIR /w\n";
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let image = |files: &[(&str, &str)], threads, mode: u32, time: u64| {
            let mut build = Build::new(files);
            (build.compression, build.threads) = (compression, threads);
            for path in ["a", "d/b", "d/e", "d"] {
                let path = build.context.path().join(path);
                let kept = fs::metadata(&path).unwrap().is_dir() as u32 * 0o111;
                set_mode(&path, mode | kept);
                let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(time);
                fs::File::open(&path).unwrap().set_modified(time).unwrap();
            }
            build.run(dockerfile).unwrap().manifest
        };
        let turned: Vec<_> = FILES.iter().rev().copied().collect();
        let one = image(FILES, 1, 0o600, 1);
        assert_eq!(one, image(&turned, 7, 0o664, 2_000_000_000), "{compression:?}");
    }
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
    fs::set_permissions(path, mode).unwrap();
}

#[cfg(not(unix))]
fn set_mode(_: &Path, _: u32) {}

#[test]
fn commands_are_refused_before_anything_is_written() {
    let build = Build::new(FILES);
    let text =
        "FROM scratch AS one\nCOPY a /\nFROM scratch\nCOPY --from=one / /\nRUN make \\\n  all\n";
    let error = build.run(text).map(drop).unwrap_err();
    assert_eq!((error.kind(), error.line()), (AssembleErrorKind::NeedsCommands, Some(5)));
    assert!(error.to_string().contains("RUN make"), "{error}");
    assert!(!build.output.path().join("blobs").join("sha256").exists());
    // One that the image does not need is none.
    build.run("FROM scratch AS one\nRUN make\nFROM scratch\nCOPY a /\n").unwrap();
}

#[test]
fn a_base_is_read_where_an_instruction_looks_at_it_and_only_once() {
    let below = Build::new(FILES);
    let base = below.run("FROM scratch\nCOPY d /data/\nCOPY a /data/\n").unwrap();
    for (steps, opened) in [
        ("ENV A=b", 0),
        ("COPY --link d/b /data/b", 0),
        ("WORKDIR /\nUSER 5\nCOPY --link d /data/", 0),
        ("COPY a /x", 2),
        ("COPY --link a /new\nWORKDIR /new2\nCOPY a /data/e", 2),
        ("COPY --from=image /data /copy", 2),
        ("COPY a /x\nFROM image\nCOPY a /y", 2),
    ] {
        let build = Build::new(&[("a", "new a"), ("d/b", "new b")]).on(&below, &base);
        let image = build.run(&format!("FROM image\n{steps}\n")).unwrap();
        // Contents of COPY --from are unpacked once more.
        let read = build.opened.load(Ordering::Relaxed);
        let unpacked = usize::from(steps.contains("--from"));
        assert!(read >= opened && read <= opened * (1 + unpacked), "{steps}: {read}");
        assert_eq!(image.base_layers.len(), 2, "{steps}");
        let layers = build.manifest(&image).layers;
        assert_eq!(layers[..2], below.manifest(&base).layers[..], "{steps}");
    }
    let build = Build::new(&[("a", "new a")]).on(&below, &base);
    let image = build.run("FROM image\nCOPY --link a /data/b\nCOPY --link a /data/e/\n").unwrap();
    let expected = [
        "data/",
        "data/a=text of a",
        "data/b=new a",
        "data/e/",
        "data/e/a=new a",
        "data/e/c=text of c",
    ];
    assert_eq!(build.files(&image), expected);
    let build = Build::new(&[]).on(&below, &base);
    let image = build.run("FROM image AS b\nFROM scratch\nCOPY --from=b data/e /x\n").unwrap();
    assert_eq!(build.files(&image), ["x/", "x/c=text of c"]);
}

#[test]
fn dockers_names_of_layers_become_those_of_the_image_spec() {
    let below = Build::new(FILES);
    let base = below.run("FROM scratch\nCOPY a /\n").unwrap();
    let mut build = Build::new(FILES).on(&below, &base);
    let mut image = BaseImage {
        config: build.base.as_ref().unwrap().config.clone(),
        layers: build.base.as_ref().unwrap().layers.clone(),
    };
    let docker = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    docker.clone_into(&mut image.layers[0].descriptor.media_type);
    build.base = Some(Arc::new(image));
    let image = build.run("FROM image\nENV A=b\n").unwrap();
    assert_eq!(build.manifest(&image).layers, below.manifest(&base).layers);
    assert_eq!(image.base_layers[0].descriptor.media_type, docker);
}

#[test]
fn what_cannot_be_done_says_where() {
    let build = Build::new(FILES);
    for (text, kind, line) in [
        ("FROM scratch\nCOPY a /\nCOPY missing /\n", AssembleErrorKind::Instruction, Some(3)),
        ("FROM scratch\n\nCOPY --chmod=9 a /\n", AssembleErrorKind::Instruction, Some(3)),
        ("FROM scratch\nCOPY --chown=name a /\n", AssembleErrorKind::Instruction, Some(2)),
        (
            "FROM scratch AS s\nFROM --platform=nonsense scratch\nCOPY a /\n",
            AssembleErrorKind::Instruction,
            Some(2),
        ),
        ("FROM scratch\nEXPOSE x\n", AssembleErrorKind::Instruction, Some(2)),
        ("# none\nFROM image\n", AssembleErrorKind::Image, Some(2)),
        ("FROM scratch\nCOPY --from=image / /\n", AssembleErrorKind::Image, Some(2)),
    ] {
        let error = build.run(text).map(drop).unwrap_err();
        assert_eq!((error.kind(), error.line()), (kind, line), "{text}: {error}");
    }
    let text = "FROM scratch\nCOPY a /\n";
    let changed = build.run_after(text, |root| fs::write(root.join("a"), "TEXT OF A").unwrap());
    let error = changed.map(drop).unwrap_err();
    assert_eq!((error.kind(), error.line()), (AssembleErrorKind::Context, Some(2)), "{error}");
}

#[test]
fn a_base_has_the_layers_that_its_configuration_tells_of() {
    let below = Build::new(FILES);
    let base = below.run("FROM scratch\nCOPY a /\nCOPY d /\n").unwrap();
    for (text, line) in [
        ("FROM scratch AS s\n\nFROM image\n", 3),
        ("FROM image\nCOPY --link a /\n", 1),
        ("FROM scratch\nCOPY --from=image / /\n", 2),
    ] {
        for change in [-1, 1] {
            let mut build = Build::new(FILES).on(&below, &base);
            let image = build.base.take().unwrap();
            let mut layers = image.layers.clone();
            layers.push(layers[0].clone());
            layers.truncate(2_usize.saturating_add_signed(change));
            build.base = Some(Arc::new(BaseImage { config: image.config.clone(), layers }));
            let error = build.run(text).map(drop).unwrap_err();
            assert_eq!((error.kind(), error.line()), (AssembleErrorKind::Image, Some(line)));
            assert!(error.to_string().contains("tells of 2"), "{error}");
        }
    }
}

#[test]
fn steps_are_told_as_they_begin_and_end() {
    let build = Build::new(FILES);
    build.run("FROM scratch AS s\nCOPY a /\nFROM s\nENV A=b\nWORKDIR x\n").unwrap();
    let expected = ["0 COPY a / # buildkit", "0", "1 ENV A=b", "1", "2 WORKDIR /x", "2"];
    assert_eq!(*build.events.lock().unwrap(), expected);
}
