//! The log that tests read.

/// A transcription request in the log, whatever its response was.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Logged {
    /// The uploaded file's name.
    pub file_name: Option<String>,
    /// The uploaded file's content type.
    pub content_type: Option<String>,
    /// Bytes of the file, without multipart framing; 0 when the body was too large to be read.
    pub file_bytes: u64,
    /// All other fields in their order.
    pub fields: Vec<(String, String)>,
    /// Whether it had the right key.
    pub authorized: bool,
    /// The SHA-256 of the file, in hex; `None` without a whole file.
    pub sha256: Option<String>,
    /// The length of the audio; `None` while it is not decoded, or when it cannot be.
    pub seconds: Option<f64>,
    /// The transcript, even when a fault replaced the response; `None` like `seconds`, and when the request was refused.
    pub text: Option<String>,
    /// The status of the response; `None` while there is none, and for good when the client goes away or the connection is cut.
    pub status: Option<u16>,
}

impl Logged {
    /// The seconds that a success is billed for, rounded up.
    pub fn billed_seconds(&self) -> u64 {
        let paid = self.seconds.filter(|_| self.status == Some(200));
        paid.unwrap_or_default().ceil() as u64
    }
}
