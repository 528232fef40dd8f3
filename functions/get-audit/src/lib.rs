//! `GET /audit`: who listed, played, downloaded, read, made, changed or erased what.

mod response;

use jiff::Timestamp;
use lambda_http::{Body, Request, Response, http::StatusCode};
use shared::{
    audit::{Action, AuditCursor, AuditFilter, Event},
    calls::{Calls, CallsError},
    clients::aws::Aws,
    config::{ConfigError, Env},
    http::{
        self, ApiError, ErrorFormat, Query,
        access::{Access, Scope},
        invalid_parameter,
    },
    ids::DispatchId,
    time::DateInput,
};

use response::{AuditList, ShownItem};

const PARAMETERS: [&str; 8] = [
    "from",
    "to",
    "key_id",
    "action",
    "recording",
    "interaction_id",
    "limit",
    "cursor",
];

/// The state that is created once and used for every request.
pub struct State {
    access: Access,
    calls: Calls,
}

impl State {
    /// Reads the environment and fetches the secret.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let state = Self {
            // Who may play recordings without a key still must not read who plays them.
            access: Access::required(env, &aws)?,
            calls: Calls::from_env(env, &aws)?,
        };
        state.access.preload().await;
        Ok(state)
    }
}

/// Handles a request.
#[cfg_attr(
    feature = "openapi",
    utoipa::path(
        get,
        path = "/audit",
        operation_id = "getAudit",
        tag = "Data protection",
        summary = "Read who did what",
        description = "What requests did with calls and recordings, newest first: one item for each request. A page can have fewer items than `limit`, even none, and a `next_cursor` nevertheless: a request reads a bounded part of the audit. Reading it writes an item, too. Always needs a key. Scope: `audit:read`.",
        params(
            ("from" = Option<String>, Query, description = "ISO 8601 date or date-time. A date covers its whole UTC day. The default is all that `AUDIT_DAYS` keeps, and with `recording` or `interaction_id` all that there is.", example = "2025-08-08"),
            ("to" = Option<String>, Query, description = "ISO 8601 date or date-time. A date covers its whole UTC day.", example = "2025-08-08"),
            ("key_id" = Option<String>, Query, description = "The id of an API key.", min_length = 1, max_length = 256, example = "ops"),
            ("action" = Option<String>, Query, description = "One action.", pattern = "^[a-z_]+$", example = "play"),
            ("recording" = Option<String>, Query, description = "A dispatch id, or Twilio's SID of a call or a recording. All items of the call and its recordings are found, whichever id their requests had.", pattern = "^[A-Za-z0-9_-]{1,128}$", example = "dispatch_1754653479_15103455686"),
            ("interaction_id" = Option<String>, Query, description = "The id of an interaction: all items of its call. Not together with `recording`.", min_length = 1, max_length = 256, example = "crm-1001"),
            ("limit" = Option<u64>, Query, description = "Items on a page.", minimum = 1, maximum = 100, example = 50),
            ("cursor" = Option<String>, Query, description = "`next_cursor` of the previous page, with the same filters."),
        ),
        responses((status = 200, description = "A page of items.", body = AuditList)),
        security(("api_key" = []), ("api_key_in_query" = [])),
        extensions(("x-errors" = json!(["request", "key", "audit", "audit_list", "value", "database"]))),
    )
)]
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond(ErrorFormat::Recordings, request, |request| async move {
        state.access.check(&request, Scope::AuditRead).await?;
        request.query.only(&PARAMETERS)?;
        let limit = request.query.integer("limit", 50, 1..=100)? as usize;
        let named = named(&request.query)?;
        let filter = filter(&request.query)?;
        let start = match request.query.get("cursor") {
            None => None,
            Some(text) => {
                let accepted = "the next_cursor of an earlier response for the same filters";
                let cursor = AuditCursor::decode(text, &filter);
                Some(cursor.ok_or_else(|| invalid_parameter("cursor", text, accepted))?)
            }
        };
        let mut event = Event::new(Action::ReadAudit).with(request.query.names());
        let subjects = match &named {
            None => None,
            Some(named) => {
                let known = named.subjects(&state.calls).await?;
                if known.is_some() {
                    event = event.about(named.subject());
                }
                Some(known.unwrap_or_else(|| vec![named.subject()]))
            }
        };
        let log = state.access.audit_log();
        let page = log
            .list(&filter, subjects.as_deref(), start, limit, Timestamp::now())
            .await?;
        let event = event.showing(page.items.len());
        let list = AuditList {
            next_cursor: page.next.map(|cursor| cursor.encode(&filter)),
            items: page.items.into_iter().map(ShownItem::from).collect(),
            limit,
        };
        state.access.disclose(&request, event, (StatusCode::OK, list)).await
    })
    .await
}

/// The call whose items are listed.
enum Named {
    Call(DispatchId),
    Interaction(String),
}

impl Named {
    fn subject(&self) -> String {
        match self {
            Self::Call(id) => id.to_string(),
            Self::Interaction(id) => Calls::item_of_interaction(id),
        }
    }

    /// Everything by which the audit can have the call; `None` if the index does not know it.
    async fn subjects(&self, calls: &Calls) -> Result<Option<Vec<String>>, CallsError> {
        match self {
            Self::Call(id) => calls.audited_as(id).await,
            Self::Interaction(id) => {
                let contents = calls.contents(&Calls::item_of_interaction(id)).await?;
                Ok(contents.map(|contents| contents.audited))
            }
        }
    }
}

fn named(query: &Query) -> Result<Option<Named>, ApiError> {
    match (query.get("recording"), query.text("interaction_id")?) {
        (None, None) => Ok(None),
        (Some(id), None) => {
            let accepted = "a dispatch id, or Twilio's SID of a call or a recording";
            let id = DispatchId::parse(id).ok_or_else(|| invalid_parameter("recording", id, accepted))?;
            Ok(Some(Named::Call(id)))
        }
        (None, Some(id)) => Ok(Some(Named::Interaction(id))),
        (Some(_), Some(_)) => Err(ApiError::bad_request(
            "invalid_parameter",
            "Give recording or interaction_id, not both.",
        )),
    }
}

fn filter(query: &Query) -> Result<AuditFilter, ApiError> {
    let from = query.date("from")?.map(DateInput::start);
    let to = query.date("to")?.map(DateInput::end);
    if let (Some(from), Some(to)) = (from, to)
        && from >= to
    {
        return Err(ApiError::bad_request(
            "invalid_parameter",
            "from must be earlier than to.",
        ));
    }
    let action = match query.get("action") {
        None => None,
        Some(word) => {
            let words = Action::ALL.map(Action::name).join(", ");
            Some(Action::parse(word).ok_or_else(|| invalid_parameter("action", word, &format!("one of {words}")))?)
        }
    };
    Ok(AuditFilter {
        from,
        to,
        key_id: query.text("key_id")?,
        action,
        recording: query.get("recording").map(str::to_owned),
        interaction_id: query.get("interaction_id").map(str::to_owned),
    })
}
