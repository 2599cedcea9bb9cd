//! What a person has to know about a key wherever it stands.

use std::collections::BTreeMap;

use dockit_core::Keys;
use dockit_core::key::KeyedImage;

/// The values of a declared key by name, if the image has one.
pub(crate) fn declared(keyed: &KeyedImage) -> Option<BTreeMap<String, String>> {
    let values = keyed.inputs.declared()?.iter();
    Some(values.map(|value| (value.name.clone(), value.value.clone())).collect())
}

/// The same as text.
pub(crate) fn declared_text(declared: Option<&BTreeMap<String, String>>) -> Option<String> {
    let values: Vec<String> =
        declared?.iter().map(|(name, value)| format!("{name}={}", value.escape_debug())).collect();
    Some(format!("declared key: {}", values.join(" ")))
}

/// Says on standard error what somebody should look after.
pub(crate) fn warn(keys: &Keys) {
    for warning in keys.warnings() {
        super::say(&format!("{}: warning: {warning}", warning.image()));
    }
}
