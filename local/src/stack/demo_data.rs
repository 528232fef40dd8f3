//! Writes the demo's data.

use std::{collections::BTreeMap, error::Error};

use aws_sdk_s3::primitives::ByteStream;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use shared::{
    calls::{Call, Calls, CallsError, Field, Interaction, RecordingKey, Resolver, Search},
    clients::{aws::Aws, bucket::ObjectInfo},
    config::Env,
    ids::DispatchId,
    names::RecordingName,
    shares::{Share, ShareToken, Shares},
    time::to_millis,
};

use super::account::BUCKET;
use crate::demo;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Writes the calls and their recordings, with dates up to `time`.
pub(super) async fn write(aws: &Aws, env: &Env, time: Timestamp) -> Result<()> {
    let calls = Calls::from_env(env, aws)?;
    let s3 = aws_sdk_s3::Client::from_conf(aws.s3_config());
    for call in demo::calls(time) {
        let mut recording = None;
        let audio = call.audio();
        if let Some((key, _)) = call.recording {
            let (media_type, bytes) = audio.ok_or("a demo call's clip has no such file")?;
            let etag = put_object(&s3, &key, media_type, bytes).await?;
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
    share(aws, env).await
}

/// Shares the documented call by a link that is the same in every demo.
async fn share(aws: &Aws, env: &Env) -> Result<()> {
    let resolver = Resolver::from_env(env, aws)?.ok_or("the demo has a bucket")?;
    let dispatch_id = DispatchId::parse(demo::SHARED_CALL).ok_or("the shared call has a dispatch id")?;
    let found = resolver
        .find_version(&dispatch_id, Search::Bucket)
        .await?
        .ok_or("the shared call has a recording")?;
    let token = ShareToken::parse(demo::SHARE_TOKEN).ok_or("the demo's share has a token")?;
    let now = Timestamp::now();
    let share = Share {
        id: token.id(),
        dispatch_id,
        recording: found.recording,
        created_at: now,
        created_by: Some("demo".into()),
        expires_at: now + SignedDuration::from_hours(365 * 24),
        from: None,
        to: None,
        with_transcript: true,
        passcode: None,
        note: Some("The share of the demo".into()),
        revoked_at: None,
        opened_count: 0,
        last_opened_at: None,
    };
    Ok(Shares::from_env(env, aws)?.create(&share).await?)
}

/// Reports a call and its recording, if it has one, like the events of a deployment. The recording's name must contain the call's number and
/// time.
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
        is_archived: false,
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
