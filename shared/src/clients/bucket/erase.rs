//! Deletes objects with all their versions. In a bucket with versions, deleting a key only hides it.

use aws_sdk_s3::types::ObjectLockLegalHoldStatus;
use jiff::Timestamp;

use super::objects::{BucketError, RecordingsBucket, list_error, object_error, time};

/// A version of an object, or a marker of its deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectVersion(pub String);

/// Why S3 does not delete a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locked {
    /// Until when Object Lock keeps it; `None` for a legal hold of S3, or if S3 does not say it.
    pub until: Option<Timestamp>,
    /// Whether S3 has a legal hold on it.
    pub by_legal_hold: bool,
}

impl RecordingsBucket {
    /// The versions of an object; that of a bucket without versions is called `null`.
    pub async fn versions(&self, key: &str) -> Result<Vec<ObjectVersion>, BucketError> {
        let (mut found, mut after_key, mut after_version) = (Vec::new(), None, None);
        loop {
            let page = self
                .client
                .list_object_versions()
                .bucket(&self.bucket)
                .prefix(key)
                .set_key_marker(after_key.take())
                .set_version_id_marker(after_version.take())
                .set_request_payer(self.payer.clone())
                .send()
                .await;
            let page = page.map_err(list_error)?;
            let versions = page
                .versions
                .unwrap_or_default()
                .into_iter()
                .map(|it| (it.key, it.version_id));
            let markers = page
                .delete_markers
                .unwrap_or_default()
                .into_iter()
                .map(|it| (it.key, it.version_id));
            for (name, version) in versions.chain(markers) {
                if name.as_deref() == Some(key) {
                    found.push(ObjectVersion(version.unwrap_or_else(|| "null".to_owned())));
                }
            }
            // Keys are in order, so that a page that ends with another key was the last one of this key.
            let goes_on = page.is_truncated == Some(true) && page.next_key_marker.as_deref() == Some(key);
            if !goes_on {
                return Ok(found);
            }
            (after_key, after_version) = (page.next_key_marker, page.next_version_id_marker);
        }
    }

    /// Deletes a version for good; `Some` if S3 refuses because of Object Lock. It is no error if it no longer exists.
    pub async fn delete_version(&self, key: &str, version: &ObjectVersion) -> Result<Option<Locked>, BucketError> {
        let delete = self
            .client
            .delete_object()
            .bucket(&self.bucket)
            .key(key)
            .version_id(&version.0)
            .set_request_payer(self.payer.clone())
            .send()
            .await;
        match delete.map_err(object_error) {
            Ok(_) | Err(BucketError::NotFound) => Ok(None),
            Err(BucketError::AccessDenied) => match self.lock_of(key, version).await {
                Some(locked) => Ok(Some(locked)),
                None => Err(BucketError::AccessDenied),
            },
            Err(error) => Err(error),
        }
    }

    async fn lock_of(&self, key: &str, version: &ObjectVersion) -> Option<Locked> {
        let head = self
            .client
            .head_object()
            .bucket(&self.bucket)
            .key(key)
            .version_id(&version.0);
        let head = head.set_request_payer(self.payer.clone()).send().await.ok()?;
        let until = head.object_lock_retain_until_date().and_then(time);
        let by_legal_hold = head.object_lock_legal_hold_status() == Some(&ObjectLockLegalHoldStatus::On);
        let is_locked = by_legal_hold || until.is_some_and(|until| until > Timestamp::now());
        is_locked.then_some(Locked {
            until: until.filter(|_| !by_legal_hold),
            by_legal_hold,
        })
    }
}
