//! `POST /interactions`: another system's report about a call.

#[cfg(feature = "openapi")]
mod contract;

use jiff::Timestamp;
use lambda_http::{Body, Request, Response, http::StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};
use shared::{
    audit::{Action, Event},
    calls::{Calls, Interaction},
    clients::aws::Aws,
    config::{ConfigError, Env},
    http::{
        self, ApiError, ErrorFormat,
        access::{Access, Scope},
    },
    phones::Phones,
};

/// The state that is created once and used for every request.
pub struct State {
    access: Access,
    calls: Calls,
    phones: Phones,
}

impl State {
    /// Reads the environment and fetches the secret.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let state = Self {
            access: Access::required(env, &aws)?,
            calls: Calls::from_env(env, &aws)?,
            phones: Phones::from_env(env)?,
        };
        tokio::join!(state.access.preload(), state.calls.preload());
        Ok(state)
    }
}

#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = InteractionRecorded))]
struct Recorded {
    interaction_id: Option<String>,
    dispatch_id: Option<String>,
    updated_at: Timestamp,
}

#[cfg(feature = "openapi")]
#[derive(utoipa::ToSchema)]
#[allow(dead_code)]
struct InteractionReport {
    #[schema(schema_with = contract::id)]
    interaction_id: Option<String>,
    #[schema(schema_with = contract::dispatch_id)]
    dispatch_id: Option<String>,
    #[schema(schema_with = contract::text)]
    customer_name: Option<String>,
    #[schema(schema_with = contract::phone)]
    phone: Option<String>,
    #[schema(schema_with = contract::text)]
    status: Option<String>,
    #[schema(schema_with = contract::text)]
    outcome: Option<String>,
    /// Seconds, which are rounded.
    #[schema(minimum = 0, maximum = 4_294_967_295_u32)]
    duration: Option<f64>,
    #[schema(schema_with = contract::time)]
    start_time: Option<String>,
    #[schema(schema_with = contract::time)]
    end_time: Option<String>,
    #[schema(schema_with = contract::updated_at)]
    updated_at: Option<String>,
}

/// Handles a request.
#[cfg_attr(
    feature = "openapi",
    utoipa::path(
        post,
        path = "/interactions",
        operation_id = "reportInteraction",
        tag = "Recordings",
        summary = "Report a call",
        description = "Reports an interaction: the values that your system has for a call. For each field the report with the newest `updated_at` counts. An absent field keeps its value, `null` clears it. Always needs a key. Scope: `recordings:write`.",
        request_body = InteractionReport,
        responses((status = 200, description = "Stored.", body = Recorded)),
        security(("api_key" = []), ("api_key_in_query" = [])),
        extensions(("x-errors" = json!(["request", "key", "audit", "body", "interaction", "database"]))),
    )
)]
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond(ErrorFormat::Recordings, request, |request| async move {
        state.access.check(&request, Scope::RecordingsWrite).await?;
        request.query.only(&[])?;
        let object: Map<String, Value> = request.json()?;
        let invalid = |message: String| ApiError::bad_request("invalid_interaction", message);
        if let Some(name) = Interaction::unknown(&object) {
            let name: String = name.chars().take(64).collect();
            return Err(invalid(format!("{name:?} is not a field of an interaction.")));
        }
        let reported = Interaction::from_json(&object, Timestamp::now()).map_err(invalid)?;
        let reported = reported.with_phone(|phone| state.phones.e164(phone));
        let event = Event::new(Action::ReportInteraction).with(object.keys().map(String::as_str));
        let event = match state.calls.subject_of(&reported).await? {
            Some(subject) => event.about(subject),
            None => event,
        };
        state.access.audit(&request, event).await?;
        state.calls.record_interaction(&reported).await?;
        let recorded = Recorded {
            interaction_id: reported.interaction_id,
            dispatch_id: reported.dispatch_id.map(|id| id.to_string()),
            updated_at: reported.at,
        };
        Ok((StatusCode::OK, recorded))
    })
    .await
}
