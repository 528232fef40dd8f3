//! Region, account and key pairs of the local AWS.

/// The region of the local AWS.
pub const REGION: &str = "us-east-1";
/// The account that owns everything, as it appears in ARNs and queue URLs.
pub const ACCOUNT_ID: &str = winterbaume_core::DEFAULT_ACCOUNT_ID;
/// The access key of the functions.
pub const ACCESS_KEY_ID: &str = "local";
/// The secret that belongs to [`ACCESS_KEY_ID`].
pub const SECRET_ACCESS_KEY: &str = "local-secret";
/// The access key that replaces that of the IAM user who signs recording URLs.
pub const SIGNER_ACCESS_KEY_ID: &str = "local-signer";
/// The secret that belongs to [`SIGNER_ACCESS_KEY_ID`].
pub const SIGNER_SECRET_ACCESS_KEY: &str = "local-signer-secret";

/// The key pairs that S3 accepts. `sam local invoke` uses the last one on a machine without AWS credentials.
pub(super) const KEY_PAIRS: [(&str, &str); 3] = [
    (ACCESS_KEY_ID, SECRET_ACCESS_KEY),
    (SIGNER_ACCESS_KEY_ID, SIGNER_SECRET_ACCESS_KEY),
    ("defaultkey", "defaultsecret"),
];
