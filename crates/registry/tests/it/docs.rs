//! The tests that the documentation names are there.

use std::path::Path;

#[test]
fn every_test_that_the_table_of_vendors_links_to_exists() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let text = std::fs::read_to_string(docs.join("registries.md")).unwrap();
    let mut links = 0;
    for link in text.split("](../crates/").skip(1) {
        let target = link.split(')').next().unwrap();
        let (file, test) = target.split_once('#').unwrap_or((target, ""));
        let path = docs.join("../crates").join(file);
        let code = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("no {file}"));
        let function = format!("fn {test}");
        assert!(test.is_empty() || code.contains(&function), "{file} has no {test}");
        links += 1;
    }
    assert!(links > 40, "{links} links");
}
