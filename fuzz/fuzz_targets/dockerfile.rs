//! Any bytes are a Dockerfile or an error, and what is a Dockerfile survives being rewritten.
#![no_main]

use std::collections::BTreeMap;

use dockit_hashing::dockerfile::{Dockerfile, ImageConfig, ImageUse, ResolveOptions};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(dockerfile) = Dockerfile::parse(bytes) else {
        return;
    };
    let args = BTreeMap::from([("TAG".to_owned(), "2".to_owned())]);
    let none = BTreeMap::new();
    let options = ResolveOptions { target: None, args: &args, platform_args: &none };
    let Ok(resolved) = dockerfile.resolve(&options) else {
        return;
    };
    assert_eq!(resolved.rewrite(&mut |_, _| None), bytes);
    // What is known of a base, triggers of its own included, or is not, must never be too much for it.
    for config in [ImageConfig::unknown(), base()] {
        let _ = resolved.context_inputs(&|_| Some(config.clone()));
        let _ = resolved.image_config(&|_| Some(config.clone()));
        let _ = resolved.first_command(&|_| Some(config.clone()));
        let mut evaluation = resolved.evaluation();
        for position in 0..evaluation.stages().len() {
            if evaluation.stage(position, &config).is_err() {
                break;
            }
        }
    }
    if !resolved.image_uses().iter().all(|used| is_plain(&used.name)) {
        return;
    }
    let rewritten = resolved.rewrite(&mut |_, used| Some(used.name.clone()));
    let again = Dockerfile::parse(&rewritten).expect("a rewritten Dockerfile is one");
    let again = again.resolve(&options).expect("it means something");
    assert_eq!(again.program().hash(), resolved.program().hash());
    assert_eq!(names(again.image_uses()), names(resolved.image_uses()));
});

/// A base image with a variable, and with a trigger that reads what the variable says.
fn base() -> ImageConfig {
    ImageConfig::new([("A".to_owned(), "b".to_owned())], vec!["COPY $A/*.txt /".to_owned()])
}

/// Whether a name can stand in a Dockerfile as it is.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|ch| ch.is_ascii_alphanumeric() || "./:@-_".contains(ch))
}

fn names(uses: &[ImageUse]) -> Vec<&str> {
    uses.iter().map(|used| used.name.as_str()).collect()
}
