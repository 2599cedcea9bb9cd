use super::*;
use crate::http::exchange;
use crate::scripted::{Reply, ScriptedServer};

fn upstream() -> ScriptedServer {
    ScriptedServer::start(|request| {
        let location = format!("http://{}/elsewhere?a=b", request.header("host").unwrap());
        let body = if request.body().is_empty() { b"0123456789" } else { request.body() };
        let seen = request.header("x-test").unwrap_or("nothing");
        Reply::new(200).header("Location", location).header("X-Seen", seen).body(body)
    })
}

fn through(fault: Option<Fault>, method: &str, body: &[u8]) -> (FaultProxy, Option<Message>) {
    let upstream = upstream();
    let proxy = FaultProxy::start(&upstream.host());
    if let Some(fault) = fault {
        proxy.add(Rule::on("*", "/a", fault).times(1));
    }
    let reply = exchange(&proxy.host(), method, "/a?x=y", &[("X-Test", "1")], body).ok();
    (proxy, reply)
}

#[test]
fn without_a_fault_a_request_and_its_reply_just_pass() {
    let (proxy, reply) = through(None, "PUT", b"body");
    let reply = reply.unwrap();
    assert_eq!((reply.status(), &*reply.body), (200, b"body".as_slice()));
    let host = proxy.host();
    assert_eq!(reply.header("location"), Some(&*format!("http://{host}/elsewhere?a=b")));
    let [exchange] = &*proxy.exchanges() else { panic!("{:?}", proxy.log()) };
    assert_eq!((exchange.uploaded, exchange.downloaded), (4, 4));
    assert_eq!(exchange.header("x-test"), Some("1"));
    assert_eq!(proxy.log(), ["PUT /a?x=y 200"]);
}

#[test]
fn faults_do_what_they_say() {
    let body = |fault, method: &str| {
        through(Some(fault), method, b"").1.map(|reply| String::from_utf8(reply.body).unwrap())
    };
    assert_eq!(body(Fault::truncated(3), "GET").as_deref(), Some("012"));
    assert_eq!(body(Fault::truncated_without_length(3), "GET").as_deref(), Some("012"));
    assert_eq!(body(Fault::changed_download(1), "GET").as_deref(), Some("0023456789"));
    assert_eq!(body(Fault::slow_download(1_000), "GET").as_deref(), Some("0123456789"));
    assert_eq!(body(Fault::lost_reply(), "GET"), None);
    assert_eq!(body(Fault::reply(Reply::hang_up()), "GET"), None);

    let reply = |fault| through(Some(fault), "GET", b"").1.unwrap();
    assert_eq!(reply(Fault::status(503)).status(), 503);
    assert_eq!(reply(Fault::default()).header("x-seen"), Some("1"));
    assert_eq!(reply(Fault::ignored_header("X-Test")).header("x-seen"), Some("nothing"));
    let cut = reply(Fault::cut_download_after(4));
    assert_eq!((cut.header("content-length"), &*cut.body), (Some("10"), b"0123".as_slice()));
    assert_eq!(reply(Fault::truncated(3)).header("content-length"), Some("3"));
    assert_eq!(reply(Fault::truncated_without_length(3)).header("content-length"), None);
    assert_eq!(reply(Fault::header("X-New", "1")).header("x-new"), Some("1"));
    assert_eq!(reply(Fault::without_header("Location")).header("location"), None);
    let moved = reply(Fault::elsewhere("Location", "other:1"));
    assert_eq!(moved.header("location"), Some("http://other:1/elsewhere?a=b"));
}

#[test]
fn uploads_are_cut_and_changed_on_their_way() {
    let (_, reply) = through(Some(Fault::changed_upload(0)), "PUT", b"abc");
    assert_eq!(reply.unwrap().body, b"`bc");
    let (proxy, reply) = through(Some(Fault::cut_upload_after(2)), "PUT", b"abc");
    assert!(reply.is_none());
    assert_eq!((proxy.exchanges()[0].uploaded, proxy.log()), (2, vec!["PUT /a?x=y".to_owned()]));
    let (_, reply) = through(Some(Fault::cut_upload_after(3)), "PUT", b"abc");
    assert_eq!(reply.unwrap().body, b"abc");
}

#[test]
fn a_proxy_with_a_stalled_connection_ends_when_it_is_dropped() {
    assert_stalled_until(drop);
}

#[test]
fn a_stalled_connection_is_closed_when_the_faults_are_reset() {
    let mut kept = None;
    assert_stalled_until(|proxy| {
        proxy.reset();
        kept = Some(proxy);
    });
}

/// A client whose reply stalls after one byte gets nothing more until `end`, and then the end.
fn assert_stalled_until(end: impl FnOnce(FaultProxy)) {
    let upstream = upstream();
    let proxy = FaultProxy::start(&upstream.host());
    proxy.add(Rule::on("GET", "*", Fault::stall_download_after(1)));
    let host = proxy.host();
    let (began, begin) = std::sync::mpsc::channel();
    let client = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let mut stream = TcpStream::connect(&host).unwrap();
        stream.write_all(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        let mut first = [0];
        stream.read_exact(&mut first).unwrap();
        began.send(()).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        rest
    });
    begin.recv().unwrap();
    end(proxy);
    let rest = client.join().unwrap();
    assert!(!rest.ends_with(b"9"), "{}", String::from_utf8_lossy(&rest));
}
