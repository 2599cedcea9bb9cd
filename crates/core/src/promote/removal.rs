//! Whether a tag that a promotion creates could be removed again, and removing it.

use dockit_registry::{
    Access, Client, Digest, Error, ErrorKind, Registry as _, Repository, Tag, TagDeletion,
};

/// A name that no tag has: asking to delete it tells whether one could be deleted.
fn nobodys_tag(repository: &Repository) -> Tag {
    let digest = Digest::of(format!("no tag of {repository} {}", std::process::id()).as_bytes());
    let hash = digest.as_str().rsplit(':').next().unwrap_or_default();
    format!("dockit-absent-{}", &hash[..24]).parse().expect("letters, digits and dashes")
}

/// Why a tag that is put into this repository could not be removed again; none if it could. What the
/// registry can is found out by asking it to delete what is not there.
pub(super) async fn obstacle(client: &Client, repository: &Repository) -> Option<String> {
    let kind = match client.provider(repository.host()).await {
        Ok(kind) => kind,
        Err(error) => return Some(error.to_string()),
    };
    if kind.capabilities().delete_tag == TagDeletion::Unsupported {
        return Some("this registry does not delete tags".to_owned());
    }
    let tag = nobodys_tag(repository);
    match client.delete_tag(repository, &tag).await {
        Ok(_) => None,
        Err(error) if *error.kind() == ErrorKind::Unsupported => {
            let nothing = Digest::of(tag.as_str().as_bytes());
            client.delete_manifest(repository, &nothing).await.err().map(|error| error.to_string())
        }
        Err(error) => Some(error.to_string()),
    }
}

/// Removes a tag that is on this digest.
pub(super) async fn remove(
    client: &Client,
    repository: &Repository,
    tag: &Tag,
    expected: &Digest,
) -> Result<(), Error> {
    let removed = match client.delete_tag(repository, tag).await {
        Err(error) if *error.kind() == ErrorKind::Unsupported => {
            client.delete_tag_by_substitute(repository, tag, expected).await
        }
        removed => removed,
    };
    removed?;
    let reference = repository.with_tag(tag.clone());
    match client.head_manifest(&reference, Access::PullPush).await? {
        None => Ok(()),
        Some(head) => {
            let message = format!("{reference} is still there, on {}", head.digest);
            Err(Error::new(ErrorKind::Invalid, message))
        }
    }
}
