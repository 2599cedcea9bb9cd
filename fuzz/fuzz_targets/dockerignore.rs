//! Any bytes are an ignore file or an error, and what changes nothing in it changes no verdict.
//!
//! The input is the ignore file, a NUL, and paths with a NUL between them.
#![no_main]

use dockit_hashing::context::ContextPath;
use dockit_hashing::context::ignore::IgnoreRules;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.split(|byte| *byte == 0);
    let text = parts.next().unwrap_or_default();
    let Ok(rules) = IgnoreRules::parse(text) else {
        return;
    };
    let noisy = [b"# noise\n\n", text, b"\n \t\n#\n"].concat();
    // A byte order mark is one only at the start.
    let noisy = if text.starts_with(b"\xef\xbb\xbf") { text.to_vec() } else { noisy };
    let noisy = IgnoreRules::parse(&noisy).expect("blank lines and comments are nothing");
    for path in parts.filter_map(ContextPath::new) {
        assert_eq!(rules.excludes(&path), noisy.excludes(&path), "{path}");
    }
});
