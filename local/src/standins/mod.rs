//! Stand-ins for Twilio and Whisper.

mod audio;
pub mod tones;
pub mod twilio;
pub mod whisper;
