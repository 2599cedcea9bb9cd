//! Blobs whose download goes wrong while they are streamed.

use std::time::Duration;

use dockit_registry::manifest::Descriptor;
use dockit_registry::{Client, Credential, Error, ErrorKind, Registry as _};
use dockit_testkit::{Fault, Rule};

use super::{Front, TRIES};
use crate::contract::noise;
use crate::source::{collect, describe};

const BLOBS: &str = "/v2/team/app/blobs/*";
const SIZE: u64 = 3_000_000;

/// A blob in the registry.
async fn front() -> (Front, Vec<u8>, Descriptor) {
    let front = Front::open();
    let bytes = noise(7, SIZE as usize);
    let direct = format!("{}/team/app:1", front.registry.host());
    let direct: dockit_registry::Reference = direct.parse().unwrap();
    let client = crate::client(Credential::Anonymous);
    client.put_blob(direct.repository(), bytes.clone().into()).await.unwrap();
    let blob = describe(&bytes);
    (front, bytes, blob)
}

async fn read(client: &Client, front: &Front, blob: &Descriptor) -> Result<Vec<u8>, Error> {
    collect(client.blob_stream(&front.repository(), blob).await?).await
}

#[tokio::test]
async fn a_download_that_was_cut_goes_on_where_it_ended() {
    let (front, bytes, blob) = front().await;
    for cut in [1, 1_000_000, SIZE - 1] {
        front.proxy.reset();
        front.fault_once("GET", BLOBS, Fault::cut_download_after(cut));
        assert!(read(&front.client(), &front, &blob).await.unwrap() == bytes, "{cut}");
        assert_eq!(front.outline(), ["GET 200", "GET 206"], "{cut}");
        let exchanges = front.proxy.exchanges();
        assert_eq!(exchanges[1].header("range"), Some(&*format!("bytes={cut}-")));
        assert_eq!(exchanges.iter().map(|one| one.downloaded).sum::<u64>(), SIZE, "{cut}");
    }
}

#[tokio::test]
async fn every_piece_of_a_download_has_all_its_tries() {
    let (front, bytes, blob) = front().await;
    let cuts = 3 * TRIES as usize;
    front.proxy.add(Rule::on("GET", BLOBS, Fault::cut_download_after(200_000)).times(cuts));
    assert!(read(&front.client(), &front, &blob).await.unwrap() == bytes);
    assert_eq!(front.proxy.exchanges().len(), cuts + 1);
}

#[tokio::test]
async fn a_download_that_gets_nowhere_is_given_up() {
    let (front, _, blob) = front().await;
    front.fault_once("GET", BLOBS, Fault::cut_download_after(200_000));
    front.fault("GET", BLOBS, Fault::cut_download_after(0));
    let error = read(&front.client(), &front, &blob).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Transient, "{error}");
    assert_eq!(front.proxy.exchanges().len(), TRIES as usize);
}

#[tokio::test]
async fn a_server_that_ignores_ranges_is_read_from_the_start() {
    let (front, bytes, blob) = front().await;
    front.fault_once("GET", BLOBS, Fault::cut_download_after(1_000_000));
    front.fault("GET", BLOBS, Fault::ignored_header("Range"));
    assert!(read(&front.client(), &front, &blob).await.unwrap() == bytes);
    assert_eq!(front.outline(), ["GET 200", "GET 200"]);
}

#[tokio::test]
async fn a_download_that_stops_arriving_goes_on_with_another_connection() {
    let (front, bytes, blob) = front().await;
    let client = front.builder().idle_timeout(Duration::from_millis(500)).build().unwrap();
    front.fault_once("GET", BLOBS, Fault::stall_download_after(1_000_000));
    assert!(read(&client, &front, &blob).await.unwrap() == bytes);
    assert_eq!(front.outline(), ["GET 200", "GET 206"]);
}

#[tokio::test]
async fn a_download_that_ends_without_a_word_goes_on() {
    let (front, bytes, blob) = front().await;
    front.fault_once("GET", BLOBS, Fault::truncated_without_length(1_000_000));
    assert!(read(&front.client(), &front, &blob).await.unwrap() == bytes);
    assert_eq!(front.outline(), ["GET 200", "GET 206"]);
}

#[tokio::test]
async fn another_blob_is_an_error_and_is_asked_for_once() {
    let (front, _, blob) = front().await;
    for fault in [
        Fault::changed_download(0),
        Fault::changed_download(SIZE - 1),
        // Contradicts the descriptor at once.
        Fault::truncated(1_000_000),
    ] {
        front.proxy.reset();
        front.fault("GET", BLOBS, fault.clone());
        let error = read(&front.client(), &front, &blob).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::DigestMismatch, "{fault:?}: {error}");
        assert_eq!(front.outline(), ["GET 200"], "{fault:?}");
    }
}

#[tokio::test]
async fn a_download_that_goes_on_with_other_bytes_is_an_error() {
    let (front, _, blob) = front().await;
    front.fault_once("GET", BLOBS, Fault::cut_download_after(1_000_000));
    front.fault("GET", BLOBS, Fault::changed_download(0));
    let error = read(&front.client(), &front, &blob).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::DigestMismatch, "{error}");
    assert_eq!(front.outline(), ["GET 200", "GET 206"]);
}
