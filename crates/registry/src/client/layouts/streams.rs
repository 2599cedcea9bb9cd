//! Blobs of layouts as streams. The disk is read and written on threads of tokio's that may block; each
//! blob that is on its way takes one to be read and one to be written.

use std::io::Read as _;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::blob::{BlobSource, BlobStream, Delivery};
use crate::error::{Details, Error, ErrorKind};
use crate::layout::Layout;
use crate::manifest::Descriptor;
use crate::verifier::Verifier;

/// How much of a blob is read at a time, in bytes.
const PIECE: usize = 512 * 1024;

/// How many pieces may wait between the disk and the other side of a copy.
const PIECES_WAITING: usize = 4;

/// A blob, whose size and digest the stream checks.
pub(crate) async fn read_blob(layout: &Layout, blob: &Descriptor) -> Result<BlobStream, Error> {
    let (wanted, verifier) = (blob.clone(), Verifier::new(blob));
    let path = layout.directory().to_owned();
    let layout = layout.clone();
    let file = ended(spawn_blocking(move || layout.open_blob(&wanted))).await?;
    let (sender, receiver) = mpsc::channel(PIECES_WAITING);
    let task = spawn_blocking(move || {
        read(file, verifier, &sender).map_err(|error| {
            let message = format!("{}: {error}", path.display());
            let kind = error.kind().clone();
            let details = Details { source: Some(Box::new(error)), ..Details::default() };
            Error::with_details(kind, message, details)
        })
    });
    Ok(stream::unfold(Some((receiver, task)), next_piece).boxed())
}

/// Writes a blob unless it is there.
pub(crate) async fn write_blob(
    layout: &Layout,
    blob: &Descriptor,
    source: &dyn BlobSource,
) -> Result<Delivery, Error> {
    let (wanted, layout) = (blob.clone(), layout.clone());
    let begin = spawn_blocking(move || {
        // Before anything is written to a layout that is damaged.
        layout.check_index()?;
        let there = layout.renew_blob(&wanted)?;
        (!there).then(|| layout.blob_writer(&wanted)).transpose()
    });
    let Some(mut writer) = ended(begin).await? else {
        return Ok(Delivery::Present);
    };
    let mut pieces = source.open().await?;
    let (sender, mut receiver) = mpsc::channel::<Bytes>(PIECES_WAITING);
    // The disk and the hash do not wait for the source, nor the source for them.
    let task = spawn_blocking(move || {
        while let Some(piece) = receiver.blocking_recv() {
            writer.write(&piece)?;
        }
        // Of a put that was given up, the bytes are not the blob's.
        writer.commit()
    });
    let mut failure = None;
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(piece) => {
                if sender.send(piece).await.is_err() {
                    break; // the task says why
                }
            }
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    drop(sender);
    let written = ended(task).await;
    match failure {
        Some(error) => Err(error),
        None => written.map(|()| Delivery::Written),
    }
}

/// What a task that may block came to.
pub(crate) async fn ended<T>(task: JoinHandle<Result<T, Error>>) -> Result<T, Error> {
    task.await.unwrap_or_else(|error| {
        let message = "work on a layout was broken off";
        let details = Details { source: Some(Box::new(error)), ..Details::default() };
        Err(Error::with_details(ErrorKind::Storage, message, details))
    })
}

/// Sends a file's pieces, and says whether they were the blob.
fn read(
    mut file: std::fs::File,
    mut verifier: Verifier,
    sender: &mpsc::Sender<Bytes>,
) -> Result<(), Error> {
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        (&mut file).take(PIECE as u64).read_to_end(&mut piece).map_err(|error| {
            let message = format!("a blob cannot be read: {error}");
            let details = Details { source: Some(Box::new(error)), ..Details::default() };
            Error::with_details(ErrorKind::Storage, message, details)
        })?;
        if piece.is_empty() {
            return verifier.finish();
        }
        verifier.update(&piece)?;
        if sender.blocking_send(piece.into()).is_err() {
            return Ok(()); // nobody reads on
        }
    }
}

type Reading = (mpsc::Receiver<Bytes>, JoinHandle<Result<(), Error>>);

/// The next piece; after the last one, what the reader found out about them all.
async fn next_piece(reading: Option<Reading>) -> Option<(Result<Bytes, Error>, Option<Reading>)> {
    let (mut receiver, task) = reading?;
    if let Some(piece) = receiver.recv().await {
        return Some((Ok(piece), Some((receiver, task))));
    }
    let error = ended(task).await.err()?;
    Some((Err(error), None))
}
