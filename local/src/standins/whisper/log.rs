//! The log of requests, for tests.

/// A transcription request in the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Logged {
    /// The uploaded file's name.
    pub file_name: Option<String>,
    /// The uploaded file's content type.
    pub content_type: Option<String>,
    /// Size of the file without multipart framing; 0 if the body was too large.
    pub file_bytes: u64,
    /// All other fields, in order.
    pub fields: Vec<(String, String)>,
    /// Whether the request had the right key.
    pub authorized: bool,
    /// The SHA-256 of the file in hex; `None` if the file is incomplete.
    pub sha256: Option<String>,
    /// The length of the audio; `None` until it is decoded, or if it can't be decoded.
    pub seconds: Option<f64>,
    /// The transcript, even if a fault replaced the response; `None` in the cases of `seconds`, and if the request was rejected.
    pub text: Option<String>,
    /// The status of the response; `None` until there is one, and permanently if the client disconnects or a fault breaks the connection.
    pub status: Option<u16>,
}

impl Logged {
    /// The billed seconds of a successful request, rounded up.
    pub fn billed_seconds(&self) -> u64 {
        let paid = self.seconds.filter(|_| self.status == Some(200));
        paid.unwrap_or_default().ceil() as u64
    }
}
