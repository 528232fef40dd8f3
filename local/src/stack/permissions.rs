//! The policies of `template.yaml` with the names that resources have in the local stack.

use std::collections::HashMap;

use shared::config::Env;

use super::{account, queues::dead_letters};
use crate::{
    aws::{ACCOUNT_ID, Permissions, REGION, SIGNER_ACCESS_KEY_ID, function_access_key},
    template::{self, TEMPLATE, Table, TemplateError, Values},
};

/// Reads the policies. `tables` are the tables of the template with their names.
pub(super) fn permissions(environment: &Env, tables: &[(Table, &str)]) -> Result<Permissions, TemplateError> {
    let policies = template::policies(TEMPLATE, &values(environment, tables)?)?;
    let policies = policies.into_iter().map(|policy| {
        let access_key = match policy.principal.as_str() {
            "SignerUser" => SIGNER_ACCESS_KEY_ID.to_owned(),
            function => function_access_key(function),
        };
        (access_key, policy)
    });
    let table_keys = tables
        .iter()
        .map(|(table, name)| ((*name).to_owned(), table.key.partition.clone()));
    Ok(Permissions::new(policies.collect(), table_keys.collect()))
}

fn values(environment: &Env, tables: &[(Table, &str)]) -> Result<Values, TemplateError> {
    let variable = |name: &str, default: &str| environment.optional(name).unwrap_or(default).to_owned();
    let references = [
        ("AWS::Partition", "aws".to_owned()),
        ("AWS::Region", REGION.to_owned()),
        ("AWS::URLSuffix", "amazonaws.com".to_owned()),
        ("AWS::AccountId", ACCOUNT_ID.to_owned()),
        ("RecordingsBucket", variable("RECORDINGS_BUCKET", account::BUCKET)),
        ("RecordingsPrefix", variable("RECORDINGS_PREFIX", "egress-recordings/")),
        ("TwilioPrefix", variable("TWILIO_PREFIX", "twilio-recordings/")),
        ("ApiKeysSecret", variable("API_KEYS_SECRET", account::API_KEYS_SECRET)),
        ("TwilioSecret", variable("TWILIO_SECRET", account::TWILIO_SECRET)),
        ("WhisperSecret", variable("WHISPER_SECRET", account::WHISPER_SECRET)),
        ("LivekitSecret", variable("LIVEKIT_SECRET", account::LIVEKIT_SECRET)),
        (
            "TombstoneSecret",
            variable("TOMBSTONE_SECRET", account::TOMBSTONE_SECRET),
        ),
        ("ReceiptSecret", variable("RECEIPT_SECRET", account::RECEIPT_SECRET)),
        ("SignerSecret", variable("SIGNER_SECRET", account::SIGNER_SECRET)),
    ];
    let conditions = [
        ("HasBucket", environment.optional("RECORDINGS_BUCKET").is_some()),
        ("HasSigner", true),
        ("HasBucketAccount", false),
        // The local bucket is not encrypted.
        ("HasRecordingsKey", false),
    ];
    let arn = |service: &str, name: &str| format!("arn:aws:{service}:{REGION}:{ACCOUNT_ID}:{name}");
    let tables = tables
        .iter()
        .map(|(table, name)| (table.resource.clone(), arn("dynamodb", &format!("table/{name}"))));
    let mut queues = HashMap::new();
    for source in template::queues(TEMPLATE)? {
        queues.insert(source.dead_letters, arn("sqs", &dead_letters(&source.queue)));
        queues.insert(source.queue.clone(), arn("sqs", &source.queue));
    }
    // What these receive is not part of the local stack.
    queues.insert("EventDeadLetters".to_owned(), arn("sqs", "EventDeadLetters"));
    let logs = template::log_groups(TEMPLATE)?
        .into_iter()
        .map(|name| (name.clone(), arn("logs", &format!("log-group:{name}:*"))));
    Ok(Values {
        references: references.map(|(name, value)| (name.to_owned(), value)).into(),
        attributes: tables
            .chain(queues)
            .chain(logs)
            .map(|(name, arn)| (format!("{name}.Arn"), arn))
            .collect(),
        conditions: conditions.map(|(name, value)| (name.to_owned(), value)).into(),
    })
}
