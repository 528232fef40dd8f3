//! Bodies of responses, read up to a limit.

use bytes::Bytes;
use reqwest::Response;

/// The most of an error's body that is read.
pub(super) const MAX_ERROR_BYTES: usize = 64 * 1024;

/// The first `limit` bytes of a body, and whether that is all of it. The rest is not read, and its connection is closed.
pub(super) async fn read_up_to(mut response: Response, limit: usize) -> Result<(Vec<u8>, bool), reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = limit - body.len();
        let taken: Bytes = chunk.slice(..chunk.len().min(room));
        body.extend_from_slice(&taken);
        if chunk.len() > room {
            return Ok((body, false));
        }
    }
    Ok((body, true))
}
