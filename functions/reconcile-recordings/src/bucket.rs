//! The walk over the bucket's keys.

use shared::{
    calls::index_object,
    reconcile::{Checkpoint, Step},
};

use crate::{ReconcileError, State, each};

/// One page of the bucket's keys.
pub(crate) async fn objects(state: &State, at: &mut Checkpoint, after: Option<String>) -> Result<Step, ReconcileError> {
    let first_of_twilio = Step::Twilio(at.twilio_page.clone());
    let Some(bucket) = &state.bucket else {
        return Ok(first_of_twilio);
    };
    let since = at
        .objects_since
        .map(|day| format!("{}{}", bucket.prefix(), day.strftime("%Y/%m/%d")));
    let page = bucket.page("", after.or(since).as_deref()).await?;
    let unknown = state.calls.out_of_date(&page.recordings).await?;
    at.report.objects += page.recordings.len() as u64;
    at.report.objects_indexed += unknown.len() as u64;
    let failed = each(&unknown, async |key| {
        index_object(&state.calls, bucket, key, None).await?;
        Ok(())
    })
    .await?;
    at.objects_failed |= failed > 0;
    at.report.not_indexed += failed;
    Ok(match page.last {
        Some(last) => Step::Objects(Some(last)),
        None => first_of_twilio,
    })
}
