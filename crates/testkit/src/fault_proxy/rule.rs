//! Which requests something goes wrong with, and what.

use crate::scripted::Reply;

/// What goes wrong with requests of one kind.
#[derive(Clone, Debug)]
pub struct Rule {
    method: String,
    pattern: String,
    pass: usize,
    times: usize,
    fault: Fault,
}

impl Rule {
    /// Every request of this method (`*` for any) whose path, without the query, matches the pattern,
    /// in which `*` stands for any characters.
    pub fn on(method: &str, pattern: &str, fault: Fault) -> Self {
        let (method, pattern) = (method.to_owned(), pattern.to_owned());
        Self { method, pattern, pass: 0, times: usize::MAX, fault }
    }

    /// Only this many requests.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Not the first `requests` of them.
    #[must_use]
    pub fn after(mut self, requests: usize) -> Self {
        self.pass = requests;
        self
    }

    /// The fault for a request, which counts.
    pub(super) fn apply(&mut self, method: &str, path: &str) -> Option<Fault> {
        if (self.method != "*" && self.method != method) || !matches(&self.pattern, path) {
            return None;
        }
        if self.pass > 0 {
            self.pass -= 1;
            return None;
        }
        self.times = self.times.checked_sub(1)?;
        Some(self.fault.clone())
    }
}

/// Something that goes wrong with one request.
#[derive(Clone, Debug, Default)]
pub struct Fault {
    pub(super) reply: Option<Reply>,
    pub(super) loses_reply: bool,
    pub(super) upload: Flow,
    pub(super) download: Flow,
    /// Headers of the request that the registry does not get.
    pub(super) ignored: Vec<String>,
    pub(super) edits: Vec<(String, Edit)>,
    pub(super) length: Length,
}

/// How bytes flow in one direction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flow {
    /// What happens before the byte at this position.
    pub(super) stop: Option<(u64, Stop)>,
    pub(super) bytes_per_second: Option<u64>,
    /// The position of a byte that is changed.
    pub(super) changed: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The connection is closed.
    Cut,
    /// Nothing more is read or sent.
    Stall,
    /// The body ends as if that were all.
    End,
}

/// What becomes of a header of the registry's reply.
#[derive(Clone, Debug)]
pub(super) enum Edit {
    Set(String),
    Remove,
    /// Its URL leads to another `host:port`.
    Move(String),
}

/// What a reply says about its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Length {
    /// What the registry said.
    #[default]
    AsIs,
    /// How many bytes really come.
    True,
    /// Nothing; the end of the connection ends the body.
    Missing,
}

impl Fault {
    /// The registry is not asked; the request's body is read, and this is the answer.
    pub fn reply(reply: Reply) -> Self {
        Self { reply: Some(reply), ..Self::default() }
    }

    /// The registry is not asked; the answer has this status and no body.
    pub fn status(status: u16) -> Self {
        Self::reply(Reply::new(status))
    }

    /// The registry does what it was asked, but its reply is lost: the connection is closed.
    pub fn lost_reply() -> Self {
        Self { loses_reply: true, ..Self::default() }
    }

    /// The connection is closed when this many bytes of the request's body were passed on, if it has
    /// more.
    pub fn cut_upload_after(bytes: u64) -> Self {
        Self::uploading(Flow { stop: Some((bytes, Stop::Cut)), ..Flow::default() })
    }

    /// No more than this many bytes of the request's body are passed on; the connection stays open.
    pub fn stall_upload_after(bytes: u64) -> Self {
        Self::uploading(Flow { stop: Some((bytes, Stop::Stall)), ..Flow::default() })
    }

    /// The request's body is read at this rate.
    pub fn slow_upload(bytes_per_second: u64) -> Self {
        Self::uploading(Flow { bytes_per_second: Some(bytes_per_second), ..Flow::default() })
    }

    /// The byte of the request's body at this position, counted from 0, is another.
    pub fn changed_upload(position: u64) -> Self {
        Self::uploading(Flow { changed: Some(position), ..Flow::default() })
    }

    /// The connection is closed when this many bytes of the reply's body were sent, if it has more.
    pub fn cut_download_after(bytes: u64) -> Self {
        Self::downloading(Flow { stop: Some((bytes, Stop::Cut)), ..Flow::default() })
    }

    /// No more than this many bytes of the reply's body are sent; the connection stays open.
    pub fn stall_download_after(bytes: u64) -> Self {
        Self::downloading(Flow { stop: Some((bytes, Stop::Stall)), ..Flow::default() })
    }

    /// The reply's body is sent at this rate.
    pub fn slow_download(bytes_per_second: u64) -> Self {
        Self::downloading(Flow { bytes_per_second: Some(bytes_per_second), ..Flow::default() })
    }

    /// The byte of the reply's body at this position, counted from 0, is another.
    pub fn changed_download(position: u64) -> Self {
        Self::downloading(Flow { changed: Some(position), ..Flow::default() })
    }

    /// The reply's body ends after this many bytes, and its `Content-Length` says so.
    pub fn truncated(bytes: u64) -> Self {
        let flow = Flow { stop: Some((bytes, Stop::End)), ..Flow::default() };
        Self { length: Length::True, ..Self::downloading(flow) }
    }

    /// The reply's body ends after this many bytes, with the connection; there is no
    /// `Content-Length`, so that nothing in HTTP tells that there was more.
    pub fn truncated_without_length(bytes: u64) -> Self {
        let flow = Flow { stop: Some((bytes, Stop::End)), ..Flow::default() };
        Self { length: Length::Missing, ..Self::downloading(flow) }
    }

    /// The registry does not see this header of the request.
    pub fn ignored_header(name: &str) -> Self {
        Self { ignored: vec![name.to_owned()], ..Self::default() }
    }

    /// The registry's reply has this header instead of its own.
    pub fn header(name: &str, value: &str) -> Self {
        Self::edit(name, Edit::Set(value.to_owned()))
    }

    /// The registry's reply lacks this header.
    pub fn without_header(name: &str) -> Self {
        Self::edit(name, Edit::Remove)
    }

    /// The URL in this header of the registry's reply (`Location`, or `Link` with its `<…>`) leads to
    /// the same path of another `host:port`.
    pub fn elsewhere(name: &str, host: &str) -> Self {
        Self::edit(name, Edit::Move(host.to_owned()))
    }

    fn uploading(upload: Flow) -> Self {
        Self { upload, ..Self::default() }
    }

    fn downloading(download: Flow) -> Self {
        Self { download, ..Self::default() }
    }

    fn edit(name: &str, edit: Edit) -> Self {
        Self { edits: vec![(name.to_owned(), edit)], ..Self::default() }
    }
}

impl Edit {
    /// The header's new value.
    pub(super) fn apply(&self, value: &str) -> Option<String> {
        match self {
            Self::Set(new) => Some(new.clone()),
            Self::Remove => None,
            Self::Move(host) => {
                let (opening, url) = match value.strip_prefix('<') {
                    Some(url) => ("<", url),
                    None => ("", value),
                };
                let target = match url.split_once("://") {
                    Some((_, rest)) => rest.find('/').map_or("/", |start| &rest[start..]),
                    None => url,
                };
                Some(format!("{opening}http://{host}{target}"))
            }
        }
    }
}

/// Whether the text is one that the pattern stands for.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(start) else {
        return false;
    };
    (0..=text.len()).any(|at| text.is_char_boundary(at) && matches(rest, &text[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_paths() {
        for (pattern, path, expected) in [
            ("/v2/", "/v2/", true),
            ("/v2/", "/v2/a", false),
            ("/v2/*/manifests/*", "/v2/team/app/manifests/1", true),
            ("/v2/*/manifests/*", "/v2/team/app/blobs/1", false),
            ("*/1", "/v2/a/manifests/1", true),
            ("*/1", "/v2/a/manifests/12", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_rule_holds_as_often_as_it_says() {
        let mut rule = Rule::on("GET", "/a", Fault::status(500)).after(1).times(2);
        let mut apply = |method, path| rule.apply(method, path).is_some();
        assert!(!apply("PUT", "/a") && !apply("GET", "/b") && !apply("GET", "/a"));
        assert!(apply("GET", "/a") && apply("GET", "/a"));
        assert!(!apply("GET", "/a"));
    }

    #[test]
    fn urls_of_headers_are_moved_with_path_and_query() {
        let edit = Edit::Move("b:2".to_owned());
        for (value, moved) in [
            ("http://a:1/v2/x?y=z", "http://b:2/v2/x?y=z"),
            ("/v2/x", "http://b:2/v2/x"),
            (
                "</v2/_catalog?last=a>; rel=\"next\"",
                "<http://b:2/v2/_catalog?last=a>; rel=\"next\"",
            ),
        ] {
            assert_eq!(edit.apply(value).as_deref(), Some(moved));
        }
    }
}
