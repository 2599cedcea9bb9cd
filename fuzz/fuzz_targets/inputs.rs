//! Any bytes are a list of inputs or an error, and what is one is the same after it was written.
#![no_main]

use dockit_core::inputs::{Document, DocumentError};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let document = match Document::from_json(bytes) {
        // Nobody guesses a hash: say the right one.
        Err(DocumentError::WrongKey { claimed, found }) => {
            let Ok(text) = std::str::from_utf8(bytes) else { return };
            let corrected = text.replacen(&claimed.to_string(), &found.to_string(), 1);
            Document::from_json(corrected.as_bytes())
        }
        document => document,
    };
    if let Ok(document) = document {
        let written = document.to_json().expect("what was read is not too large");
        assert_eq!(Document::from_json(&written).expect("what was written is read"), document);
    }
    let _ = Document::unpack(bytes);
});
