//! Writes an object in parts, so that none of it has to be in memory as a whole, and an interrupted upload can be continued.

use std::{collections::BTreeMap, time::Duration};

use aws_sdk_s3::{
    config::timeout::TimeoutConfig,
    types::{ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;

use super::objects::{BucketError, RecordingsBucket, code, object_error, without_quotes};

/// The size of all parts but the last. S3 accepts 10,000 parts of at least 5 MiB.
pub const PART_BYTES: usize = 8 * 1024 * 1024;
/// The timeout of a request that sends a part.
const PART_TIMEOUT: Duration = Duration::from_secs(60);

/// A multipart upload that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploading {
    /// The object's key.
    pub key: String,
    /// The id of the upload.
    pub id: String,
}

/// A part that S3 has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadedPart {
    /// Its ETag, which completes the upload.
    pub etag: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its CRC-64/NVME in Base64, if S3 says it.
    pub checksum: Option<String>,
}

/// The result of completing an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completed {
    /// The object is written.
    Written,
    /// An object with this key exists already and was not overwritten.
    Exists,
    /// The upload no longer exists, or not with these parts.
    Gone,
}

/// The copy of a recording as S3 has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedObject {
    /// Size in bytes.
    pub size: i64,
    /// ETag without quotes.
    pub etag: Option<String>,
    /// CRC-64/NVME of the whole object in Base64, if S3 says it.
    pub checksum: Option<String>,
    /// The media type.
    pub content_type: Option<String>,
    /// The metadata that was written with it.
    pub metadata: BTreeMap<String, String>,
}

/// A CRC-64/NVME as S3 writes it.
pub(crate) fn checksum_text(crc: u64) -> String {
    BASE64_STANDARD.encode(crc.to_be_bytes())
}

impl RecordingsBucket {
    /// Begins an upload. The object becomes visible only when the upload is completed.
    pub async fn begin_upload(
        &self,
        key: &str,
        content_type: &str,
        metadata: &BTreeMap<String, String>,
    ) -> Result<Uploading, BucketError> {
        let begun = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(key)
            .content_type(content_type)
            .set_metadata(Some(metadata.clone().into_iter().collect()))
            .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
            .checksum_type(ChecksumType::FullObject)
            .set_request_payer(self.payer.clone())
            .send()
            .await
            .map_err(object_error)?;
        let id = begun
            .upload_id
            .ok_or_else(|| BucketError::Unavailable("an upload without an id".into()))?;
        Ok(Uploading {
            key: key.to_owned(),
            id,
        })
    }

    /// The parts that S3 has of an upload, by number; `None` if there is no such upload.
    pub async fn uploaded_parts(&self, upload: &Uploading) -> Result<Option<BTreeMap<i32, UploadedPart>>, BucketError> {
        let list = self
            .client
            .list_parts()
            .bucket(&self.bucket)
            .key(&upload.key)
            .upload_id(&upload.id)
            .set_request_payer(self.payer.clone());
        let mut pages = list.into_paginator().send();
        let mut parts = BTreeMap::new();
        while let Some(page) = pages.next().await {
            let page = match page {
                Err(error) if code(&error) == Some("NoSuchUpload") => return Ok(None),
                page => page.map_err(object_error)?,
            };
            for part in page.parts.unwrap_or_default() {
                if let (Some(number), Some(etag)) = (part.part_number, part.e_tag) {
                    let size = part.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
                    let checksum = part.checksum_crc64_nvme;
                    parts.insert(number, UploadedPart { etag, size, checksum });
                }
            }
        }
        Ok(Some(parts))
    }

    /// Sends a part, whose checksum S3 compares.
    pub async fn upload_part(
        &self,
        upload: &Uploading,
        number: i32,
        bytes: Bytes,
        crc: u64,
    ) -> Result<UploadedPart, BucketError> {
        let size = bytes.len() as u64;
        let checksum = checksum_text(crc);
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(PART_TIMEOUT)
            .operation_timeout(PART_TIMEOUT * 2)
            .build();
        let sent = self
            .client
            .upload_part()
            .bucket(&self.bucket)
            .key(&upload.key)
            .upload_id(&upload.id)
            .part_number(number)
            .checksum_crc64_nvme(&checksum)
            .set_request_payer(self.payer.clone())
            .body(bytes.into())
            .customize()
            .config_override(aws_sdk_s3::config::Builder::new().timeout_config(timeouts))
            .send()
            .await
            .map_err(object_error)?;
        let etag = sent
            .e_tag
            .ok_or_else(|| BucketError::Unavailable("a part without an ETag".into()))?;
        Ok(UploadedPart {
            etag,
            size,
            checksum: Some(checksum),
        })
    }

    /// Completes an upload, unless an object with its key exists. S3 compares the checksum of the whole object.
    pub async fn complete_upload(
        &self,
        upload: &Uploading,
        parts: &BTreeMap<i32, UploadedPart>,
        crc: u64,
    ) -> Result<Completed, BucketError> {
        let parts = parts.iter().map(|(number, part)| {
            CompletedPart::builder()
                .part_number(*number)
                .e_tag(&part.etag)
                .set_checksum_crc64_nvme(part.checksum.clone())
                .build()
        });
        let completed = self
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(&upload.key)
            .upload_id(&upload.id)
            .multipart_upload(
                CompletedMultipartUpload::builder()
                    .set_parts(Some(parts.collect()))
                    .build(),
            )
            .checksum_crc64_nvme(checksum_text(crc))
            .checksum_type(ChecksumType::FullObject)
            .if_none_match("*")
            .set_request_payer(self.payer.clone())
            .send()
            .await;
        match completed {
            Ok(_) => Ok(Completed::Written),
            Err(error) => match code(&error) {
                Some("PreconditionFailed" | "ConditionalRequestConflict") => Ok(Completed::Exists),
                Some("NoSuchUpload" | "InvalidPart" | "InvalidPartOrder") => Ok(Completed::Gone),
                _ => Err(object_error(error)),
            },
        }
    }

    /// Ends an upload without an object, and deletes its parts.
    pub async fn abort_upload(&self, upload: &Uploading) -> Result<(), BucketError> {
        let aborted = self
            .client
            .abort_multipart_upload()
            .bucket(&self.bucket)
            .key(&upload.key)
            .upload_id(&upload.id)
            .set_request_payer(self.payer.clone())
            .send()
            .await;
        match aborted {
            Err(error) if code(&error) != Some("NoSuchUpload") => Err(object_error(error)),
            _ => Ok(()),
        }
    }

    /// What S3 has under the key of a copy; `None` if there is no object.
    pub async fn copied_object(&self, key: &str) -> Result<Option<CopiedObject>, BucketError> {
        let head = self
            .client
            .head_object()
            .bucket(&self.bucket)
            .key(key)
            .checksum_mode(ChecksumMode::Enabled)
            .set_request_payer(self.payer.clone())
            .send()
            .await;
        match head.map_err(object_error) {
            Ok(object) => Ok(Some(CopiedObject {
                size: object.content_length.unwrap_or_default(),
                etag: without_quotes(object.e_tag),
                checksum: object.checksum_crc64_nvme,
                content_type: object.content_type,
                metadata: object.metadata.unwrap_or_default().into_iter().collect(),
            })),
            Err(BucketError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
