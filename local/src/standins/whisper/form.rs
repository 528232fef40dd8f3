//! Parsing of uploads.

use std::io::Seek as _;

use axum::{
    body::{Body, HttpBody as _},
    extract::{FromRequest as _, Request, multipart::Multipart},
};
use futures_util::StreamExt as _;
use http_body_util::Limited;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

pub use super::error::MAX_BODY_BYTES;
use super::{error::Refusal, log::Logged};

/// The form of a request. The file is stored on disk, so that memory use does not depend on its size.
#[derive(Default)]
pub(super) struct Form {
    pub(super) file: Option<std::fs::File>,
    pub(super) logged: Logged,
}

/// Reads the whole body even if the request is rejected, because a client that is still writing would see a broken connection instead of the
/// response.
pub(super) async fn read_form(request: Request, form: &mut Form) -> Result<(), Refusal> {
    let length = request.body().size_hint().exact();
    if let Some(bytes) = length.filter(|bytes| *bytes > MAX_BODY_BYTES) {
        drain(request.into_body()).await;
        return Err(Refusal::too_large(bytes));
    }
    let request = request.map(|body| Body::new(Limited::new(body, MAX_BODY_BYTES as usize)));
    let mut multipart = Multipart::from_request(request, &()).await.map_err(|rejection| {
        Refusal::bad_request(
            None,
            None,
            format!("Could not parse multipart form: {}", rejection.body_text()),
        )
    })?;
    while let Some(mut field) = multipart.next_field().await? {
        let name = field.name().unwrap_or_default().to_owned();
        if name != "file" {
            let value = field.text().await?;
            form.logged.fields.push((name, value));
            continue;
        }
        form.logged.file_name = field.file_name().map(str::to_owned);
        form.logged.content_type = field.content_type().map(str::to_owned);
        let mut file = tokio::fs::File::from_std(tempfile::tempfile()?);
        let mut hash = Sha256::new();
        while let Some(chunk) = field.chunk().await? {
            form.logged.file_bytes += chunk.len() as u64;
            hash.update(&chunk);
            file.write_all(&chunk).await?;
        }
        file.flush().await?;
        let mut file = file.into_std().await;
        file.rewind()?;
        let digest = hash.finalize();
        form.logged.sha256 = Some(digest.iter().map(|byte| format!("{byte:02x}")).collect());
        form.file = Some(file);
    }
    Ok(())
}

pub(super) async fn drain(body: Body) {
    let mut chunks = body.into_data_stream();
    while let Some(Ok(_)) = chunks.next().await {}
}
