//! The receipt of an erasure: what was erased and what remains, without personal data, signed with the deployment's key (Ed25519).

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    error::ErasureError,
    model::{Erasure, Kind, Receipt, Signature},
};
use crate::time::to_millis;

/// Twilio keeps the metadata of a deleted recording for this many days.
const TWILIO_DAYS: i64 = 40;
/// The queues keep a message for this many days at most; jobs are received within 15 minutes.
const QUEUE_DAYS: i64 = 14;
/// DynamoDB's point-in-time recovery reaches this many days back.
const BACKUP_DAYS: i64 = 35;

/// The secret of which the key is made.
#[derive(Deserialize)]
pub(super) struct ReceiptSeed {
    key: String,
}

/// Why a receipt is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReceipt {
    /// It is not a receipt.
    #[error("the file is not a receipt of an erasure")]
    Format,
    /// The content or the signature was altered.
    #[error("the signature does not match: the receipt was altered, or it was not signed with this key")]
    Signature,
    /// It was signed with another key.
    #[error("the receipt was signed with another key")]
    OtherKey,
}

/// `serde_json` orders the names of an object.
fn signed_bytes(receipt: &Value) -> Vec<u8> {
    receipt.to_string().into_bytes()
}

/// Makes the receipt of an erasure that is done.
pub(super) fn receipt(
    erasure: &Erasure,
    completed_at: Timestamp,
    (log_days, audit_days): (i64, i64),
    seed: &ReceiptSeed,
) -> Result<Receipt, ErasureError> {
    let until = |days: i64| {
        to_millis(
            completed_at
                .saturating_add(SignedDuration::from_hours(days * 24))
                .unwrap_or(completed_at),
        )
    };
    let remains = |what: &str, days: i64| json!({"what": what, "until": until(days)});
    let mut remaining = vec![
        remains("backups of the tables (point-in-time recovery)", BACKUP_DAYS),
        remains(
            "messages of jobs in queues, which are dropped when they are received",
            QUEUE_DAYS,
        ),
        remains(
            "log lines, which contain no name, number or word of a customer",
            log_days,
        ),
        json!({"what": "keyed hashes of the erased ids, which keep late events from bringing them back", "until": null}),
    ];
    if erasure.counts.contains_key(&Kind::AuditItems) {
        remaining.push(remains(
            "items of the audit, without the call: which key did what, and when (each ends AuditDays after it was written)",
            audit_days,
        ));
    }
    if erasure.counts.contains_key(&Kind::TwilioRecordings) {
        remaining.push(remains("metadata of the deleted recordings at Twilio", TWILIO_DAYS));
    }
    let receipt = json!({
        "erasure_id": erasure.id,
        "requested_at": to_millis(erasure.requested_at),
        "requested_by": erasure.requested_by,
        "completed_at": to_millis(completed_at),
        "calls": erasure.calls,
        "erased": erasure.counts,
        "object_versions": erasure.versions,
        "object_versions_total": erasure.versions_total,
        "remains": remaining,
    });
    let pair = Ed25519KeyPair::from_seed_unchecked(&Sha256::digest(&seed.key));
    let pair = pair.map_err(|error| ErasureError::Invalid(error.to_string()))?;
    let signature = pair.sign(&signed_bytes(&receipt));
    Ok(Receipt {
        receipt,
        signature: Signature {
            algorithm: "ed25519".to_owned(),
            public_key: BASE64_STANDARD.encode(pair.public_key().as_ref()),
            value: BASE64_STANDARD.encode(signature.as_ref()),
        },
    })
}

/// Checks a receipt, and that it was signed with `public_key` (Base64), if it is given. The answer of `GET /erasures/{erasure_id}` is accepted,
/// too.
pub fn verify(text: &str, public_key: Option<&str>) -> Result<Receipt, InvalidReceipt> {
    let mut value: Value = serde_json::from_str(text).map_err(|_| InvalidReceipt::Format)?;
    if let Some(inner) = value
        .get_mut("receipt")
        .filter(|inner| inner.get("signature").is_some())
    {
        value = inner.take();
    }
    let receipt: Receipt = serde_json::from_value(value).map_err(|_| InvalidReceipt::Format)?;
    let bytes = |text: &str| BASE64_STANDARD.decode(text.trim()).map_err(|_| InvalidReceipt::Format);
    let (key, signature) = (bytes(&receipt.signature.public_key)?, bytes(&receipt.signature.value)?);
    if let Some(expected) = public_key
        && bytes(expected)? != key
    {
        return Err(InvalidReceipt::OtherKey);
    }
    let valid = UnparsedPublicKey::new(&ED25519, key).verify(&signed_bytes(&receipt.receipt), &signature);
    match valid {
        Ok(()) => Ok(receipt),
        Err(_) => Err(InvalidReceipt::Signature),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::erasure::{ErasureId, Target};

    fn signed() -> Receipt {
        let mut erasure = Erasure::new(
            ErasureId::random(),
            Target::Phone("15103455686".into()),
            Timestamp::UNIX_EPOCH,
        );
        erasure.counts.insert(Kind::TwilioRecordings, 2);
        erasure.versions = vec!["null".into()];
        let seed = ReceiptSeed { key: "seed".into() };
        receipt(&erasure, Timestamp::UNIX_EPOCH, (30, 90), &seed).unwrap()
    }

    #[test]
    fn a_receipt_is_valid_until_one_of_its_values_is_altered() {
        let receipt = signed();
        let text = serde_json::to_string_pretty(&receipt).unwrap();
        assert_eq!(verify(&text, None).as_ref(), Ok(&receipt));
        let answer = json!({"erasure_id": "x", "receipt": receipt}).to_string();
        assert_eq!(
            verify(&answer, Some(&receipt.signature.public_key)),
            Ok(receipt.clone())
        );
        assert_eq!(
            verify(
                &text.replace("\"twilio_recordings\": 2", "\"twilio_recordings\": 3"),
                None
            ),
            Err(InvalidReceipt::Signature)
        );
        assert_eq!(
            verify(&text, Some(&BASE64_STANDARD.encode([7; 32]))),
            Err(InvalidReceipt::OtherKey)
        );
        for bad in ["", "{}", "[]", "{\"receipt\": {}}"] {
            assert_eq!(verify(bad, None), Err(InvalidReceipt::Format), "{bad}");
        }
    }

    #[test]
    fn a_receipt_has_no_personal_data() {
        let text = serde_json::to_string(&signed()).unwrap();
        assert!(!text.contains("5103455686"), "{text}");
    }
}
