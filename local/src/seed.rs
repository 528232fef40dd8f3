//! What a deployment would find in its account: tables, bucket, secrets; and the demo's data.

use std::{collections::BTreeMap, error::Error};

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType,
};
use aws_sdk_s3::primitives::ByteStream;
use jiff::Timestamp;
use serde_json::{Value, json};
use shared::{
    calls::{Call, Calls, CallsError, Field, Interaction, RecordingKey},
    clients::{aws::Aws, bucket::ObjectInfo},
    config::Env,
    http::access,
    ids::DispatchId,
    names::RecordingName,
    time::to_millis,
};

use crate::{aws, demo};

/// Name of the calls table.
pub const CALLS_TABLE: &str = "calls";
/// Name of the transcripts table.
pub const TRANSCRIPTS_TABLE: &str = "transcripts";
/// Name of the recordings bucket.
pub const BUCKET: &str = "recordings";
/// Name of the secret with the API keys.
pub const API_KEYS_SECRET: &str = "call-recordings/api-keys";
/// Name of the secret with the Twilio credentials.
pub const TWILIO_SECRET: &str = "call-recordings/twilio";
/// Name of the secret with the transcription API's key.
pub const WHISPER_SECRET: &str = "call-recordings/whisper";
/// Name of the secret with the presigning keys.
pub const SIGNER_SECRET: &str = "call-recordings/signer";

/// Name of the secret with the LiveKit key.
pub const LIVEKIT_SECRET: &str = "call-recordings/livekit";

const SHOWN: [&str; 14] = [
    "interaction_id",
    "customer_name",
    "phone",
    "status",
    "outcome",
    "duration",
    "start_time",
    "end_time",
    "s3_key",
    "twilio",
    "call_sid",
    "recording_error",
    "has_transcript",
    "shown_id",
];

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Credentials that the functions are to find in their secrets.
pub struct Credentials<'a> {
    /// Twilio account SID.
    pub twilio_account_sid: &'a str,
    /// Twilio auth token.
    pub twilio_auth_token: &'a str,
    /// Key of the transcription API.
    pub whisper_api_key: &'a str,
}

/// Makes the tables and the bucket where they are missing, and writes the secrets. API keys that are there already stay.
/// Returns whether the tables are new.
pub async fn account(aws: &Aws, credentials: &Credentials<'_>) -> Result<bool> {
    let dynamodb = aws.dynamodb();
    let known = dynamodb.list_tables().send().await?.table_names.unwrap_or_default();
    let fresh = !known.iter().any(|name| name == CALLS_TABLE);
    if fresh {
        calls_table(&dynamodb).await?;
        dynamodb
            .create_table()
            .table_name(TRANSCRIPTS_TABLE)
            .billing_mode(BillingMode::PayPerRequest)
            .attribute_definitions(attribute("id", ScalarAttributeType::S)?)
            .key_schema(key("id", KeyType::Hash)?)
            .send()
            .await?;
    }
    let s3 = aws_sdk_s3::Client::from_conf(aws.s3_config());
    if s3.head_bucket().bucket(BUCKET).send().await.is_err() {
        s3.create_bucket().bucket(BUCKET).send().await?;
    }
    let keys = json!({"keys": [{"id": "demo", "sha256": access::hash_key(demo::API_KEY), "scopes": ["*"], "expires_at": null}]});
    secret(aws, API_KEYS_SECRET, keys, false).await?;
    let twilio = json!({"account_sid": credentials.twilio_account_sid, "auth_token": credentials.twilio_auth_token});
    secret(aws, TWILIO_SECRET, twilio, true).await?;
    secret(
        aws,
        WHISPER_SECRET,
        json!({"api_key": credentials.whisper_api_key}),
        true,
    )
    .await?;
    let livekit = json!({"api_key": demo::LIVEKIT_API_KEY, "api_secret": demo::LIVEKIT_API_SECRET});
    secret(aws, LIVEKIT_SECRET, livekit, false).await?;
    let signer =
        json!({"access_key_id": aws::SIGNER_ACCESS_KEY_ID, "secret_access_key": aws::SIGNER_SECRET_ACCESS_KEY});
    secret(aws, SIGNER_SECRET, signer, true).await?;
    Ok(fresh)
}

/// Makes the calls table, as template.yaml describes it.
pub async fn calls_table(dynamodb: &aws_sdk_dynamodb::Client) -> Result<()> {
    let (text, number) = (ScalarAttributeType::S, ScalarAttributeType::N);
    let shown = || {
        let shown = SHOWN.map(str::to_owned).to_vec();
        Projection::builder()
            .projection_type(ProjectionType::Include)
            .set_non_key_attributes(Some(shown))
            .build()
    };
    let keys = Projection::builder().projection_type(ProjectionType::KeysOnly).build();
    dynamodb
        .create_table()
        .table_name(CALLS_TABLE)
        .billing_mode(BillingMode::PayPerRequest)
        .set_attribute_definitions(Some(vec![
            attribute("id", text.clone())?,
            attribute("list_kind", text.clone())?,
            attribute("list_phone", text.clone())?,
            attribute("list_interaction", text.clone())?,
            attribute("list_order", text.clone())?,
            attribute("near_number", text)?,
            attribute("near_time", number)?,
        ]))
        .key_schema(key("id", KeyType::Hash)?)
        .global_secondary_indexes(index("by-time", "list_kind", "list_order", shown())?)
        .global_secondary_indexes(index("by-phone", "list_phone", "list_order", shown())?)
        .global_secondary_indexes(index("by-interaction", "list_interaction", "list_order", shown())?)
        .global_secondary_indexes(index("by-number", "near_number", "near_time", keys)?)
        .send()
        .await?;
    Ok(())
}

/// Writes the demo's calls and their recordings.
pub async fn demo(aws: &Aws, env: &Env) -> Result<()> {
    let calls = Calls::from_env(env, aws)?;
    let s3 = aws_sdk_s3::Client::from_conf(aws.s3_config());
    for call in demo::calls() {
        let mut recording = None;
        if let Some((key, clip)) = call.recording {
            let bytes = clip.mp4.ok_or("a demo call's clip has no mp4")?;
            let etag = put_object(&s3, &key, "audio/mp4", bytes).await?;
            recording = Some((key, bytes.len() as i64, etag));
        }
        let (s3_key, size, etag) =
            recording.map_or((None, None, None), |(key, size, etag)| (Some(key), Some(size), etag));
        let call = Call {
            dispatch_id: call.dispatch_id,
            s3_key,
            size,
            etag,
            interaction_id: Some(call.interaction_id),
            customer_name: Some(call.customer_name.into()),
            phone: Some(call.phone.into()),
            status: Some(call.status.into()),
            outcome: call.outcome.map(str::to_owned),
            duration: call.duration.map(i64::from),
            start_time: Some(call.start_time),
            end_time: call.end_time,
            ..Call::default()
        };
        index_call(&calls, &call).await?;
    }
    for object in demo::unindexed_objects() {
        put_object(&s3, &object.key, object.content_type, object.bytes).await?;
    }
    Ok(())
}

/// Reports a call, and its recording where it has one, as a deployment's events would. The recording's name has to bear the call's number and time.
pub async fn index_call(calls: &Calls, call: &Call) -> Result<()> {
    let text = |value: &Option<String>| value.clone().map(Value::from);
    let time = |time: Option<Timestamp>| time.map(|time| Value::from(to_millis(time)));
    let mut fields = BTreeMap::from([
        (Field::CustomerName, text(&call.customer_name)),
        (Field::Phone, text(&call.phone)),
        (Field::Status, text(&call.status)),
        (Field::Outcome, text(&call.outcome)),
        (Field::Duration, call.duration.map(Value::from)),
        (Field::StartTime, time(call.start_time)),
        (Field::EndTime, time(call.end_time)),
    ]);
    fields.retain(|_, value| value.is_some());
    let reported = Interaction {
        interaction_id: call.interaction_id.clone(),
        dispatch_id: Some(DispatchId::parse(&call.dispatch_id).ok_or("a call needs a dispatch id")?),
        fields,
        at: Timestamp::now(),
    };
    calls.record_interaction(&reported).await?;
    let Some(key) = &call.s3_key else { return Ok(()) };
    let object = ObjectInfo {
        size: call.size.unwrap_or(1),
        etag: call.etag.clone(),
        modified: None,
    };
    let recording = RecordingKey {
        key: key.clone(),
        name: RecordingName::documented(key).ok_or("the recording's name has no number and time")?,
        egress_at: None,
    };
    let head = || async { Ok::<_, CallsError>(Some(object.clone())) };
    calls.observe(&recording, None, head).await?;
    Ok(())
}

async fn put_object(
    s3: &aws_sdk_s3::Client,
    key: &str,
    content_type: &str,
    bytes: &'static [u8],
) -> Result<Option<String>> {
    let body = ByteStream::from_static(bytes);
    let put = s3
        .put_object()
        .bucket(BUCKET)
        .key(key)
        .content_type(content_type)
        .body(body)
        .send()
        .await?;
    Ok(put.e_tag.map(|tag| tag.trim_matches('"').to_owned()))
}

/// Creates a secret; one that exists is overwritten only if `overwrite`.
async fn secret(aws: &Aws, name: &str, value: Value, overwrite: bool) -> Result<()> {
    let client = aws.secrets_manager();
    let created = client
        .create_secret()
        .name(name)
        .secret_string(value.to_string())
        .send()
        .await;
    match created {
        Ok(_) => Ok(()),
        Err(error)
            if error
                .as_service_error()
                .is_some_and(|error| error.is_resource_exists_exception()) =>
        {
            if overwrite {
                client
                    .put_secret_value()
                    .secret_id(name)
                    .secret_string(value.to_string())
                    .send()
                    .await?;
            }
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

fn attribute(name: &str, kind: ScalarAttributeType) -> Result<AttributeDefinition> {
    Ok(AttributeDefinition::builder()
        .attribute_name(name)
        .attribute_type(kind)
        .build()?)
}

fn key(name: &str, kind: KeyType) -> Result<KeySchemaElement> {
    Ok(KeySchemaElement::builder()
        .attribute_name(name)
        .key_type(kind)
        .build()?)
}

fn index(name: &str, partition: &str, sort: &str, projection: Projection) -> Result<GlobalSecondaryIndex> {
    Ok(GlobalSecondaryIndex::builder()
        .index_name(name)
        .key_schema(key(partition, KeyType::Hash)?)
        .key_schema(key(sort, KeyType::Range)?)
        .projection(projection)
        .build()?)
}
