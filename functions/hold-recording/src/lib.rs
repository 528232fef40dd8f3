//! `PATCH /recordings/{dispatch_id}`: sets or lifts a legal hold, and sets how long a call is kept.

use jiff::Timestamp;
use lambda_http::{Body, Request, Response, http::StatusCode};
use serde::{Deserialize, Deserializer, Serialize};
use shared::{
    audit::{Action, Event},
    calls::{Calls, Hold, KeepChange, ResolveError, Resolver},
    clients::aws::Aws,
    config::{ConfigError, Env},
    http::{
        self, ApiError, ErrorFormat,
        access::{Access, Scope},
        invalid_parameter,
    },
    ids::DispatchId,
    time::millis,
};

/// The longest reason.
const MAX_REASON: usize = 500;

/// The state that is created once and used for every request.
pub struct State {
    access: Access,
    calls: Calls,
    /// Finds recordings that nobody has reported; `None` without a bucket.
    resolver: Option<Resolver>,
}

impl State {
    /// Reads the environment and fetches the secret.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let state = Self {
            access: Access::required(env, &aws)?,
            calls: Calls::from_env(env, &aws)?,
            resolver: Resolver::from_env(env, &aws)?,
        };
        tokio::join!(state.access.preload(), state.calls.preload());
        Ok(state)
    }
}

/// What to change; a field that is absent stays as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = KeepRequest))]
struct Change {
    /// A hold, or `null` to lift it. While a call is held, nothing of it is erased, whoever asks.
    #[serde(default, deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<NewHold>))]
    hold: Option<Option<NewHold>>,
    /// Until when the call is kept, in place of the deployment's `RetentionDays`; it is erased after that. `null`: the deployment's time counts.
    #[serde(default, deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    retain_until: Option<Option<Timestamp>>,
}

/// A hold to set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
struct NewHold {
    /// Why, which everyone is told who may read the call or tries to erase it. At most 500 characters.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 500))]
    reason: String,
}

/// Tells a field that is `null` from one that is absent.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

/// How long a call is kept.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
struct KeptCall {
    /// The id of the request.
    dispatch_id: String,
    /// The hold, if there is one.
    hold: Option<Hold>,
    /// Until when the call is kept, if it has a time of its own.
    #[serde(with = "millis::option")]
    retain_until: Option<Timestamp>,
}

/// Handles a request.
#[cfg_attr(
    feature = "openapi",
    utoipa::path(
        patch,
        path = "/recordings/{dispatch_id}",
        operation_id = "keepRecording",
        tag = "Data protection",
        summary = "Hold a call, or set how long it is kept",
        description = "A hold stops every erasure of the call: by request, by the deployment's time, and the deletion at Twilio of a moved recording. `retain_until` replaces the deployment's time for this call. Always needs a key. Scope: `recordings:hold`.",
        params(("dispatch_id" = String, Path, description = "The dispatch id of the call, or Twilio's SID of the call or a recording.", pattern = "^[A-Za-z0-9_-]{1,128}$", example = "dispatch_1754653479_15103455686")),
        request_body = Change,
        responses((status = 200, description = "How long the call is kept.", body = KeptCall)),
        security(("api_key" = []), ("api_key_in_query" = [])),
        extensions(("x-errors" = json!(["request", "key", "audit", "dispatch_id", "body", "missing", "value", "call", "keep", "storage", "database"]))),
    )
)]
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond(ErrorFormat::Recordings, request, |request| async move {
        state.access.check(&request, Scope::RecordingsHold).await?;
        let text = request.last_segment("dispatch_id")?;
        let id = DispatchId::parse(&text).ok_or_else(http::invalid_dispatch_id)?;
        request.query.only(&[])?;
        let change: Change = request.json()?;
        if change.hold.is_none() && change.retain_until.is_none() {
            return Err(ApiError::bad_request(
                "missing_parameter",
                "Give hold, retain_until, or both.",
            ));
        }
        let now = Timestamp::now();
        let hold = match change.hold {
            Some(Some(new)) if new.reason.trim().is_empty() || new.reason.chars().count() > MAX_REASON => {
                return Err(invalid_parameter("hold.reason", &new.reason, "1 to 500 characters"));
            }
            Some(Some(new)) => Some(Some(Hold {
                reason: new.reason,
                by: request.key_id().map(str::to_owned),
                at: now,
            })),
            Some(None) => Some(None),
            None => None,
        };
        if let Some(Some(until)) = change.retain_until
            && until <= now
        {
            let accepted = "a time in the future; DELETE erases the call now";
            return Err(invalid_parameter("retain_until", &until.to_string(), accepted));
        }
        let action = match &hold {
            Some(Some(_)) => Action::Hold,
            Some(None) => Action::LiftHold,
            None => Action::Retain,
        };
        let fields = [
            ("hold", hold.is_some()),
            ("retain_until", change.retain_until.is_some()),
        ];
        let fields = fields.into_iter().filter(|(_, given)| *given).map(|(name, _)| name);
        let change = KeepChange {
            hold,
            retain_until: change.retain_until,
        };
        let mut item = state.calls.item_of(&id).await?;
        if let (None, Some(resolver)) = (&item, &state.resolver) {
            // A recording that nobody has reported is found by its name, and then it is in the index.
            let was_found = match resolver.find(&id, state.access.search(&request)).await {
                Ok(found) => found.is_some(),
                Err(ResolveError::NotCopied(_)) => true,
                Err(error) => return Err(error.into()),
            };
            item = state.calls.item_of(&id).await?;
            if was_found && item.is_none() {
                return Err(ApiError::unindexed());
            }
        }
        let item = item.ok_or_else(call_not_found)?;
        let event = Event::new(action).about(id.as_str()).with(fields);
        state.access.audit(&request, event).await?;
        let call = state.calls.keep(&item, &change).await?.ok_or_else(call_not_found)?;
        Ok((
            StatusCode::OK,
            KeptCall {
                dispatch_id: text,
                hold: call.hold,
                retain_until: call.retain_until,
            },
        ))
    })
    .await
}

fn call_not_found() -> ApiError {
    ApiError::not_found("call_not_found", "There is no call with this id in the index.")
}
