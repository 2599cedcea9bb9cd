//! Bodies of refusals: that of the distribution spec, and those of the vendors' own APIs.

use oci_distribution::errors::{OciEnvelope, OciErrorCode};
use serde::Deserialize;
use serde_json::Value;

/// The codes and messages of a body; none if it is nothing known.
pub(super) fn errors(body: &[u8]) -> Vec<(String, String)> {
    if let Ok(envelope) = serde_json::from_slice::<OciEnvelope>(body) {
        let errors = envelope.errors.into_iter();
        return errors.map(|error| (code_text(&error.code), error.message)).collect();
    }
    serde_json::from_slice::<ApiError>(body).map_or_else(|_| Vec::new(), |error| error.into_pairs())
}

fn code_text(code: &OciErrorCode) -> String {
    match serde_json::to_value(code) {
        Ok(Value::String(text)) => text,
        _ => String::new(),
    }
}

/// Whatever the vendors' APIs say.
#[derive(Deserialize)]
struct ApiError {
    /// AWS: `NAMESPACE#NameException`.
    #[serde(rename = "__type")]
    aws_type: Option<String>,
    /// GitLab, and AWS.
    message: Option<Value>,
    /// AWS, in some services or beside the other one.
    #[serde(rename = "Message")]
    capital_message: Option<Value>,
    /// Docker Hub.
    detail: Option<Value>,
    /// Quay.
    error_message: Option<Value>,
    /// Google's is an object; OAuth2's a code.
    error: Option<Value>,
    error_description: Option<String>,
    /// Docker's token servers.
    details: Option<Value>,
}

impl ApiError {
    fn into_pairs(self) -> Vec<(String, String)> {
        let text = |value: Option<Value>| match value {
            Some(Value::String(text)) => text,
            Some(Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        };
        let messages = [self.message, self.capital_message, self.detail, self.error_message];
        let message = messages.into_iter().flatten().next();
        if let Some(name) = self.aws_type {
            let name = name.rsplit('#').next().unwrap_or_default().to_owned();
            return vec![(name, text(message))];
        }
        match self.error {
            Some(Value::Object(error)) => {
                let field = |name: &str| text(error.get(name).cloned());
                let code = match field("status") {
                    status if status.is_empty() => field("code"),
                    status => status,
                };
                vec![(code, field("message"))]
            }
            Some(error) => {
                let message = self.error_description.unwrap_or_else(|| text(message));
                vec![(text(Some(error)), message)]
            }
            None => {
                let message = text(message.or(self.details));
                if message.is_empty() { Vec::new() } else { vec![(String::new(), message)] }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_messages_of_every_vendor_are_read() {
        for (body, expected) in [
            (
                r#"{"errors":[{"code":"DENIED","message":"no","detail":[1]}]}"#,
                vec![("DENIED", "no")],
            ),
            (r#"{"errors":[{"code":"TAG_EXPIRED","message":""}]}"#, vec![("TAG_EXPIRED", "")]),
            (
                r#"{"__type":"com.amazonaws.ecr#RepositoryNotFoundException","message":"gone"}"#,
                vec![("RepositoryNotFoundException", "gone")],
            ),
            (
                r#"{"__type":"AccessDeniedException","Message":"no"}"#,
                vec![("AccessDeniedException", "no")],
            ),
            (
                r#"{"__type":"ServerException","message":"both","Message":"both"}"#,
                vec![("ServerException", "both")],
            ),
            (
                r#"{"error":{"code":403,"message":"no","status":"PERMISSION_DENIED"}}"#,
                vec![("PERMISSION_DENIED", "no")],
            ),
            (r#"{"error":{"code":404,"message":"no"}}"#, vec![("404", "no")]),
            (r#"{"message":"403 Forbidden"}"#, vec![("", "403 Forbidden")]),
            (r#"{"message":{"base":["no"]}}"#, vec![("", r#"{"base":["no"]}"#)]),
            (
                r#"{"error":"insufficient_scope","error_description":"needs more"}"#,
                vec![("insufficient_scope", "needs more")],
            ),
            (
                r#"{"details":"incorrect username or password"}"#,
                vec![("", "incorrect username or password")],
            ),
            ("{}", vec![]),
            ("[]", vec![]),
            ("<html>", vec![]),
            ("", vec![]),
        ] {
            let found = errors(body.as_bytes());
            let found: Vec<(&str, &str)> =
                found.iter().map(|(code, message)| (code.as_str(), message.as_str())).collect();
            assert_eq!(found, expected, "{body}");
        }
    }
}
