//! Checking signatures (*AWS Signature Version 4 for API requests*).

use ring::digest::{SHA256, digest};
use ring::hmac;

use crate::scripted::Request;

/// The code of the refusal of a request that is not signed by this key for this service.
pub(super) fn check(
    request: &Request,
    (access_key, secret_key): (&str, &str),
    region: &str,
    service: &str,
) -> Result<(), &'static str> {
    let missing = "MissingAuthenticationTokenException";
    let authorization = request.header("authorization").ok_or(missing)?;
    let fields = authorization.strip_prefix("AWS4-HMAC-SHA256 ").ok_or(missing)?;
    let field = |name: &str| {
        let fields = fields.split(',').filter_map(|field| field.trim().split_once('='));
        fields.filter(|(known, _)| *known == name).map(|(_, value)| value).next()
    };
    let incomplete = "IncompleteSignature";
    let (key, scope) =
        field("Credential").and_then(|value| value.split_once('/')).ok_or(incomplete)?;
    let signed = field("SignedHeaders").ok_or(incomplete)?;
    let signature = field("Signature").ok_or(incomplete)?;
    let time = request.header("x-amz-date").ok_or(incomplete)?;
    if key != access_key {
        return Err("UnrecognizedClientException");
    }
    let date = time.get(..8).ok_or(incomplete)?;
    let invalid = "InvalidSignatureException";
    if scope != format!("{date}/{region}/{service}/aws4_request") {
        return Err(invalid);
    }
    let needed = ["host", "x-amz-date", "x-amz-target"];
    if !needed.iter().all(|name| signed.split(';').any(|known| known == *name)) {
        return Err(invalid);
    }
    let headers: String = signed
        .split(';')
        .map(|name| format!("{name}:{}\n", request.header(name).unwrap_or_default()))
        .collect();
    let body = hex(digest(&SHA256, request.body()).as_ref());
    let canonical =
        format!("{}\n{}\n\n{headers}\n{signed}\n{body}", request.method, request.path());
    let canonical = hex(digest(&SHA256, canonical.as_bytes()).as_ref());
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{canonical}");
    let mut key = format!("AWS4{secret_key}").into_bytes();
    for part in scope.split('/') {
        key = mac(&key, part);
    }
    if hex(&mac(&key, &text)) == signature { Ok(()) } else { Err(invalid) }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
