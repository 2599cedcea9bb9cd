//! `dockit tag --set` with a registry that keeps what it is given, and refuses what a test wants.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use dockit_testkit::{Reply, Request, ScriptedServer, TestImage};
use serde_json::{Value, json};

use crate::run::{Project, Ran};

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

#[derive(Default)]
struct State {
    /// By repository and digest, with media types.
    manifests: BTreeMap<(String, String), (String, Vec<u8>)>,
    tags: BTreeMap<String, String>,
    blobs: BTreeSet<String>,
    /// Method and end of the path of requests that are refused, and with what.
    refused: Vec<(&'static str, String, Reply)>,
    /// Puts a tag elsewhere as soon as this file is there.
    rival: Option<(std::path::PathBuf, String, String)>,
}

struct Registry {
    server: ScriptedServer,
    state: Arc<Mutex<State>>,
}

fn error(status: u16, code: &str) -> Reply {
    let body = json!({"errors": [{"code": code, "message": code.to_lowercase()}]});
    Reply::new(status).header("Content-Type", "application/json").body(body.to_string())
}

impl State {
    fn answer(&mut self, request: &Request) -> Reply {
        if let Some((file, target, digest)) = &self.rival
            && file.exists()
        {
            self.tags.insert(target.clone(), digest.clone());
            self.rival = None;
        }
        let path = request.path().trim_start_matches("/v2/").to_owned();
        let refused = self
            .refused
            .iter()
            .find(|(method, end, _)| *method == request.method && path.ends_with(end.as_str()));
        if let Some((_, _, reply)) = refused {
            return reply.clone();
        }
        if let Some((repository, name)) = path.split_once("/manifests/") {
            return self.manifest(request, repository, name);
        }
        if path.contains("/blobs/uploads/") {
            let digest = request.query("digest").first().map(|it| it.replace("%3A", ":"));
            return match (&*request.method, digest) {
                ("PUT", Some(digest)) => {
                    self.blobs.insert(digest.clone());
                    Reply::new(201).header("Docker-Content-Digest", digest)
                }
                ("DELETE", _) => Reply::new(204),
                _ => Reply::new(202).header("Location", format!("/v2/{path}one")),
            };
        }
        if let Some((_, digest)) = path.split_once("/blobs/") {
            let there = self.blobs.contains(digest);
            return if there { Reply::new(200) } else { error(404, "BLOB_UNKNOWN") };
        }
        if let Some((repository, subject)) = path.split_once("/referrers/") {
            let of = self.manifests.iter().filter(|((place, _), _)| place == repository);
            let list: Vec<Value> = of
                .filter_map(|((_, digest), (media_type, bytes))| {
                    let manifest: Value = serde_json::from_slice(bytes).unwrap();
                    (manifest["subject"]["digest"] == subject).then(|| {
                        json!({
                            "mediaType": media_type, "digest": digest, "size": bytes.len(),
                            "artifactType": manifest["artifactType"],
                        })
                    })
                })
                .collect();
            let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list});
            return Reply::new(200).header("Content-Type", OCI_INDEX).body(index.to_string());
        }
        Reply::new(200)
    }

    fn manifest(&mut self, request: &Request, repository: &str, name: &str) -> Reply {
        let target = format!("{repository}:{name}");
        match &*request.method {
            "PUT" => {
                let digest = sha256(request.body());
                let media_type = request.header("Content-Type").unwrap().to_owned();
                let bytes = request.body().to_vec();
                let parsed: Value = serde_json::from_slice(&bytes).unwrap();
                self.manifests.insert((repository.to_owned(), digest.clone()), (media_type, bytes));
                if !name.contains(':') {
                    self.tags.insert(target, digest.clone());
                }
                let reply = Reply::new(201).header("Docker-Content-Digest", digest);
                match parsed["subject"]["digest"].as_str() {
                    Some(subject) => reply.header("OCI-Subject", subject),
                    None => reply,
                }
            }
            "DELETE" => match self.tags.remove(&target) {
                Some(_) => Reply::new(202),
                None => error(404, "MANIFEST_UNKNOWN"),
            },
            _ => {
                let digest = self.tags.get(&target).cloned().unwrap_or_else(|| name.to_owned());
                match self.manifests.get(&(repository.to_owned(), digest.clone())) {
                    Some((media_type, bytes)) => Reply::new(200)
                        .header("Content-Type", media_type)
                        .header("Docker-Content-Digest", digest)
                        .body(bytes.clone()),
                    None => error(404, "MANIFEST_UNKNOWN"),
                }
            }
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    dockit_registry::Digest::of(bytes).to_string()
}

impl Registry {
    fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let server = ScriptedServer::start(move |request| shared.lock().unwrap().answer(request));
        Self { server, state }
    }

    /// Puts an image there, which differs from others by its seed; its digest.
    fn put(&self, repository: &str, tag: &str, seed: &str) -> String {
        let image = TestImage::new(seed);
        let mut state = self.state.lock().unwrap();
        state.blobs.extend([image.config_digest(), sha256(&image.layer)]);
        let place = (repository.to_owned(), image.digest());
        state.manifests.insert(place, (image.media_type.to_owned(), image.manifest.clone()));
        state.tags.insert(format!("{repository}:{tag}"), image.digest());
        image.digest()
    }

    fn tags(&self) -> BTreeMap<String, String> {
        self.state.lock().unwrap().tags.clone()
    }

    fn refuse(&self, method: &'static str, end: &str, reply: Reply) {
        self.state.lock().unwrap().refused.push((method, end.to_owned(), reply));
    }

    /// How often a tag was put.
    fn puts(&self) -> usize {
        let log = self.server.log();
        log.iter().filter(|line| line.starts_with("PUT") && line.contains("/manifests/")).count()
    }

    /// Annotations of what hangs on an image.
    fn records(&self, repository: &str, digest: &str) -> Vec<Value> {
        let state = self.state.lock().unwrap();
        let of = state.manifests.iter().filter(|((place, _), _)| place == repository);
        let parsed = of.map(|(_, (_, bytes))| serde_json::from_slice::<Value>(bytes).unwrap());
        let on_it = parsed.filter(|manifest| manifest["subject"]["digest"] == digest);
        on_it.map(|manifest| manifest["annotations"].clone()).collect()
    }
}

/// Images a, b and c that the lockfile records; `a` has no tag `stable` yet, `b` and `c` have an old one.
struct Scene {
    registry: Registry,
    project: Project,
    new: BTreeMap<&'static str, String>,
    before: BTreeMap<String, String>,
}

impl Scene {
    fn new(project_lines: &str, tables: &str) -> Self {
        let registry = Registry::start();
        let host = registry.server.host();
        let mut lock = "version = 1\n".to_owned();
        let mut new = BTreeMap::new();
        let config = format!(
            "[project]\nregistry = \"{host}/p\"\n{project_lines}\n[images.a]\n[images.b]\n[images.c]\n\
             {tables}\n"
        );
        let project = Project::new(&[("dockit.toml", &config)]);
        for name in ["a", "b", "c"] {
            let tag = format!("k1-{}", sha256(name.as_bytes()).split_off(7));
            let digest = registry.put(&format!("p/{name}"), &tag, &format!("new {name}"));
            lock += &format!(
                "\n[[image]]\nname = \"{name}\"\nkey = \"{}\"\nreference = \
                 \"{host}/p/{name}:{tag}@{digest}\"\n",
                tag.replace('-', ":")
            );
            if name != "a" {
                registry.put(&format!("p/{name}"), "stable", &format!("old {name}"));
            }
            project.write(&format!("{name}/Dockerfile"), "FROM scratch\n");
            new.insert(name, digest);
        }
        project.write("dockit.lock", &lock);
        let before = registry.tags();
        Self { registry, project, new, before }
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.project.run(&[&["tag"], arguments].concat())
    }

    fn on(&self, target: &str) -> Option<String> {
        self.registry.tags().get(target).cloned()
    }

    fn is_promoted(&self, tag: &str) -> bool {
        self.new
            .iter()
            .all(|(name, digest)| self.on(&format!("p/{name}:{tag}")).as_ref() == Some(digest))
    }

    fn is_as_before(&self) -> bool {
        self.registry.tags() == self.before
    }
}

#[test]
fn a_set_is_promoted_whole_and_a_dry_run_writes_nothing() {
    let scene = Scene::new("", "");
    let old = scene.on("p/b:stable").unwrap();
    let dry = scene.run(&["--set", "stable", "--dry-run"]);
    assert_eq!((dry.code, &*dry.err), (0, ""), "{dry:?}");
    assert!(dry.out.contains("would create  a") && dry.out.contains("would move    b"), "{dry:?}");
    assert!(dry.out.contains(&format!("{old} -> {}", scene.new["b"])), "{dry:?}");
    let asked = scene.registry.server.log();
    assert!(
        asked.iter().all(|line| line.starts_with("GET") || line.starts_with("HEAD")),
        "{asked:?}"
    );
    assert!(!scene.project.root().join(".dockit/promotions").exists());

    let ran = scene.run(&["--set", "stable", "--format", "json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(scene.is_promoted("stable"));
    let json = ran.json();
    assert_eq!(
        (&json["schema"], &json["outcome"]),
        (&"dockit.promotion/1".into(), &"promoted".into())
    );
    let status: Vec<&Value> =
        json["tags"].as_array().unwrap().iter().map(|tag| &tag["status"]).collect();
    assert_eq!(status, ["created", "moved", "moved"]);
    assert_eq!(json["tags"][1]["previous"], Value::from(old.clone()));
    let records = scene.registry.records("p/b", &scene.new["b"]);
    let [record] = &records[..] else { panic!("{records:?}") };
    for (name, value) in [
        ("dev.dockit.tag", "stable"),
        ("dev.dockit.promotion", "stable"),
        ("dev.dockit.replaced", &*old),
    ] {
        assert_eq!(record[name], value, "{record}");
    }
    let journals = std::fs::read_dir(scene.project.root().join(".dockit/promotions")).unwrap();
    let mut names: Vec<_> =
        journals.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!((names.len(), &*names[0]), (2, "lock"), "{names:?}");

    let puts = scene.registry.puts();
    let again = scene.run(&["--set", "stable"]);
    assert_eq!((again.code, again.out.matches("unchanged").count()), (0, 3), "{again:?}");
    assert_eq!(scene.registry.puts(), puts);
}

#[test]
fn after_one_failure_all_is_as_before() {
    for (status, code, exit) in [(403, "DENIED", 3), (400, "TAG_INVALID", 3)] {
        let scene = Scene::new("", "");
        let body = json!({"errors": [{"code": code, "message": "the tag is immutable"}]});
        let reply = Reply::new(status).header("Content-Type", "application/json");
        scene.registry.refuse("PUT", "c/manifests/stable", reply.body(body.to_string()));
        let ran = scene.run(&["--set", "stable", "--format", "json"]);
        assert_eq!(ran.code, exit, "{ran:?}");
        assert!(scene.is_as_before(), "{ran:?}");
        assert!(ran.err.contains("c:stable") && ran.err.contains("nothing is promoted"), "{ran:?}");
        // Whatever the code, the registry's words say that it is immutable.
        assert!(ran.err.contains("keeps this tag as it is"), "{ran:?}");
        let json = ran.json();
        assert_eq!(json["outcome"], "rolled-back");
        let status: Vec<&str> = json["tags"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tag| tag["status"].as_str().unwrap())
            .collect();
        assert_eq!(status, ["removed", "restored", "untouched"]);
        assert!(scene.registry.records("p/b", &scene.new["b"]).is_empty());
    }
}

#[test]
fn where_new_tags_cannot_be_removed_it_says_so_before_it_begins() {
    let scene = Scene::new("", "");
    let state = Arc::clone(&scene.registry.state);
    // By tag or digest: this registry deletes nothing.
    state.lock().unwrap().refused.push(("DELETE", String::new(), error(405, "UNSUPPORTED")));
    let ran = scene.run(&["--set", "stable"]);
    assert_eq!((ran.code, scene.registry.puts()), (2, 0), "{ran:?}");
    assert!(ran.err.contains("p/a") && !ran.err.contains("p/b"), "only new tags: {ran:?}");
    assert!(ran.err.contains("--keep-new-tags"), "{ran:?}");

    scene.registry.refuse("PUT", "c/manifests/stable", error(403, "DENIED"));
    let ran = scene.run(&["--set", "stable", "--keep-new-tags", "--format", "json"]);
    assert_eq!((ran.code, &ran.json()["tags"][0]["status"]), (3, &"kept".into()), "{ran:?}");
    assert_eq!(scene.on("p/a:stable").as_ref(), Some(&scene.new["a"]));
    assert_eq!(scene.on("p/b:stable"), scene.before.get("p/b:stable").cloned());
}

#[test]
fn what_is_not_there_or_may_not_be_written_is_found_before() {
    let scene = Scene::new("", "");
    let absent = scene.run(&["--set", "stable", "--from", "candidate"]);
    assert_eq!(absent.code, 3, "{absent:?}");
    assert_eq!(absent.err.matches(":candidate is absent").count(), 3, "{absent:?}");
    let plain = "[images.a]\n[images.d]\n";
    let config = format!("[project]\nregistry = \"{}/p\"\n{plain}", scene.registry.server.host());
    scene.project.write("d/Dockerfile", "FROM scratch\n");
    scene.project.write("dockit.toml", &config);
    let unlocked = scene.run(&["--set", "stable"]);
    assert_eq!(unlocked.code, 2, "{unlocked:?}");
    assert!(unlocked.err.contains("records nothing of d"), "{unlocked:?}");
    scene.registry.refuse("POST", "/blobs/uploads/", error(403, "DENIED"));
    let denied = scene.run(&["--set", "stable", "--images", "a"]);
    assert_eq!((denied.code, scene.registry.puts()), (3, 0), "{denied:?}");
    assert!(scene.is_as_before());
}

#[test]
fn chains_have_to_be_in_order() {
    let scene = Scene::new(
        "",
        "[promotions.candidate]\ntags = [\"2026.3-stable\"]\n\
         [promotions.release]\ntags = [\"stable\"]\nafter = [\"candidate\"]\n",
    );
    let early = scene.run(&["--set", "release"]);
    assert_eq!((early.code, scene.registry.puts()), (1, 0), "{early:?}");
    assert!(early.err.contains("p/a:2026.3-stable is absent"), "{early:?}");
    let dry = scene.run(&["--set", "release", "--dry-run"]);
    assert_eq!(dry.code, 0);
    assert!(dry.err.contains("would not begin"), "{dry:?}");
    assert_eq!(scene.run(&["--set", "candidate"]).code, 0);
    scene.registry.put("p/b", "2026.3-stable", "another b");
    let other = scene.run(&["--set", "release"]);
    assert_eq!((other.code, other.err.matches("not on").count()), (1, 1), "{other:?}");
    assert!(!scene.is_promoted("stable"));
    // Together each sees what the other is about to put.
    let both = scene.run(&["--set", "candidate", "release"]);
    assert_eq!(both.code, 0, "{both:?}");
    assert!(scene.is_promoted("stable") && scene.is_promoted("2026.3-stable"));
}

#[test]
fn conditions_are_about_branch_and_work_tree() {
    let scene = Scene::new(
        "",
        "[promotions.stable]\ntags = [\"stable\"]\nbranch = \"main\"\nclean = true\n",
    );
    let nowhere = scene.run(&["--set", "stable"]);
    assert_eq!((nowhere.code, scene.registry.puts()), (1, 0), "{nowhere:?}");
    assert!(nowhere.err.contains("in no git repository"), "{nowhere:?}");
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@example.org"])
            .args(arguments)
            .current_dir(scene.project.root())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    git(&["init", "--quiet", "--initial-branch", "side"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message", "x"]);
    scene.project.write("a/Dockerfile", "FROM scratch\nENV A=1\n");
    let changed = scene.run(&["--set", "stable"]);
    assert_eq!(changed.code, 1, "{changed:?}");
    assert!(changed.err.contains("branch side, not main"), "{changed:?}");
    assert!(changed.err.contains("a/Dockerfile"), "{changed:?}");
    git(&["checkout", "--quiet", "-b", "main"]);
    git(&["commit", "--quiet", "--all", "--message", "y"]);
    let ran = scene.run(&["--set", "stable", "--format", "json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.json()["revision"].as_str().map(str::len), Some(40));
}

#[test]
fn gates_decide_and_what_is_skipped_is_recorded() {
    let scene = Scene::new(
        "",
        "[promotions.stable]\ntags = [\"stable\"]\ngates = [\n\
         { name = \"looks\", run = \"grep -q p/a:stable $DOCKIT_PROMOTION && touch looked\" },\n\
         { name = \"scan\", run = \"echo three findings; exit 7\", timeout = \"1m\" },\n]\n",
    );
    let failed = scene.run(&["--set", "stable"]);
    assert_eq!((failed.code, scene.registry.puts()), (1, 0), "{failed:?}");
    assert!(
        failed.err.contains("exit code 7") && failed.err.contains("three findings"),
        "{failed:?}"
    );
    assert!(scene.project.root().join("looked").exists());
    for arguments in [
        &["--set", "stable", "--skip-gate", "scan"][..],
        &["--set", "stable", "--skip-gate", "scan", "--reason", " "],
        &["--set", "stable", "--skip-gate", "skan", "--reason", "x"],
    ] {
        let ran = scene.run(arguments);
        assert_eq!((ran.code, scene.registry.puts()), (2, 0), "{ran:?}");
    }
    let reason = "known, see ticket 12";
    let ran = scene.run(&[
        "--set",
        "stable",
        "--skip-gate",
        "scan",
        "--reason",
        reason,
        "--format",
        "json",
    ]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let gates = &ran.json()["gates"];
    assert_eq!((&gates[0]["status"], &gates[1]["status"]), (&"passed".into(), &"skipped".into()));
    assert_eq!(gates[1]["reason"], reason);
    let record = &scene.registry.records("p/a", &scene.new["a"])[0];
    assert_eq!(record["dev.dockit.promotion.gates-skipped"], json!({"scan": reason}).to_string());
    assert_eq!(record["dev.dockit.promotion.gates-passed"], "[\"looks\"]");
}

#[test]
fn who_moves_a_tag_meanwhile_keeps_it() {
    let scene = Scene::new(
        "",
        "[promotions.stable]\ntags = [\"stable\"]\ngates = [{ name = \"g\", run = \"touch go\" }]\n",
    );
    let theirs = scene.registry.put("p/b", "theirs", "their b");
    let go = scene.project.root().join("go");
    scene.registry.state.lock().unwrap().rival =
        Some((go, "p/b:stable".to_owned(), theirs.clone()));
    let ran = scene.run(&["--set", "stable", "--format", "json"]);
    assert_eq!((ran.code, &ran.json()["tags"][1]["status"]), (1, &"foreign".into()), "{ran:?}");
    assert_eq!(scene.on("p/b:stable"), Some(theirs));
    assert_eq!(scene.on("p/a:stable"), None);
    assert_eq!(scene.on("p/c:stable"), scene.before.get("p/c:stable").cloned());
}

#[test]
fn one_that_could_not_be_undone_is_in_the_way_until_it_is() {
    for finish in ["--rollback", "--resume"] {
        let scene = Scene::new("", "");
        scene.registry.refuse("PUT", "c/manifests/stable", error(403, "DENIED"));
        scene.registry.refuse("DELETE", "a/manifests/stable", error(403, "DENIED"));
        let ran = scene.run(&["--set", "stable"]);
        assert_eq!(ran.code, 3, "{ran:?}");
        assert!(ran.err.contains("--rollback"), "{ran:?}");
        assert_eq!(scene.on("p/a:stable").as_ref(), Some(&scene.new["a"]));
        let other = scene.run(&["--set", "other"]);
        assert_eq!((other.code, scene.on("p/a:other")), (1, None), "{other:?}");
        assert!(other.err.contains("was interrupted"), "{other:?}");
        scene.registry.state.lock().unwrap().refused.clear();
        // It was being undone, so that is what there is to finish.
        let end = scene.run(&[finish]);
        assert_eq!(end.code == 0, finish == "--rollback", "{end:?}");
        assert!(scene.is_as_before(), "{end:?}");
        assert_eq!(scene.run(&[finish]).code, 2);
        assert_eq!(scene.run(&["--set", "stable"]).code, 0);
    }
}

#[test]
fn another_registry_gets_a_copy_with_what_refers_to_it() {
    let scene = Scene::new("", "");
    assert_eq!(scene.run(&["--set", "stable"]).code, 0, "which records something beside each");
    let prefix = format!("{}/q", scene.registry.server.host());
    let ran = scene.run(&["--set", "copied", "--to-registry", &prefix]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for (name, digest) in &scene.new {
        assert_eq!(scene.on(&format!("q/{name}:copied")).as_ref(), Some(digest));
        let records = scene.registry.records(&format!("q/{name}"), digest);
        assert_eq!(records.len(), 2, "the one that was there and the new one: {records:?}");
    }
}

#[test]
fn images_of_one_repository_need_prefixes() {
    let scene = Scene::new("", "");
    let host = scene.registry.server.host();
    let config = format!(
        "[project]\nregistry = \"{host}/p\"\n[images.a]\nrepository = \"both\"\n\
         [images.b]\nrepository = \"both\"\ntag-prefix = \"b\"\n"
    );
    scene.project.write("dockit.toml", &config);
    let clash = scene.run(&["--set", "stable", "--dry-run"]);
    assert_eq!(clash.code, 2, "{clash:?}");
    assert!(clash.err.contains("{prefix}"), "{clash:?}");
    // The lockfile's images are in repositories of their own, from where they are copied.
    let ran = scene.run(&["--set", "{prefix}-stable"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(scene.on("p/both:stable").as_ref(), Some(&scene.new["a"]));
    assert_eq!(scene.on("p/both:b-stable").as_ref(), Some(&scene.new["b"]));
}

#[test]
fn versions_come_from_four_kinds_of_files() {
    for (file, text) in [
        ("pyproject.toml", "[project]\nname = \"x\"\nversion = \"1.2.3+cpu\"\n"),
        ("Cargo.toml", "[package]\nname = \"x\"\nversion = \"1.2.3+cpu\"\n"),
        ("package.json", "{\"name\": \"x\", \"version\": \"1.2.3+cpu\"}\n"),
        ("VERSION", "1.2.3+cpu\n"),
    ] {
        let scene = Scene::new(
            &format!("version = {{ file = \"{file}\" }}"),
            "[promotions.release]\ntags = [\"{version}-stable\"]\n",
        );
        scene.project.write(file, text);
        let ran = scene.run(&["--set", "release"]);
        assert_eq!(ran.code, 0, "{file}: {ran:?}");
        assert!(scene.is_promoted("1.2.3-cpu-stable"), "{file}: {ran:?}");
    }
}

#[test]
fn what_is_wrong_in_the_configuration_has_a_line() {
    for (table, expected) in [
        ("[promotions.x]\n", "puts no tag"),
        ("[promotions.x]\ntags = [\"{brunch}\"]\n", "unknown placeholder"),
        ("[promotions.x]\ntags = [\"{version}\"]\n", "needs a version"),
        ("[promotions.x]\ntags = [\"s\"]\nimages = [\"d\"]\n", "no image is called \"d\""),
        ("[promotions.x]\ntags = [\"s\"]\nafter = [\"x\"]\n", "come before itself"),
        (
            "[promotions.x]\ntags = [\"s\"]\nafter = [\"y\"]\n[promotions.y]\ntags = [\"t\"]\nafter = [\"x\"]\n",
            "promotion y would have to come before itself",
        ),
        ("[promotions.x]\ntags = [\"s\"]\ngates = [\"true\"]\n", "a gate needs a name"),
        ("[promotions.x]\ntags = [\"s\"]\ngates = [{ name = \"g\" }]\n", "needs a command"),
        ("[promotions.x]\ntags = [\"s\"]\nfrm = \"lock\"\n", "unknown key \"frm\""),
    ] {
        let scene = Scene::new("", table);
        let ran = scene.run(&["--set", "x"]);
        assert_eq!((ran.code, scene.registry.puts()), (2, 0), "{table}: {ran:?}");
        assert!(ran.err.contains(expected), "{table}: {ran:?}");
    }
}
