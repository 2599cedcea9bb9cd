//! Signing requests (*AWS Signature Version 4 for API requests*).

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderName};

use super::endpoint::Endpoint;
use crate::client::credential::Secret;
use crate::client::identity::AwsKeys;
use crate::client::transport::ApiCall;
use crate::error::{Error, ErrorKind};

/// *AWS JSON 1.1 protocol*.
const JSON: &str = "application/x-amz-json-1.1";
const TARGET: &str = "x-amz-target";

/// A request for an action, to be sent once and now: its signature is good for some minutes.
pub(super) fn signed(
    endpoint: &Endpoint,
    keys: &AwsKeys,
    action: &str,
    body: String,
) -> Result<ApiCall, Error> {
    // Neither quotes what it is about.
    let failed = |what: &str| Error::new(ErrorKind::Invalid, format!("not signed: {what}"));
    let target = format!("{}.{action}", endpoint.service.target());
    let session = keys.session_token.as_ref().map(|token| token.expose().to_owned());
    let identity = Credentials::new(
        keys.access_key_id.clone(),
        keys.secret_access_key.expose(),
        session,
        keys.expires,
        "dockit",
    )
    .into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(&endpoint.region)
        .name(endpoint.service.name())
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .map_err(|_| failed("something is missing for the signature"))?
        .into();
    let headers = [(CONTENT_TYPE.as_str(), JSON), (TARGET, target.as_str())];
    let request = SignableRequest::new(
        Method::POST.as_str(),
        endpoint.url.as_str(),
        headers.into_iter(),
        SignableBody::Bytes(body.as_bytes()),
    )
    .map_err(|_| failed("the address of the API cannot be asked"))?;
    let (instructions, _) = sign(request, &parameters)
        .map_err(|_| failed("the keys cannot be sent in headers"))?
        .into_parts();
    let mut call = ApiCall::new(Method::POST, endpoint.url.clone())
        .header(CONTENT_TYPE, JSON)
        .header(HeaderName::from_static(TARGET), &target);
    for (name, value) in instructions.headers() {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| failed("the signature cannot be sent in headers"))?;
        call = call.secret_header(name, &Secret::new(value));
    }
    Ok(call.body(body))
}
