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

/// What the access keys of single functions begin with. Their secret is [`SECRET_ACCESS_KEY`].
const FUNCTION_KEY_PREFIX: &str = "local-function-";

/// The access key of a function, whose requests are compared with the function's policy.
pub fn function_access_key(function: &str) -> String {
    format!("{FUNCTION_KEY_PREFIX}{function}")
}

/// The secret of an access key that S3 accepts.
pub(super) fn secret_of(access_key: &str) -> Option<&'static str> {
    let pair = KEY_PAIRS.iter().find(|(id, _)| *id == access_key);
    let of_function = access_key.starts_with(FUNCTION_KEY_PREFIX).then_some(SECRET_ACCESS_KEY);
    pair.map(|(_, secret)| *secret).or(of_function)
}

/// The key pairs that S3 accepts. `sam local invoke` uses the last one on a machine without AWS credentials.
pub(super) const KEY_PAIRS: [(&str, &str); 3] = [
    (ACCESS_KEY_ID, SECRET_ACCESS_KEY),
    (SIGNER_ACCESS_KEY_ID, SIGNER_SECRET_ACCESS_KEY),
    ("defaultkey", "defaultsecret"),
];
