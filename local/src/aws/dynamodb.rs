//! DynamoDB, implemented by the dynoxide database in this process.

use std::path::Path;

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::Response;
use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::panics::blocking;

use super::{
    error::Error,
    response::{json_error, json_response},
};

pub(super) struct DynamoDb(Database);

impl DynamoDb {
    pub(super) fn file(path: &Path) -> Result<Self, Error> {
        let name = path
            .to_str()
            .ok_or_else(|| Error::new("open", path, "the path is not UTF-8"))?;
        Database::new(name)
            .map(Self)
            .map_err(|error| Error::new("open", path, error))
    }

    pub(super) fn memory(dir: &Path) -> Result<Self, Error> {
        Database::memory()
            .map(Self)
            .map_err(|error| Error::new("open a database in memory for", dir, error))
    }

    pub(super) async fn answer(&self, operation: String, body: Bytes) -> Response {
        let database = self.0.clone();
        match blocking(move || dispatch(&database, &operation, &body)).await {
            Ok(Ok(json)) => json_response(StatusCode::OK, json),
            Ok(Err(error)) => {
                let status = StatusCode::from_u16(error.status_code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                json_response(status, error.to_json())
            }
            Err(panicked) => json_error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalServerError",
                &panicked.to_string(),
            ),
        }
    }
}

fn dispatch(db: &Database, operation: &str, body: &[u8]) -> Result<String, DynoxideError> {
    match operation {
        "CreateTable" => run(body, |request| db.create_table(request)),
        "DeleteTable" => run(body, |request| db.delete_table(request)),
        "DescribeTable" => run(body, |request| db.describe_table(request)),
        "ListTables" => run(body, |request| db.list_tables(request)),
        "UpdateTable" => run(body, |request| db.update_table(request)),
        "UpdateTimeToLive" => run(body, |request| db.update_time_to_live(request)),
        "DescribeTimeToLive" => run(body, |request| db.describe_time_to_live(request)),
        "TagResource" => run(body, |request| db.tag_resource(request)),
        "UntagResource" => run(body, |request| db.untag_resource(request)),
        "ListTagsOfResource" => run(body, |request| db.list_tags_of_resource(request)),
        "PutItem" => run(body, |request| db.put_item(request)),
        "GetItem" => run(body, |request| db.get_item(request)),
        "UpdateItem" => run(body, |request| db.update_item(request)),
        "DeleteItem" => run(body, |request| db.delete_item(request)),
        "Query" => run(body, |request| db.query(request)),
        "Scan" => run(body, |request| db.scan(request)),
        "BatchGetItem" => run(body, |request| db.batch_get_item(request)),
        "BatchWriteItem" => run(body, |request| db.batch_write_item(request)),
        "TransactGetItems" => run(body, |request| db.transact_get_items(request)),
        "TransactWriteItems" => run(body, |request| db.transact_write_items(request)),
        "ExecuteStatement" => run(body, |request| db.execute_statement(request)),
        "ExecuteTransaction" => run(body, |request| db.execute_transaction(request)),
        "BatchExecuteStatement" => run(body, |request| db.batch_execute_statement(request)),
        "ListStreams" => run(body, |request| db.list_streams(request)),
        "DescribeStream" => run(body, |request| db.describe_stream(request)),
        "GetShardIterator" => run(body, |request| db.get_shard_iterator(request)),
        "GetRecords" => run(body, |request| db.get_records(request)),
        other => Err(DynoxideError::ValidationException(format!(
            "The local DynamoDB has no operation `{other}`."
        ))),
    }
}

fn run<Q: DeserializeOwned, A: Serialize>(
    body: &[u8],
    call: impl FnOnce(Q) -> Result<A, DynoxideError>,
) -> Result<String, DynoxideError> {
    let request = serde_json::from_slice(body).map_err(|error| {
        // dynoxide puts the class of some errors before the message: `VALIDATION:...`.
        let text = error.to_string();
        let marked = |(mark, _): &(&str, &str)| mark.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        let text = text
            .split_once(':')
            .filter(marked)
            .map_or(text.as_str(), |(_, text)| text);
        DynoxideError::ValidationException(text.to_owned())
    })?;
    let answer = call(request)?;
    serde_json::to_string(&answer).map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}
