//! Erases calls: the recording in the bucket and its copy, Twilio's recording, transcripts, shares, and what the index has of the call.
//!
//! `Eraser::erase` is the one function that erases a call, whoever asks: a request, or the time that the deployment keeps calls. It is the only
//! place that checks holds. An erasure is an item of the lifecycle table that is worked on until all its calls are erased; then it becomes a
//! receipt without personal data.

mod eraser;
mod error;
mod found;
mod model;
mod preview;
mod queue;
mod receipt;
mod retention;
mod run;
mod worker;

pub use error::ErasureError;
pub use model::{Counts, Erasure, ErasureId, Kind, Problem, Receipt, Step, StepState, Target, Traces};
pub use preview::{PREVIEWED, Preview};
pub use queue::ErasureQueue;
pub use receipt::{InvalidReceipt, verify};
pub use retention::Retention;
pub use worker::ErasureWorker;
