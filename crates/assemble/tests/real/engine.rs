//! Images as the engine's BuildKit makes them.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dockit_buildkit::{
    Build, Client, Entry, EntryKind, FileTree, NoFiles, Output, TcpDial, UnixDial, compare_paths,
};
use dockit_hashing::context::{
    Archive, BuildContext, Contents, ContextOptions, Listing, Node, Selection,
};

use dockit_testkit::{Auth, RegistryProcess, exchange};
use sha2::{Digest, Sha256};

/// What the engine is to build.
#[derive(Clone, Default)]
pub(crate) struct Request<'a> {
    pub(crate) dockerfile: &'a str,
    /// The build context: everything in this directory that its ignore file leaves. Without one there is
    /// nothing to copy.
    pub(crate) context: Option<&'a Path>,
    pub(crate) target: Option<&'a str>,
    pub(crate) args: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
}

/// An image as the engine stores it.
pub(crate) struct SavedImage {
    /// Its configuration, byte for byte.
    pub(crate) config: Vec<u8>,
    /// Its layers, the lowest first: archives that are not compressed.
    pub(crate) layers: Vec<Vec<u8>>,
}

/// An image in the engine's store for as long as this lives.
pub(crate) struct NamedImage {
    /// What a `FROM` may call it.
    pub(crate) name: String,
    pub(crate) saved: SavedImage,
}

/// Builds an image, which has to have a layer: an engine cannot save one without. An error is in the
/// engine's words.
pub(crate) fn build(request: &Request<'_>) -> Result<SavedImage, String> {
    Ok(build_named(request)?.take())
}

/// Builds an image for others to be based on.
pub(crate) fn build_named(request: &Request<'_>) -> Result<NamedImage, String> {
    let name = new_name();
    let mut build = described(request);
    build.output = Output::EngineStore { names: vec![name.clone()] };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = Client::docker_engine(UnixDial::new("/var/run/docker.sock"), Some("1.41"));
    let built = runtime.block_on(client.build(&build, &mut |_| ControlFlow::Continue(())));
    built.map_err(|error| error.to_string())?;
    let mut image =
        NamedImage { name, saved: SavedImage { config: Vec::new(), layers: Vec::new() } };
    image.saved = saved(&docker(&["save", &image.name], &[]));
    Ok(image)
}

/// Builds an image with the buildkitd at an address, `unix:///PATH` or `tcp://HOST:PORT`, which has to reach
/// registries on this machine's loopback interface. An error is in its words.
pub(crate) fn build_elsewhere(request: &Request<'_>, address: &str) -> Result<SavedImage, String> {
    let registry = RegistryProcess::start(Auth::None);
    let mut build = described(request);
    let repository = format!("{}/built", registry.host());
    build.output = Output::Push { repository, by_digest: true, insecure: true };
    let client = match address.split_once("://") {
        Some(("unix", path)) => Client::buildkitd(UnixDial::new(path)),
        Some(("tcp", host)) => Client::buildkitd(TcpDial::new(host)),
        _ => panic!("{address} is no address of a buildkitd"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let built = runtime.block_on(client.build(&build, &mut |_| ControlFlow::Continue(())));
    let built = built.map_err(|error| error.to_string())?;
    let fetch = |path: String| {
        let accepted = dockit_registry::manifest::media_type::ALL.join(", ");
        let path = format!("/v2/built/{path}");
        let reply = exchange(registry.host(), "GET", &path, &[("Accept", &accepted)], b"").unwrap();
        assert_eq!(reply.status(), 200, "{path}");
        reply.body
    };
    let json = |bytes: Vec<u8>| serde_json::from_slice::<serde_json::Value>(&bytes).unwrap();
    let mut manifest = json(fetch(format!("manifests/{}", built.digest().unwrap())));
    if let Some(first) = manifest["manifests"][0]["digest"].as_str() {
        manifest = json(fetch(format!("manifests/{first}")));
    }
    let blob = |entry: &serde_json::Value| {
        let bytes = fetch(format!("blobs/{}", entry["digest"].as_str().unwrap()));
        if !bytes.starts_with(b"\x1f\x8b") {
            return bytes;
        }
        let mut unpacked = Vec::new();
        flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut unpacked).unwrap();
        unpacked
    };
    let layers = manifest["layers"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(SavedImage { config: blob(&manifest["config"]), layers: layers.iter().map(blob).collect() })
}

/// A build without a place for its result.
fn described(request: &Request<'_>) -> Build {
    let (context, id): (Arc<dyn FileTree>, _) = match request.context {
        None => (Arc::new(NoFiles), "no files".to_owned()),
        Some(directory) => {
            let listing = listing(directory);
            let id = listing.hash().to_string();
            (Arc::new(ListedFiles::open(directory, listing)), id)
        }
    };
    let mut build = Build::new(request.dockerfile, context, id);
    build.target = request.target.map(str::to_owned);
    build.args.clone_from(&request.args);
    build.labels.clone_from(&request.labels);
    build
}

/// Brings an image into the engine's store: this configuration, whose `rootfs` is filled in, and these
/// archives as layers.
pub(crate) fn load(mut config: serde_json::Value, layers: Vec<Vec<u8>>) -> NamedImage {
    let digests = layers.iter().map(|layer| format!("sha256:{:x}", Hex(layer)));
    let diff_ids: Vec<String> = digests.collect();
    config["rootfs"] = serde_json::json!({ "type": "layers", "diff_ids": diff_ids });
    let name = new_name();
    let names: Vec<_> = (0..layers.len()).map(|number| format!("{number}/layer.tar")).collect();
    let manifest =
        serde_json::json!([{ "Config": "config.json", "RepoTags": [&name], "Layers": names }]);
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |name: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, content).unwrap();
    };
    let config = config.to_string().into_bytes();
    add("config.json", &config);
    for (name, layer) in names.iter().zip(&layers) {
        add(name, layer);
    }
    add("manifest.json", manifest.to_string().as_bytes());
    docker(&["load", "--quiet"], &archive.into_inner().unwrap());
    NamedImage { name, saved: SavedImage { config, layers } }
}

impl NamedImage {
    fn take(mut self) -> SavedImage {
        let nothing = SavedImage { config: Vec::new(), layers: Vec::new() };
        std::mem::replace(&mut self.saved, nothing)
    }
}

impl Drop for NamedImage {
    fn drop(&mut self) {
        // The name alone: another test may have the same image.
        drop(Command::new("docker").args(["image", "rm", &self.name]).output());
    }
}

/// Everything in a directory that its ignore file leaves.
pub(crate) fn listing(directory: &Path) -> Listing {
    let context = BuildContext::open(directory, &ContextOptions::default()).unwrap();
    context.listing(&Selection::whole()).unwrap()
}

/// A name that no other test and no other run has.
fn new_name() -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("dockit-assemble-test:n{:x}-{count}", now.as_nanos())
}

/// What the program prints, given this as its input.
fn docker(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new("docker");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // One that ends early says why.
    drop(stdin.write_all(input));
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// What `docker save` wrote of one image.
fn saved(archive: &[u8]) -> SavedImage {
    let mut files = BTreeMap::new();
    let mut links = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        if let Some(target) = entry.link_name().unwrap() {
            // A layer that is there twice is a link: `../ID/layer.tar`.
            let target = target.strip_prefix("..").unwrap().to_owned();
            links.insert(path, target);
            continue;
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        files.insert(path, content);
    }
    let file = |name: &str| {
        let path = Path::new(name);
        files[links.get(path).map_or(path, |target| target.as_path())].clone()
    };
    let manifest: serde_json::Value = serde_json::from_slice(&file("manifest.json")).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let layers = manifest[0]["Layers"].as_array().map(Vec::as_slice).unwrap_or_default();
    SavedImage {
        config: file(&text(&manifest[0]["Config"])),
        layers: layers.iter().map(|layer| file(&text(layer))).collect(),
    }
}

/// The SHA-256 of bytes, in hexadecimal.
struct Hex<'a>(&'a [u8]);

impl std::fmt::LowerHex for Hex<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Sha256::digest(self.0).iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// The files of a listing, in BuildKit's order.
struct ListedFiles {
    contents: Contents,
    listing: Listing,
    /// By number, the position in the listing.
    order: Vec<usize>,
}

impl ListedFiles {
    fn open(directory: &Path, listing: Listing) -> Self {
        let entries = listing.entries();
        let path = |position: &usize| entries[*position].path().as_bytes();
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by(|one, other| compare_paths(path(one), path(other)));
        Self { contents: Contents::open(directory).unwrap(), listing, order }
    }

    fn listed(&self, number: usize) -> &dockit_hashing::context::Entry {
        &self.listing.entries()[self.order[number]]
    }
}

impl FileTree for ListedFiles {
    fn len(&self) -> usize {
        self.order.len()
    }

    fn entry(&self, number: usize) -> Entry<'_> {
        let listed = self.listed(number);
        let (kind, mode) = match listed.node() {
            Node::File { mode, size, .. } => (EntryKind::File { size: *size }, mode.bits()),
            Node::Symlink { target } => (EntryKind::Symlink { target }, 0o777),
            Node::Directory { mode } => (EntryKind::Directory, mode.bits()),
            other => unreachable!("{other:?} is in no listing"),
        };
        Entry { path: listed.path().as_bytes(), kind, mode, modified: Archive::TIME.cast_signed() }
    }

    fn write_content(&self, number: usize, out: &mut dyn Write) -> io::Result<()> {
        self.contents.write(self.listed(number), out).map_err(io::Error::other)
    }
}

#[test]
fn an_image_is_saved_with_its_configuration_and_layers() {
    let context = tempfile::tempdir().unwrap();
    std::fs::write(context.path().join("a"), "content of a").unwrap();
    let dockerfile = "FROM scratch\nCOPY a /\nCOPY a /b\nCOPY a /\nLABEL x=y\n";
    let request = Request { dockerfile, context: Some(context.path()), ..Request::default() };
    let base = build_named(&request).unwrap();
    assert_eq!(base.saved.layers.len(), 3);
    let config: serde_json::Value = serde_json::from_slice(&base.saved.config).unwrap();
    assert_eq!(config["config"]["Labels"]["x"], "y");
    assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{:x}", Hex(&base.saved.layers[0])));

    let dockerfile = format!("FROM {}\nENV Z=1\n", base.name);
    let image = build(&Request { dockerfile: &dockerfile, ..Request::default() }).unwrap();
    assert_eq!(image.layers, base.saved.layers);
    let failed = build(&Request { dockerfile: "FROM scratch\nCOPY b /\n", ..Request::default() });
    assert!(failed.is_err_and(|error| error.contains("not found")));
}

#[test]
fn a_loaded_image_is_a_base_as_it_is() {
    let mut layer = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o640);
    layer.append_data(&mut header, "file", &b"x"[..]).unwrap();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": { "Env": ["A=loaded"] },
    });
    let base = load(config, vec![layer.into_inner().unwrap()]);
    let dockerfile = format!("FROM {}\nLABEL a=$A\n", base.name);
    let image = build(&Request { dockerfile: &dockerfile, ..Request::default() }).unwrap();
    assert_eq!(image.layers, base.saved.layers);
    let config: serde_json::Value = serde_json::from_slice(&image.config).unwrap();
    assert_eq!(config["config"]["Labels"]["a"], "loaded");
}
