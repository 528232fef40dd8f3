//! `cargo run -- verify-receipt`: checks the receipt of an erasure, without a connection to the deployment.

use std::{error::Error, fs, path::PathBuf};

use clap::Args;
use shared::erasure::verify;

/// The arguments of `verify-receipt`.
#[derive(Args)]
pub(super) struct VerifyReceipt {
    /// The receipt, or the whole answer of GET /erasures/{erasure_id}
    file: PathBuf,
    /// The deployment's public key in Base64, as another receipt of it has. Without it, anyone could have signed the receipt
    #[arg(long)]
    public_key: Option<String>,
}

impl VerifyReceipt {
    /// Checks the signature, and returns what the receipt says.
    pub(super) fn run(self) -> Result<String, Box<dyn Error + Send + Sync>> {
        let text = fs::read_to_string(&self.file);
        let text = text.map_err(|error| format!("{} can't be read: {error}", self.file.display()))?;
        let receipt = verify(&text, self.public_key.as_deref())?;
        let signed_by = match self.public_key {
            Some(_) => "The signature is that of the given key.".to_owned(),
            None => format!(
                "The receipt is unaltered. It was signed with the key {}: compare it with the key of the deployment.",
                receipt.signature.public_key
            ),
        };
        Ok(format!("{:#}\n\n{signed_by}", receipt.receipt))
    }
}
