//! Sends answers, whole or with a fault.

use std::{io, time::Duration};

use axum::http::{StatusCode, header, response::Parts};
use bytes::Bytes;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::fault::Kind;

/// The pause between two bytes of a slow answer.
const DRIP: Duration = Duration::from_millis(100);
/// What an endless body sends, and how often: about 1 MB a second.
const FILLER: [u8; 16 * 1024] = [b' '; 16 * 1024];
const FILL: Duration = Duration::from_millis(16);

/// Closes the connection with a reset instead of an orderly end.
pub(super) fn reset(stream: &TcpStream) {
    // If it can't be set, the connection is closed in order, which is a fault as well.
    let _ = stream.set_zero_linger();
}

/// Sends an answer. Returns whether it was sent as a whole and the connection can be used again.
pub(super) async fn send(
    stream: &mut TcpStream,
    parts: &Parts,
    body: &Bytes,
    is_head: bool,
    fault: Option<Kind>,
) -> bool {
    send_with(stream, parts, body, is_head, fault).await.unwrap_or(false)
}

async fn send_with(
    stream: &mut TcpStream,
    parts: &Parts,
    body: &Bytes,
    is_head: bool,
    fault: Option<Kind>,
) -> io::Result<bool> {
    let has_body = !is_head && !matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let body = if has_body { body.clone() } else { Bytes::new() };
    let length = match is_head {
        // The length of the body that a `GET` would have.
        true => parts
            .headers
            .get(header::CONTENT_LENGTH)
            .and_then(|it| it.to_str().ok()?.parse().ok()),
        false => Some(body.len()),
    };
    let is_endless = fault == Some(Kind::Endless) && has_body;
    let framing = match (is_endless, length) {
        (true, _) => "transfer-encoding: chunked\r\n".to_owned(),
        (false, Some(length)) if parts.status != StatusCode::NO_CONTENT => format!("content-length: {length}\r\n"),
        (false, _) => String::new(),
    };
    let head = head(parts, &framing);
    match fault {
        Some(Kind::Reset) => {
            let whole = [&head[..], &body].concat();
            stream.write_all(&whole[..whole.len() / 2]).await?;
            stream.flush().await?;
            // What was sent must arrive before the reset discards it.
            tokio::time::sleep(Duration::from_millis(5)).await;
            reset(stream);
            return Ok(false);
        }
        Some(Kind::Truncated) => {
            let sent = match body.is_empty() {
                true => &head[..head.len() / 2],
                false => &[&head[..], &body[..body.len() / 2]].concat()[..],
            };
            stream.write_all(sent).await?;
            stream.shutdown().await?;
            return Ok(false);
        }
        Some(Kind::SlowDrip) => {
            for byte in [&head[..], &body].concat() {
                stream.write_all(&[byte]).await?;
                tokio::time::sleep(DRIP).await;
            }
            return Ok(true);
        }
        Some(Kind::Endless) if is_endless => {
            stream.write_all(&head).await?;
            if !body.is_empty() {
                stream.write_all(&chunk(&body)).await?;
            }
            let filler = chunk(&FILLER);
            loop {
                stream.write_all(&filler).await?;
                tokio::time::sleep(FILL).await;
            }
        }
        _ => {}
    }
    stream.write_all(&[&head[..], &body].concat()).await?;
    Ok(true)
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

fn head(parts: &Parts, framing: &str) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {}\r\n", parts.status).into_bytes();
    for (name, value) in &parts.headers {
        if [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION].contains(name) {
            continue;
        }
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(format!("{framing}\r\n").as_bytes());
    head
}
