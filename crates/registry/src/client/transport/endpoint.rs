//! URLs: where a registry is, which places are never asked, and what may be shown.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use super::call::Call;
use super::reply::Reason;
use crate::error::{Error, ErrorKind};
use crate::reference::RegistryHost;

/// `https`, except for hosts that were configured so and for loopback, where the registries of
/// developers and tests speak plain HTTP. Port 443 is TLS everywhere.
pub(super) fn scheme(host: &RegistryHost, insecure: &BTreeSet<RegistryHost>) -> &'static str {
    let plain = insecure.contains(host) || (host.is_loopback() && host.port() != Some(443));
    if plain { "http" } else { "https" }
}

/// The URL of a request, and the registry's own for it, which differ where the registry has said that
/// the request should go elsewhere.
pub(super) fn urls(call: &Call<'_>, scheme: &str) -> Result<(Url, Url), Error> {
    let text = format!("{scheme}://{}{}", call.host().api_host(), call.path());
    let own = Url::parse(&text)
        .map_err(|error| Error::new(ErrorKind::Invalid, format!("{}: {error}", call.host())))?;
    let mut url = match call.location() {
        None => own.clone(),
        Some(location) => {
            let reason = Reason::new(call.method(), &own, call.host());
            let mut url = own
                .join(&location.location)
                .map_err(|_| reason.error(ErrorKind::Invalid, "sent to what is no URL"))?;
            check(&own, &url).map_err(|message| reason.error(ErrorKind::Invalid, message))?;
            if !location.may_leave && !same_origin(&own, &url) {
                let message = format!("sent on to {}, which is another server", redacted(&url));
                return Err(reason.error(ErrorKind::Invalid, message));
            }
            // Both fail only for URLs without a host; `check` has refused those.
            let _ = url.set_username("");
            let _ = url.set_password(None);
            url
        }
    };
    for (name, value) in call.parameters() {
        url.query_pairs_mut().append_pair(name, value);
    }
    Ok((url, own))
}

/// Whether a registry may send a request from one place to another.
pub(super) fn check(from: &Url, to: &Url) -> Result<(), String> {
    let shown = redacted(to);
    if is_link_local(to) {
        return Err(format!("a redirect to {shown}, a link-local address"));
    }
    match (from.scheme(), to.scheme()) {
        (_, "https") => {}
        // What is allowed on loopback is so because nobody listens there.
        ("http", "http") if !is_loopback(from) || is_loopback(to) => {}
        ("http", "http") => return Err(format!("a redirect to {shown}, which is not encrypted")),
        ("https", "http") => return Err(format!("a redirect to {shown}, which is not encrypted")),
        _ => return Err(format!("a redirect to {shown}, which is no web address")),
    }
    Ok(())
}

/// Whether both URLs have the same scheme, host and port.
pub(super) fn same_origin(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
}

pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Whether the URL names a link-local address, where clouds hand out credentials to whoever asks from
/// within. No registry has a reason to send anybody there.
pub(super) fn is_link_local(url: &Url) -> bool {
    let v4 = |address: Ipv4Addr| address.is_link_local();
    let v6 = |address: Ipv6Addr| {
        address.is_unicast_link_local() || address.to_ipv4_mapped().is_some_and(v4)
    };
    match url.host() {
        Some(Host::Ipv4(address)) => v4(address),
        Some(Host::Ipv6(address)) => v6(address),
        Some(Host::Domain(_)) | None => false,
    }
}

/// Parameters whose values say nothing that is secret. Signed URLs carry their secrets under many
/// names, so that only these are shown.
const SHOWN: [&str; 9] =
    ["artifactType", "client_id", "digest", "from", "last", "mount", "n", "scope", "service"];

/// The URL without user, password and fragment, and with the values of unknown parameters replaced.
pub(super) fn redacted(url: &Url) -> String {
    let mut shown = url.clone();
    // Both fail only for URLs without a host, which have neither.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_fragment(None);
    shown.set_query(None);
    let mut text = shown.to_string();
    let pairs = url.query().into_iter().flat_map(|query| query.split('&'));
    for (position, pair) in pairs.enumerate() {
        text.push(if position == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, _)) if SHOWN.contains(&name) => text.push_str(pair),
            Some((name, _)) => {
                text.push_str(name);
                text.push_str("=***");
            }
            None => text.push_str("***"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn only_loopback_and_configured_hosts_are_spoken_to_in_the_clear() {
        let insecure = BTreeSet::from(["plain.example:80".parse().unwrap()]);
        for (host, expected) in [
            ("ghcr.io", "https"),
            ("docker.io", "https"),
            ("localhost:5000", "http"),
            ("127.0.0.1", "http"),
            ("localhost:443", "https"),
            ("plain.example:80", "http"),
            ("plain.example", "https"),
            ("10.0.0.1:5000", "https"),
        ] {
            assert_eq!(scheme(&host.parse().unwrap(), &insecure), expected, "{host}");
        }
    }

    #[test]
    fn link_local_addresses_are_known_in_every_spelling() {
        for (text, link_local) in [
            ("http://169.254.169.254/token", true),
            ("http://0xa9fea9fe/token", true),
            ("http://2852039166/", true),
            ("http://[fe80::1]/", true),
            ("http://[::ffff:169.254.169.254]/", true),
            ("http://127.0.0.1/", false),
            ("https://169.254.example/", false),
        ] {
            assert_eq!(is_link_local(&url(text)), link_local, "{text}");
        }
    }

    #[test]
    fn nothing_secret_of_a_url_is_shown() {
        for (text, shown) in [
            ("https://u:p@h.example/p", "https://h.example/p"),
            ("https://h/p?n=3&last=a#frag", "https://h/p?n=3&last=a"),
            (
                "https://h/p?X-Amz-Signature=abc&sig=s&token=t&_state=x",
                "https://h/p?X-Amz-Signature=***&sig=***&token=***&_state=***",
            ),
            ("https://h/p?opaque", "https://h/p?***"),
            (
                "https://h/t?service=s&scope=repository:a:pull",
                "https://h/t?service=s&scope=repository:a:pull",
            ),
        ] {
            assert_eq!(redacted(&url(text)), shown);
        }
    }
}
