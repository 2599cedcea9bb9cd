//! Reading and writing a document's bytes: JSON, and JSON compressed with gzip.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::bounds;
use super::document::Document;
use super::schema::DocumentSchema;
use crate::key::ImageKey;

/// Largest document that is read or written, in bytes of JSON: some 400 000 files.
pub const MAX_DOCUMENT_SIZE: u64 = 64 * 1024 * 1024;

/// Largest compressed document.
pub const MAX_PACKED_SIZE: u64 = 32 * 1024 * 1024;

/// Why bytes are not the document that they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// There is more than [`MAX_DOCUMENT_SIZE`], or [`MAX_PACKED_SIZE`].
    #[error("the list of inputs is larger than {0} bytes")]
    TooLarge(u64),
    /// It is not compressed as it should be.
    #[error("the list of inputs is damaged: {0}")]
    Damaged(String),
    /// It is no list of inputs, or one of a later version.
    #[error("not a list of inputs: {0}")]
    Invalid(String),
    /// It does not have the key that it says, or that it was asked for under.
    #[error("the list of inputs has the key {found}, not {claimed}")]
    WrongKey {
        /// The key that was expected.
        claimed: ImageKey,
        /// The hash of what it lists.
        found: ImageKey,
    },
}

impl Document {
    /// Reads JSON, and computes the key of what it says.
    ///
    /// # Errors
    ///
    /// As [`DocumentError`] says; never panics, whatever the bytes are.
    pub fn from_json(json: &[u8]) -> Result<Self, DocumentError> {
        if json.len() as u64 > MAX_DOCUMENT_SIZE {
            return Err(DocumentError::TooLarge(MAX_DOCUMENT_SIZE));
        }
        bounds::check(json)?;
        let schema: DocumentSchema = serde_json::from_slice(json)
            .map_err(|error| DocumentError::Invalid(error.to_string()))?;
        let (claimed, document) = schema.validate().map_err(DocumentError::Invalid)?;
        document.expect_key(claimed)?;
        Ok(document)
    }

    /// JSON on one line. What is hidden in the document is not in it.
    ///
    /// # Errors
    ///
    /// [`DocumentError::TooLarge`], or [`DocumentError::Invalid`] with more entries than are read.
    pub fn to_json(&self) -> Result<Vec<u8>, DocumentError> {
        let json = serde_json::to_vec(&DocumentSchema::of(self))
            .map_err(|error| DocumentError::Invalid(error.to_string()))?;
        if json.len() as u64 > MAX_DOCUMENT_SIZE {
            return Err(DocumentError::TooLarge(MAX_DOCUMENT_SIZE));
        }
        // What is written can be read.
        bounds::check(&json)?;
        Ok(json)
    }

    /// The JSON as a value, to be put into another document.
    pub fn to_value(&self) -> serde_json::Value {
        serde_json::to_value(DocumentSchema::of(self)).unwrap_or_default()
    }

    /// Reads what [`pack`](Self::pack) has written.
    ///
    /// # Errors
    ///
    /// As [`from_json`](Self::from_json).
    pub fn unpack(packed: &[u8]) -> Result<Self, DocumentError> {
        if packed.len() as u64 > MAX_PACKED_SIZE {
            return Err(DocumentError::TooLarge(MAX_PACKED_SIZE));
        }
        let mut json = Vec::new();
        GzDecoder::new(packed)
            .take(MAX_DOCUMENT_SIZE + 1)
            .read_to_end(&mut json)
            .map_err(|error| DocumentError::Damaged(error.to_string()))?;
        Self::from_json(&json)
    }

    /// The JSON, compressed with gzip; equal documents give equal bytes.
    ///
    /// # Errors
    ///
    /// [`DocumentError::TooLarge`].
    pub fn pack(&self) -> Result<Vec<u8>, DocumentError> {
        let damaged = |error: std::io::Error| DocumentError::Damaged(error.to_string());
        // Digests do not become smaller, and names do so at any level.
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&self.to_json()?).map_err(damaged)?;
        let packed = encoder.finish().map_err(damaged)?;
        if packed.len() as u64 > MAX_PACKED_SIZE {
            return Err(DocumentError::TooLarge(MAX_PACKED_SIZE));
        }
        Ok(packed)
    }

    /// # Errors
    ///
    /// [`DocumentError::WrongKey`]: it is the document of another key.
    pub(super) fn expect_key(&self, claimed: ImageKey) -> Result<(), DocumentError> {
        let found = self.key();
        if found == claimed { Ok(()) } else { Err(DocumentError::WrongKey { claimed, found }) }
    }
}
