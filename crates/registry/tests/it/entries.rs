//! Lists of entries whose items are looked up one by one.

use std::time::Duration;

use dockit_registry::{Access, Limits, Registry as _};
use dockit_testkit::{Reply, ScriptedServer, TestImage};
use futures_util::TryStreamExt as _;
use serde_json::json;

use crate::support::{builder, present, reference};

/// What was begun for the list holds what others wait for.
#[tokio::test]
async fn a_client_can_be_asked_something_else_in_the_middle_of_a_list() {
    let image = TestImage::new("listed");
    let server = ScriptedServer::start({
        let image = image.clone();
        move |request| {
            let delay = Duration::from_millis(2);
            let path = request.path();
            if path.contains("/manifests/") {
                return present(&image).delay(delay);
            }
            if path.contains("/blobs/") {
                return Reply::new(200).body(image.config.clone()).delay(delay);
            }
            let tags = |from: usize| {
                let names: Vec<String> =
                    (from..from + 10).map(|number| number.to_string()).collect();
                Reply::new(200).body(json!({"name": "team/app", "tags": names}).to_string())
            };
            match (path, request.query("last").first()) {
                ("/v2/", _) => Reply::new(200),
                ("/v2/team/app/tags/list", None) => {
                    tags(0).header("Link", "<?last=9>; rel=\"next\"").delay(delay)
                }
                ("/v2/team/app/tags/list", Some(_)) => tags(10).delay(delay),
                _ => Reply::new(404),
            }
        }
    });
    let mut limits = Limits::default();
    limits.questions = 1;
    let client = builder().limits(limits).build().unwrap();
    let reference = reference(&server);
    let listed = async {
        let mut entries = client.entries(reference.repository());
        let mut listed = Vec::new();
        while let Some(entry) = entries.try_next().await.unwrap() {
            client.head_manifest(&reference, Access::Pull).await.unwrap().unwrap();
            listed.push(entry.tag.unwrap().to_string());
        }
        listed
    };
    let listed = tokio::time::timeout(Duration::from_secs(20), listed).await.unwrap();
    let expected: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    assert_eq!(listed, expected);
}
