//! How files are sent.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bollard_buildkit_proto::fsutil::types::Packet;
use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use bollard_buildkit_proto::moby::filesync::v1::file_sync_client::FileSyncClient;
use bollard_buildkit_proto::moby::upload::v1::upload_client::UploadClient;
use dockit_buildkit::{Build, Error, ErrorKind, FileTree, Transfer};
use futures_util::stream;
use tokio::sync::mpsc;
use tonic::{Code, Request, Status, Streaming};

use crate::fake::{Fake, Session, build, done};
use crate::tree::{Node, TIME, Tree};

/// The other side of a transfer.
struct Receiver {
    asks: mpsc::UnboundedSender<Packet>,
    packets: Streaming<Packet>,
}

impl Receiver {
    async fn open(session: Session, directory: &str, follow: &[&str]) -> Result<Self, Status> {
        let (asks, asked) = mpsc::unbounded_channel();
        let asked = stream::unfold(asked, |mut asked: mpsc::UnboundedReceiver<Packet>| async {
            asked.recv().await.map(|packet| (packet, asked))
        });
        let mut request = Request::new(asked);
        request.metadata_mut().insert("dir-name", directory.parse().unwrap());
        request.metadata_mut().insert("exclude-patterns", "**".parse().unwrap());
        for path in follow {
            request.metadata_mut().append("followpaths", path.parse().unwrap());
        }
        let origin = http::Uri::from_static("http://localhost");
        let packets = FileSyncClient::with_origin(session, origin).diff_copy(request).await?;
        Ok(Self { asks, packets: packets.into_inner() })
    }

    fn ask(&self, kind: PacketType, id: u32) {
        self.asks.send(Packet { r#type: kind.into(), id, ..Packet::default() }).unwrap();
    }

    async fn next(&mut self) -> Result<Packet, Status> {
        self.packets.message().await.map(|packet| packet.expect("it goes on"))
    }

    /// Paths with their numbers.
    async fn entries(&mut self) -> Result<Vec<String>, Status> {
        let mut paths = Vec::new();
        loop {
            let packet = self.next().await?;
            match packet.stat {
                Some(stat) => paths.push(stat.path),
                None => {
                    assert_eq!(packet.r#type(), PacketType::PacketStat);
                    return Ok(paths);
                }
            }
        }
    }

    async fn content(&mut self, id: u32) -> Result<Vec<u8>, Status> {
        self.ask(PacketType::PacketReq, id);
        let mut content = Vec::new();
        loop {
            let packet = self.next().await?;
            if packet.r#type() == PacketType::PacketErr {
                return Err(Status::unknown("the sender failed"));
            }
            assert_eq!((packet.r#type(), packet.id), (PacketType::PacketData, id));
            assert!(packet.data.len() <= 32 * 1024);
            if packet.data.is_empty() {
                return Ok(content);
            }
            content.extend(packet.data);
        }
    }

    /// That everything is there, and the good end.
    async fn finish(mut self) -> Result<(), Status> {
        self.ask(PacketType::PacketFin, 0);
        assert_eq!(self.next().await?.r#type(), PacketType::PacketFin);
        assert!(self.packets.message().await?.is_none());
        Ok(())
    }
}

async fn run(tree: impl FileTree + 'static, fake: &Fake) -> Result<dockit_buildkit::Built, Error> {
    let build = Build { context: Arc::new(tree), ..build() };
    fake.client().build(&build, &mut |_| ControlFlow::Continue(())).await
}

fn directories_and_files() -> Tree {
    let file = |content: &str| Node::File(content.into());
    Tree::new([
        ("a.b", 0o644, file("after the directory")),
        ("a", 0o755, Node::Directory),
        ("a/link", 0o777, Node::Symlink(b"../a.b".to_vec())),
        ("a/empty", 0o644, file("")),
        ("large", 0o644, Node::Zeros(100_000)),
        (".dockerignore", 0o644, file("**")),
    ])
}

#[tokio::test]
async fn entries_come_in_order_and_contents_as_they_are_asked_for() {
    let fake = Fake::new(|session, _| async {
        let mut receiver = Receiver::open(session, "context", &["a", "large"]).await?;
        let wanted = [".dockerignore", "a", "a/empty", "a/link", "a.b", "large"];
        assert_eq!(receiver.entries().await?, wanted);
        assert_eq!(receiver.content(5).await?, vec![0; 100_000]);
        assert_eq!(receiver.content(4).await?, b"after the directory");
        assert_eq!(receiver.content(2).await?, b"");
        receiver.finish().await?;
        done()
    });
    let built = run(directories_and_files(), &fake).await.unwrap();
    assert_eq!(built.digest(), Some("sha256:1"));
}

#[tokio::test]
async fn what_an_entry_is_stands_beside_its_path() {
    let fake = Fake::new(|session, _| async {
        let mut receiver = Receiver::open(session, "context", &[]).await?;
        let mut stats = HashMap::new();
        while let Some(stat) = receiver.next().await?.stat {
            assert_eq!((stat.uid, stat.gid), (0, 0));
            assert_eq!(stat.mod_time, TIME * 1_000_000_000);
            stats.insert(stat.path, (stat.mode, stat.size, stat.linkname));
        }
        assert_eq!(stats["a"], (0x8000_0000 | 0o755, 0, String::new()));
        assert_eq!(stats["a/link"], (0x0800_0000 | 0o777, 6, "../a.b".to_owned()));
        assert_eq!(stats["large"], (0o644, 100_000, String::new()));
        receiver.finish().await?;
        done()
    });
    run(directories_and_files(), &fake).await.unwrap();
}

#[tokio::test]
async fn a_frontend_that_looks_for_ignored_files_is_sent_no_more_than_the_list() {
    let fake = Fake::new(|session: Session, _| async {
        let mut receiver = Receiver::open(session, "context", &[".dockerignore"]).await?;
        assert_eq!(receiver.entries().await?, [".dockerignore"]);
        assert_eq!(receiver.content(0).await?, b"**");
        receiver.finish().await?;
        done()
    });
    run(directories_and_files(), &fake).await.unwrap();
    let fake = Fake::new(|session: Session, _| async {
        let mut receiver = Receiver::open(session, "context", &[".dockerignore"]).await?;
        assert!(receiver.entries().await?.is_empty());
        receiver.finish().await?;
        done()
    });
    run(Tree::file("x", "y"), &fake).await.unwrap();
}

#[tokio::test]
async fn the_dockerfile_lies_beside_the_context_with_a_list_that_ignores_nothing() {
    let fake = Fake::new(|session: Session, request| async move {
        let name = &request.frontend_attrs["filename"];
        let mut receiver = Receiver::open(session.clone(), "dockerfile", &[name]).await?;
        assert_eq!(receiver.entries().await?, ["x.Dockerfile", "x.Dockerfile.dockerignore"]);
        assert_eq!(receiver.content(0).await?, b"FROM scratch\n");
        let list = String::from_utf8(receiver.content(1).await?).unwrap();
        assert!(!list.is_empty() && list.lines().all(|line| line.starts_with('#')), "{list}");
        receiver.finish().await?;
        let other = Receiver::open(session, "elsewhere", &[]).await;
        assert_eq!(other.map(drop).unwrap_err().code(), Code::NotFound);
        done()
    });
    let build = Build { dockerfile_name: "x.Dockerfile".to_owned(), ..build() };
    fake.client().build(&build, &mut |_| ControlFlow::Continue(())).await.unwrap();
}

#[tokio::test]
async fn a_receiver_that_asks_for_everything_before_it_reads_blocks_nobody() {
    const FILES: u32 = 30_000;
    let fake = Fake::new(|session, _| async {
        let mut receiver = Receiver::open(session, "context", &[]).await?;
        for id in 0..FILES {
            receiver.ask(PacketType::PacketReq, id);
        }
        // The last word is there only after everything before it was read.
        receiver.ask(PacketType::PacketFin, 0);
        assert_eq!(receiver.entries().await?.len(), FILES as usize);
        for id in 0..FILES {
            assert_eq!(receiver.next().await?.data, b"content");
            let end = receiver.next().await?;
            assert!(end.data.is_empty() && end.id == id);
        }
        assert_eq!(receiver.next().await?.r#type(), PacketType::PacketFin);
        done()
    });
    let files =
        (0..FILES).map(|number| (format!("f{number}"), 0o644, Node::File("content".into())));
    run(Tree::new(files), &fake).await.unwrap();
}

/// A tree that others look into too.
struct Shared(Arc<Tree>);

impl FileTree for Shared {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn entry(&self, number: usize) -> dockit_buildkit::Entry<'_> {
        self.0.entry(number)
    }

    fn write_content(&self, number: usize, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        self.0.write_content(number, out)
    }
}

#[tokio::test]
async fn no_more_of_a_large_file_is_read_than_the_receiver_takes() {
    const SIZE: u64 = 200_000_000;
    /// Pieces that wait, and what connections hold.
    const UNDER_WAY: u64 = 8_000_000;
    let tree = Arc::new(Tree::new([("large", 0o644, Node::Zeros(SIZE))]));
    let read = Arc::clone(&tree);
    let fake = Fake::new(move |session, _| {
        let read = Arc::clone(&read);
        async move {
            let mut receiver = Receiver::open(session, "context", &[]).await?;
            receiver.entries().await?;
            receiver.ask(PacketType::PacketReq, 0);
            let taken = AtomicU64::new(0);
            loop {
                let piece = receiver.next().await?.data.len() as u64;
                let taken = taken.fetch_add(piece, Ordering::Relaxed) + piece;
                let read = read.written.load(Ordering::Relaxed);
                assert!(read <= taken + UNDER_WAY, "{read} of {taken}");
                if piece == 0 {
                    assert_eq!(taken, SIZE);
                    break;
                }
            }
            receiver.finish().await?;
            done()
        }
    });
    run(Shared(tree), &fake).await.unwrap();
}

/// What a build ends with whose receiver takes the only file of this tree.
async fn taking(node: Node) -> (Error, Status) {
    let seen = Arc::new(Mutex::new(None));
    let told = Arc::clone(&seen);
    let fake = Fake::new(move |session, _| {
        let told = Arc::clone(&told);
        async move {
            let mut receiver = Receiver::open(session, "context", &[]).await?;
            receiver.entries().await?;
            let failure = receiver.content(0).await.unwrap_err();
            *told.lock().unwrap() = Some(failure);
            Err(Status::unknown("something else, as the daemon has it"))
        }
    });
    let error = run(Tree::new([("file", 0o644, node)]), &fake).await.unwrap_err();
    let seen = seen.lock().unwrap().take().unwrap();
    (error, seen)
}

#[tokio::test]
async fn a_file_that_is_no_longer_what_was_listed_never_ends_well() {
    for (node, words) in [
        (Node::Changed(70_000), "file changed since it was listed"),
        (Node::Changed(0), "file changed since it was listed"),
        (Node::Resized(10), "file: its size is another"),
        (Node::Resized(5000), "file: its size is another"),
    ] {
        let (error, seen) = taking(node.clone()).await;
        assert_eq!((error.kind(), error.message()), (ErrorKind::Context, words), "{node:?}");
        assert_eq!(seen.message(), "the sender failed");
    }
}

/// The bytes of the archive that a session offers, up to its end or its failure.
async fn download(session: Session) -> (Vec<u8>, Option<Status>) {
    let origin = http::Uri::from_static("http://localhost");
    let mut upload = UploadClient::with_origin(session, origin);
    let mut packets = upload.pull(stream::pending()).await.unwrap().into_inner();
    let mut bytes = Vec::new();
    loop {
        match packets.message().await {
            Ok(Some(message)) => bytes.extend(message.data),
            Ok(None) => return (bytes, None),
            Err(status) => return (bytes, Some(status)),
        }
    }
}

#[tokio::test]
async fn an_archive_is_downloaded_from_the_session_and_never_ends_well_where_a_file_changed() {
    let fake = Fake::new(|session: Session, request| async move {
        assert!(session.methods.contains(&"/moby.upload.v1.Upload/Pull".to_owned()));
        assert!(request.frontend_attrs["context"].starts_with("http://buildkit-session/"));
        let (bytes, failure) = download(session).await;
        assert!(failure.is_none());
        // Headers of the root and six entries, the contents of three files, and the end.
        let blocks = 7 + 1 + 1 + 100_000_usize.div_ceil(512) + 2;
        assert_eq!(bytes.len(), blocks * 512);
        done()
    });
    let context = Arc::new(directories_and_files());
    let mut build = Build { context, transfer: Transfer::Archive, ..build() };
    fake.client().build(&build, &mut |_| ControlFlow::Continue(())).await.unwrap();
    for (node, words) in [
        (Node::Changed(70_000), "file changed since it was listed"),
        (Node::Resized(10), "file: its size is another"),
        (Node::Resized(5000), "file: its size is another"),
    ] {
        let fake = Fake::new(|session: Session, _| async {
            let (_, failure) = download(session).await;
            Err(failure.expect("half an archive is none"))
        });
        build.context = Arc::new(Tree::new([("file", 0o644, node)]));
        let built = fake.client().build(&build, &mut |_| ControlFlow::Continue(())).await;
        let error = built.unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::Context, words));
    }
}

#[tokio::test]
async fn a_tree_out_of_order_is_not_sent() {
    struct Reversed;
    impl FileTree for Reversed {
        fn len(&self) -> usize {
            2
        }
        fn entry(&self, number: usize) -> dockit_buildkit::Entry<'_> {
            let kind = dockit_buildkit::EntryKind::File { size: 0 };
            dockit_buildkit::Entry { path: [&b"b"[..], b"a"][number], kind, mode: 0, modified: 0 }
        }
        fn write_content(&self, _: usize, _: &mut dyn std::io::Write) -> std::io::Result<()> {
            Ok(())
        }
    }
    let fake = Fake::new(|session, _| async {
        let mut receiver = Receiver::open(session, "context", &[]).await?;
        while receiver.next().await?.r#type() != PacketType::PacketErr {}
        Err(Status::unknown("so it is"))
    });
    let error = run(Reversed, &fake).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Context, "a: it is not in order"));
}

#[tokio::test]
async fn a_receiver_that_asks_for_what_is_not_there_is_refused() {
    for ids in [&[6][..], &[1], &[3], &[u32::MAX], &[0, 0, 0, 0, 0, 0, 0]] {
        let fake = Fake::new(move |session, _| async move {
            let mut receiver = Receiver::open(session, "context", &[]).await?;
            receiver.entries().await?;
            for id in ids {
                receiver.ask(PacketType::PacketReq, *id);
            }
            loop {
                receiver.next().await?;
            }
        });
        let error = run(directories_and_files(), &fake).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Build, "{ids:?}: {error}");
    }
}
