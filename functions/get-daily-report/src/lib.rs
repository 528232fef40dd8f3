//! `GET /reports/daily`: the day ledger's counts of the calls of each day.

use jiff::civil::Date;
use lambda_http::{Body, Request, Response, http::StatusCode};
use serde::Serialize;
use shared::{
    calls::{Calls, LedgerDay},
    clients::aws::Aws,
    config::{ConfigError, Env},
    http::{
        self, ApiError, ErrorFormat, Query,
        access::{Access, Scope},
        invalid_parameter,
    },
};

/// The maximum number of days in a report.
const MAX_DAYS: i32 = 366;

/// The state that is created once and used for every request.
pub struct State {
    access: Access,
    calls: Calls,
}

impl State {
    /// Reads the environment and fetches the secret.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let state = Self::new(env, &Aws::from_env(env)?)?;
        state.access.preload().await;
        Ok(state)
    }

    /// Reads the environment. The secret is fetched by the first request.
    pub fn new(env: &Env, aws: &Aws) -> Result<Self, ConfigError> {
        Ok(Self {
            access: Access::required(env, aws)?,
            calls: Calls::from_env(env, aws)?,
        })
    }
}

#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = DailyReport))]
struct Report {
    from: Date,
    to: Date,
    days: Vec<Day>,
}

#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ReportedDay))]
struct Day {
    #[serde(flatten)]
    ledger: LedgerDay,
    /// `seconds` in minutes, with one decimal place.
    minutes: f64,
}

/// Handles a request.
#[cfg_attr(
    feature = "openapi",
    utoipa::path(
        get,
        path = "/reports/daily",
        operation_id = "getDailyReport",
        tag = "Reports",
        summary = "Get the counts of days",
        description = "The day ledger: counts of the calls that began on each UTC day. Days without calls may be missing. Scope: `recordings:read`.",
        params(
            ("from" = String, Query, description = "First UTC day.", pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", format = Date, example = "2025-08-01"),
            ("to" = String, Query, description = "Last UTC day, at most 366 days from the first one, both included.", pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", format = Date, example = "2025-08-31"),
        ),
        responses((status = 200, description = "The days.", body = Report)),
        security(("api_key" = []), ("api_key_in_query" = [])),
        extensions(("x-errors" = json!(["request", "key", "missing", "value", "database"]))),
    )
)]
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond(ErrorFormat::Recordings, request, |request| async move {
        state.access.check(&request, Scope::RecordingsRead).await?;
        request.expect_tail("daily")?;
        request.query.only(&["from", "to"])?;
        let (from, to) = (day(&request.query, "from")?, day(&request.query, "to")?);
        if from > to {
            return Err(ApiError::bad_request("invalid_parameter", "from must not be after to."));
        }
        let days = (to - from).get_days() + 1;
        if days > MAX_DAYS {
            return Err(ApiError::bad_request(
                "invalid_parameter",
                format!("from and to must be at most {MAX_DAYS} days apart, both included; these are {days}."),
            ));
        }
        let ledger = state.calls.ledger_days(from, to).await?;
        let days = ledger.into_iter().map(|ledger| Day {
            minutes: (ledger.seconds as f64 / 6.0).round() / 10.0,
            ledger,
        });
        let days = days.collect();
        Ok((StatusCode::OK, Report { from, to, days }))
    })
    .await
}

fn day(query: &Query, name: &'static str) -> Result<Date, ApiError> {
    let text = query.get(name).ok_or_else(|| {
        ApiError::bad_request(
            "missing_parameter",
            format!("{name} is required: a day such as 2025-08-08."),
        )
    })?;
    let date = text.parse::<Date>().ok();
    let date = date.filter(|date| date.to_string() == text && (1..=9998).contains(&date.year()));
    date.ok_or_else(|| invalid_parameter(name, text, "a day such as 2025-08-08"))
}
