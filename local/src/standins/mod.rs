//! Stand-ins for the services that a call recording comes from and goes to.

mod audio;
pub mod tones;
pub mod twilio;
pub mod whisper;
