//! Where the engine is, by what the environment, the contexts and the sockets that are there say.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use dockit_core::backend::endpoint::{EndpointError, EngineEndpoint, EngineSearch};
use dockit_registry::Digest;

/// A machine: its files, and an environment in which `ROOT` stands for the directory they are in.
struct Machine {
    directory: tempfile::TempDir,
    variables: BTreeMap<&'static str, String>,
}

impl Machine {
    fn new(files: &[&str], variables: &[(&'static str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().display().to_string();
        let variables =
            variables.iter().map(|(name, value)| (*name, value.replace("ROOT", &root))).collect();
        let machine = Self { directory, variables };
        for file in files {
            machine.write(file, "");
        }
        machine
    }

    fn root(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn context(&self, name: &str, host: &str, skip_verify: bool, tls: &[&str]) {
        let digest = Digest::of(name.as_bytes());
        let id = digest.as_str().trim_start_matches("sha256:").to_owned();
        let metadata = serde_json::json!({
            "Name": name,
            "Metadata": {"Description": "x"},
            "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": skip_verify}},
        });
        self.write(&format!("home/.docker/contexts/meta/{id}/meta.json"), &metadata.to_string());
        for file in tls {
            self.write(&format!("home/.docker/contexts/tls/{id}/docker/{file}"), "");
        }
    }

    fn find(&self) -> Result<EngineEndpoint, EndpointError> {
        let variable = |name: &str| self.variables.get(name).map(OsString::from);
        let search = EngineSearch {
            variable: &variable,
            home: Some(self.root().join("home")),
            user: Some(1000),
            root: self.root().to_owned(),
        };
        search.find()
    }

    /// What was found, or why not, with the machine's directory written as `ROOT`.
    fn told(&self) -> String {
        let text = match self.find() {
            Ok(endpoint) => endpoint.to_string(),
            Err(error) => format!("error: {error}"),
        };
        text.replace(&self.root().display().to_string(), "ROOT")
    }
}

const CONFIG: &str = "home/.docker/config.json";

#[test]
fn who_says_where_the_engine_is_goes_in_dockers_order() {
    let docker = "var/run/docker.sock";
    let podman = "run/podman/podman.sock";
    let runtime = ("XDG_RUNTIME_DIR", "ROOT/run/user/7");
    let host = ("DOCKER_HOST", "tcp://box:1");
    let named = ("DOCKER_CONTEXT", "one");
    let blank = ("DOCKER_HOST", " ");
    let none = ("DOCKER_CONTEXT", "default");
    for (files, variables, current, expected) in [
        (&[docker][..], &[host][..], "two", "tcp://box:1 (from DOCKER_HOST)"),
        (&[docker], &[blank], "", "unix://ROOT/var/run/docker.sock (the default)"),
        (&[docker], &[host, named], "", "tcp://box:1 (from DOCKER_HOST)"),
        (
            &[docker],
            &[named],
            "two",
            "ssh://one (from the context \"one\", named by DOCKER_CONTEXT)",
        ),
        (
            &[docker],
            &[],
            "two",
            "tcp://two:2376 (from the context \"two\", named by ROOT/home/.docker/config.json)",
        ),
        (&[docker], &[none], "two", "unix://ROOT/var/run/docker.sock (the default)"),
        (&[docker], &[], "default", "unix://ROOT/var/run/docker.sock (the default)"),
        (
            &[docker, "run/user/7/docker.sock", podman],
            &[runtime],
            "",
            "unix://ROOT/var/run/docker.sock (the default)",
        ),
        (
            &["run/user/7/docker.sock", podman],
            &[runtime],
            "",
            "unix://ROOT/run/user/7/docker.sock (a well-known socket)",
        ),
        (
            &["run/user/1000/docker.sock", "home/.docker/run/docker.sock"],
            &[],
            "",
            "unix://ROOT/run/user/1000/docker.sock (a well-known socket)",
        ),
        (
            &["home/.docker/run/docker.sock", podman],
            &[runtime],
            "",
            "unix://ROOT/home/.docker/run/docker.sock (a well-known socket)",
        ),
        (
            &["home/.colima/default/docker.sock"],
            &[],
            "",
            "unix://ROOT/home/.colima/default/docker.sock (a well-known socket)",
        ),
        (
            &["run/user/7/podman/podman.sock", podman],
            &[runtime],
            "",
            "unix://ROOT/run/user/7/podman/podman.sock (Podman's socket)",
        ),
        (&[podman], &[], "", "unix://ROOT/run/podman/podman.sock (Podman's socket)"),
        (
            &[],
            &[runtime],
            "",
            "unix://ROOT/var/run/docker.sock (the default); not there: \
             ROOT/run/user/7/docker.sock, ROOT/home/.docker/run/docker.sock, \
             ROOT/home/.docker/desktop/docker.sock, ROOT/home/.colima/default/docker.sock, \
             ROOT/run/user/7/podman/podman.sock, ROOT/run/podman/podman.sock",
        ),
    ] {
        let machine = Machine::new(files, variables);
        machine.context("one", "ssh://one", false, &[]);
        machine.context("two", "tcp://two:2376", false, &[]);
        machine.write(CONFIG, &format!("{{\"auths\": {{}}, \"currentContext\": \"{current}\"}}"));
        assert_eq!(machine.told(), expected, "{files:?} {variables:?} {current}");
    }
}

#[test]
fn an_overruled_context_is_known() {
    let machine =
        Machine::new(&[], &[("DOCKER_HOST", "unix:///x"), ("DOCKER_CONTEXT", "not-there")]);
    assert_eq!(machine.find().unwrap().overruled_context.as_deref(), Some("not-there"));
    for context in ["", " ", "default"] {
        let variables = [("DOCKER_HOST", "unix:///x"), ("DOCKER_CONTEXT", context)];
        assert_eq!(Machine::new(&[], &variables).find().unwrap().overruled_context, None);
    }
}

#[test]
fn a_named_context_that_cannot_be_used_is_an_error() {
    let machine = Machine::new(&["var/run/docker.sock"], &[("DOCKER_CONTEXT", "gone")]);
    assert_eq!(
        machine.told(),
        "error: there is no Docker context \"gone\", which DOCKER_CONTEXT names; \
         there is only \"default\""
    );
    machine.context("two", "tcp://two:2376", false, &[]);
    machine.context("one", "ssh://one", false, &[]);
    assert!(machine.told().ends_with("; there are \"default\" and one, two"), "{}", machine.told());
    for (host, expected) in [
        ("", "the context \"gone\": it is empty"),
        ("npipe:////./pipe/docker_engine", "the context \"gone\": named pipes"),
        ("fd://", "the context \"gone\": fd://"),
        ("gopher://x", "the context \"gone\": no engine is reached by \"gopher\""),
    ] {
        machine.context("gone", host, false, &[]);
        assert!(machine.told().contains(expected), "{}", machine.told());
    }
    let digest = Digest::of(b"gone");
    let id = digest.as_str().trim_start_matches("sha256:");
    let file = format!("home/.docker/contexts/meta/{id}/meta.json");
    for (content, expected) in [
        ("{\"Name\": \"gone\", \"Endpoints\": {}}", "has no Docker endpoint"),
        ("{\n  \"Name\"", "line 2 is not what it should be"),
    ] {
        machine.write(&file, content);
        assert!(machine.told().contains(expected), "{}", machine.told());
    }
}

#[test]
fn a_config_file_that_cannot_be_read_leads_to_no_other_engine() {
    let machine = Machine::new(&["var/run/docker.sock"], &[]);
    machine.write(CONFIG, "{\"auths\": {\"r\": {\"auth\": \"c2VjcmV0\"}}, \"currentContext\": 1}");
    let told = machine.told();
    assert!(told.starts_with("error: ROOT/home/.docker/config.json: line 1"), "{told}");
    assert!(!told.contains("c2VjcmV0"), "{told}");
    // Who names an engine does not need it.
    let machine = Machine::new(&[], &[("DOCKER_HOST", "unix:///x")]);
    machine.write(CONFIG, "{");
    assert_eq!(machine.told(), "unix:///x (from DOCKER_HOST)");
}

#[test]
fn tls_is_as_the_environment_says() {
    let host = ("DOCKER_HOST", "tcp://box:2376");
    let verify = ("DOCKER_TLS_VERIFY", "1");
    let certificates = ("DOCKER_CERT_PATH", "ROOT/certs");
    let all = ["certs/ca.pem", "certs/cert.pem", "certs/key.pem"];
    let found = |machine: &Machine| machine.find().unwrap().tls;

    let machine = Machine::new(&all, &[host, verify, certificates]);
    let tls = found(&machine).unwrap();
    assert!(tls.verify);
    assert_eq!(tls.ca.unwrap(), machine.root().join("certs/ca.pem"));
    assert_eq!(tls.client.unwrap().1, machine.root().join("certs/key.pem"));

    let home = ["home/.docker/ca.pem"];
    let tls = found(&Machine::new(&home, &[host, verify])).unwrap();
    assert!(tls.ca.is_some() && tls.client.is_none());

    let machine = Machine::new(&home, &[host, verify, ("DOCKER_CONFIG", "ROOT/elsewhere")]);
    let told = machine.told();
    assert!(told.starts_with("error: ROOT/elsewhere/ca.pem: not found"), "{told}");

    let tls = found(&Machine::new(&[], &[host, ("DOCKER_TLS", "1")])).unwrap();
    assert!(!tls.verify && tls.ca.is_none());

    let machine = Machine::new(&all[..2], &[host, verify, certificates]);
    assert!(machine.told().contains("cert.pem and key.pem go together"), "{}", machine.told());

    // A variable that is set and empty says nothing; a socket has no TLS.
    assert_eq!(found(&Machine::new(&all, &[host, ("DOCKER_TLS_VERIFY", "")])), None);
    assert_eq!(found(&Machine::new(&[], &[("DOCKER_HOST", "unix:///x"), verify])), None);
    let machine = Machine::new(&home, &[verify]);
    assert_eq!(machine.told(), "tcp://localhost:2376 (the default)");
}

#[test]
fn tls_is_as_the_context_says() {
    let machine = Machine::new(&[], &[("DOCKER_CONTEXT", "box"), ("DOCKER_TLS_VERIFY", "1")]);
    let tls = |host: &str, skip: bool, files: &[&str]| {
        machine.context("box", host, skip, files);
        machine.find().unwrap().tls
    };
    assert_eq!(tls("tcp://box:2375", false, &[]), None, "the environment's is another engine's");
    assert!(!tls("tcp://box:2376", true, &[]).unwrap().verify);
    assert_eq!(tls("ssh://box", true, &[]), None);
    let found = tls("tcp://box:2376", false, &["ca.pem", "cert.pem", "key.pem"]).unwrap();
    assert!(found.verify && found.client.is_some());
    assert!(found.ca.unwrap().ends_with("docker/ca.pem"));
}

/// Whoever read it as "no TLS" would send registry credentials in the clear.
#[cfg(unix)]
#[test]
fn tls_files_that_cannot_be_looked_for_are_not_taken_for_absent() {
    let digest = Digest::of(b"box");
    let tls =
        format!("home/.docker/contexts/tls/{}", digest.as_str().trim_start_matches("sha256:"));
    // Also who runs the tests as root gets an error for these.
    let machine = Machine::new(&[], &[("DOCKER_CONTEXT", "box")]);
    machine.context("box", "tcp://box:2376", false, &[]);
    std::fs::create_dir_all(machine.root().join(&tls)).unwrap();
    std::os::unix::fs::symlink("docker", machine.root().join(format!("{tls}/docker"))).unwrap();
    let told = machine.told();
    assert!(told.starts_with(&format!("error: ROOT/{tls}/docker/cert.pem: ")), "{told}");

    let machine = Machine::new(&[&tls], &[("DOCKER_CONTEXT", "box")]);
    machine.context("box", "tcp://box:2376", false, &[]);
    let told = machine.told();
    assert!(told.starts_with(&format!("error: ROOT/{tls}/docker/cert.pem: ")), "{told}");

    // A link that leads nowhere is no reason to go without either.
    let machine = Machine::new(&[], &[("DOCKER_CONTEXT", "box")]);
    machine.context("box", "tcp://box:2376", false, &[]);
    std::fs::create_dir_all(machine.root().join(format!("{tls}/docker"))).unwrap();
    std::os::unix::fs::symlink("gone", machine.root().join(format!("{tls}/docker/ca.pem")))
        .unwrap();
    assert!(machine.find().unwrap().tls.unwrap().ca.is_some());
}
