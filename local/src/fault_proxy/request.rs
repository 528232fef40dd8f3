//! Reads HTTP/1.1 requests from a connection.

use std::io;

use axum::http::{self, HeaderMap, header, request::Parts};
use bytes::Bytes;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// A request with its whole body.
pub(super) struct Whole {
    pub(super) parts: Parts,
    pub(super) body: Bytes,
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

async fn line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).await?;
    let line = line.strip_suffix(b"\r\n").unwrap_or(&line);
    // Header values with other bytes are none of those that the functions send.
    Ok(String::from_utf8_lossy(line).into_owned())
}

/// The next request; `None` if the client has closed the connection.
pub(super) async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Whole>> {
    let first = line(stream).await?;
    if first.is_empty() {
        return Ok(None);
    }
    let mut words = first.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut request = http::Request::builder().method(method).uri(target);
    loop {
        let line = line(stream).await?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        request = request.header(name, value.trim());
    }
    let (parts, ()) = request.body(()).map_err(|_| invalid("a request"))?.into_parts();
    if parts.headers.contains_key(header::EXPECT) {
        stream.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let body = body(stream, &parts.headers).await?;
    Ok(Some(Whole { parts, body }))
}

async fn body(stream: &mut BufReader<TcpStream>, headers: &HeaderMap) -> io::Result<Bytes> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if text(header::TRANSFER_ENCODING).is_some_and(|encoding| encoding.contains("chunked")) {
        return chunks(stream).await;
    }
    let length = text(header::CONTENT_LENGTH).map_or(Ok(0), str::parse::<usize>);
    let mut body = vec![0; length.map_err(|_| invalid("a length"))?];
    stream.read_exact(&mut body).await?;
    Ok(body.into())
}

async fn chunks(stream: &mut BufReader<TcpStream>) -> io::Result<Bytes> {
    let mut body = Vec::new();
    loop {
        let size = line(stream).await?;
        let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16);
        let size = size.map_err(|_| invalid("the size of a chunk"))?;
        if size == 0 {
            while !line(stream).await?.is_empty() {}
            return Ok(body.into());
        }
        let begin = body.len();
        body.resize(begin + size, 0);
        stream.read_exact(&mut body[begin..]).await?;
        line(stream).await?;
    }
}
