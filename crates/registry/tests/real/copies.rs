//! Copies between a registry and another one.

use dockit_registry::copy::RemoteImage;
use dockit_registry::{Client, Credential, Reference};
use dockit_testkit::{Auth, RegistryProcess};

use crate::contract::Vendor;
use crate::contract::copies::{BLOBS, Image, copy_and_copy_again};

fn open() -> (RegistryProcess, Client) {
    (RegistryProcess::start(Auth::None), crate::client(Credential::Anonymous))
}

pub(crate) async fn an_image_is_copied_between_registries(vendor: &impl Vendor) {
    let (registry, other) = open();
    let away: Reference = format!("{}/away:1", registry.host()).parse().unwrap();
    let at = vendor.repository("app").with_tag("1".parse().unwrap());
    let back = vendor.repository("back").with_tag("1".parse().unwrap());
    let image = Image::push(&vendor.client(), &at).await;
    let from = RemoteImage::new(vendor.client(), at);
    let to = RemoteImage::to_write(other.clone(), away.clone());
    let report = copy_and_copy_again(&image, &from, &to).await;
    assert_eq!(report.blobs.written, BLOBS);

    let from = RemoteImage::new(other, away);
    copy_and_copy_again(&image, &from, &RemoteImage::to_write(vendor.client(), back)).await;
}
