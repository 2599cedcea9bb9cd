//! Sending a request, and following where it leads.

use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, LOCATION};
use url::Url;

use super::Http;
use super::authority::Authorization;
use super::call::{Body, Call};
use super::endpoint::{check, redacted, same_origin};
use super::limits::Permit;
use super::progress::watch;
use super::reply::{Reason, Reply};
use crate::error::{Error, ErrorKind};

/// More than any registry needs: storage behind a mirror behind a registry is two.
const MAX_REDIRECTS: usize = 5;

/// Sends the request to `start`, and follows redirects of GET and HEAD.
///
/// Where the request is not at the registry's origin, that of `own`, the authorization is left behind
/// for good: storage backends are reached by signed URLs, and whoever can choose a `Location` must not
/// get a password.
pub(super) async fn follow(
    http: &Http,
    call: &Call<'_>,
    start: Url,
    own: &Url,
    authorization: Option<&Authorization>,
    permit: Permit,
) -> Result<Reply, Error> {
    let mut url = start.clone();
    let mut left = !same_origin(own, &start);
    for _ in 0..=MAX_REDIRECTS {
        let reason = Reason::new(call.method(), &url, call.host());
        let streamed = matches!(call.content(), Some(Body::Stream(_)));
        let client = if streamed { http.patient_client(&url)? } else { http.client(&url).clone() };
        let mut request =
            client.request(call.method().clone(), url.clone()).headers(call.headers().clone());
        let mut progress = None;
        match call.content() {
            Some(Body::Bytes(body)) => request = request.body(body.clone()),
            Some(Body::Stream(body)) => {
                let (watched, seen) = watch(body.open().await?);
                progress = Some(seen);
                request = request
                    .header(CONTENT_LENGTH, body.length())
                    .body(reqwest::Body::wrap_stream(watched));
            }
            None => {}
        }
        if let Some(authorization) = authorization.filter(|_| !left) {
            request = request.header(AUTHORIZATION, authorization.header());
        }
        let response = match progress {
            None => request.send().await.map_err(|error| reason.unsent(error))?,
            Some(progress) => progress.send(request, http.idle_timeout, &reason).await?,
        };
        let status = response.status();
        tracing::debug!(method = %call.method(), url = redacted(&url), status = status.as_u16(), "registry");
        let follows = *call.method() == Method::GET || *call.method() == Method::HEAD;
        let location = match response.headers().get(LOCATION) {
            Some(location) if follows && matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) => {
                location.to_str().ok().and_then(|location| url.join(location).ok())
            }
            _ => return Ok(Reply::new(response, reason, url, left, permit)),
        };
        let Some(mut next) = location else {
            return Err(reason.error(ErrorKind::Invalid, "a redirect to what is no URL"));
        };
        check(&url, &next).map_err(|message| reason.error(ErrorKind::Invalid, message))?;
        // Both fail only for URLs without a host; `check` has refused those.
        let _ = next.set_username("");
        let _ = next.set_password(None);
        left |= !same_origin(own, &next);
        url = next;
    }
    Err(Reason::new(call.method(), &start, call.host())
        .error(ErrorKind::Invalid, format!("more than {MAX_REDIRECTS} redirects")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_encrypted_and_away_from_link_local_addresses() {
        for (from, to, allowed) in [
            ("https://a/x", "https://b/y", true),
            ("http://a/x", "http://b/y", true),
            ("http://a/x", "https://b/y", true),
            ("https://a/x", "http://a/x", false),
            ("https://a/x", "file:///etc/passwd", false),
            ("http://a/x", "http://169.254.169.254/", false),
        ] {
            let result = check(&Url::parse(from).unwrap(), &Url::parse(to).unwrap());
            assert_eq!(result.is_ok(), allowed, "{from} {to}");
        }
    }
}
