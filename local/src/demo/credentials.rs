//! The credentials of the demo.

/// The Twilio account in the documentation.
pub const ACCOUNT_SID: &str = "AC1234567890abcdef";
/// The account's token for the stand-in for Twilio.
pub const AUTH_TOKEN: &str = "demo_twilio_auth_token";
/// The demo's API key. It looks like a placeholder because the documentation prints it, but it is the real key of a local stack.
pub const API_KEY: &str = "your_api_key_here";
/// The key of the stand-in for Whisper.
pub const WHISPER_API_KEY: &str = "demo_whisper_api_key";
/// LiveKit key whose webhooks are accepted.
pub const LIVEKIT_API_KEY: &str = "demo_livekit_key";
/// The secret of [`LIVEKIT_API_KEY`].
pub const LIVEKIT_API_SECRET: &str = "demo_livekit_api_secret_of_32_bytes";
/// The call that the demo shares.
pub const SHARED_CALL: &str = "dispatch_1754653479_15103455686";
/// The token of the demo's share.
pub const SHARE_TOKEN: &str = "5e7a1b0c9d8f4e6a2b3c1d0e9f8a7b6c";
