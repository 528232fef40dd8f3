//! The permissions of the functions: every request is compared with the policy of the access key that signed it, as IAM does.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};

use axum::{
    http::{StatusCode, header, request::Parts},
    response::Response,
};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use wildmatch::WildMatch;

use super::{
    identity::{ACCOUNT_ID, REGION},
    query::query,
    response::json_error,
    s3,
    service::Service,
};
use crate::template::{Condition, Operator, Policy, Statement};

/// The policies of a deployment. Access keys without a policy may do everything.
#[derive(Debug, Default)]
pub struct Permissions {
    statements: HashMap<String, (String, Vec<Statement>)>,
    /// The partition key of each table, by its name.
    table_keys: HashMap<String, String>,
    used: Mutex<BTreeSet<Use>>,
    denied: Mutex<Vec<String>>,
}

/// A permission that was used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// The function or user.
    pub principal: String,
    /// The statement that allowed it.
    pub sid: String,
    /// The action, such as `s3:GetObject`.
    pub action: String,
}

/// An action on a resource that a request needs.
struct Needed {
    action: String,
    resource: String,
    /// Values of condition keys.
    context: HashMap<&'static str, Vec<String>>,
}

impl Permissions {
    /// The policies with the access key of each principal, and the partition keys of the tables.
    pub fn new(policies: Vec<(String, Policy)>, table_keys: HashMap<String, String>) -> Self {
        let statements = policies
            .into_iter()
            .map(|(access_key, policy)| (access_key, (policy.principal, policy.statements)));
        Self {
            statements: statements.collect(),
            table_keys,
            ..Self::default()
        }
    }

    /// All permissions. Those for the log have no statement here, as there is no local service that a function writes its log to.
    pub fn allowed(&self) -> BTreeSet<Use> {
        let mut allowed = BTreeSet::new();
        for (principal, statements) in self.statements.values() {
            for statement in statements {
                let actions = statement.actions.iter().filter(|action| !action.starts_with("logs:"));
                allowed.extend(actions.map(|action| Use {
                    principal: principal.clone(),
                    sid: statement.sid.clone(),
                    action: action.clone(),
                }));
            }
        }
        allowed
    }

    /// The permissions that were used so far.
    pub fn used(&self) -> BTreeSet<Use> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The requests that were denied so far, as sentences.
    pub fn denied(&self) -> Vec<String> {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the error of a request that its access key may not make.
    pub(super) fn check(&self, service: Service, operation: &str, parts: &Parts, body: &[u8]) -> Option<Response> {
        let (principal, statements) = self.statements.get(&access_key(parts)?)?;
        let body = serde_json::from_slice(body).unwrap_or_default();
        for needed in self.needed(service, operation, parts, &body) {
            match statements.iter().find(|statement| allows(statement, &needed)) {
                Some(statement) => self.record(principal, statement, needed.action),
                None => {
                    let message = format!(
                        "{principal} is not authorized to perform {} on {}: no statement of its role in template.yaml allows it",
                        needed.action, needed.resource
                    );
                    // A presigned URL may have been altered by its bearer.
                    if parts.headers.contains_key(header::AUTHORIZATION) {
                        tracing::error!("{message}");
                        let mut denied = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
                        denied.push(message.clone());
                    }
                    return Some(denied(service, &message));
                }
            }
        }
        None
    }

    fn record(&self, principal: &str, statement: &Statement, action: String) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.insert(Use {
            principal: principal.to_owned(),
            sid: statement.sid.clone(),
            action,
        });
    }

    /// S3 reveals that an object does not exist only to those who may list the bucket. Without a listing the request has no `s3:prefix`.
    pub(super) fn hides_missing_objects(&self, parts: &Parts) -> bool {
        let Some((principal, statements)) = access_key(parts).and_then(|key| self.statements.get(&key)) else {
            return false;
        };
        let (bucket, _) = bucket_and_key(parts);
        let needed = s3_action("ListBucket", format!("arn:aws:s3:::{bucket}"));
        match statements.iter().find(|statement| allows(statement, &needed)) {
            Some(statement) => {
                self.record(principal, statement, needed.action);
                false
            }
            None => true,
        }
    }

    fn needed(&self, service: Service, operation: &str, parts: &Parts, body: &Value) -> Vec<Needed> {
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let plain = |service: &str, operation: &str, resource: String| Needed {
            action: format!("{service}:{operation}"),
            resource,
            context: HashMap::new(),
        };
        match service {
            Service::S3 => vec![of_s3(operation, parts)],
            Service::SecretsManager => vec![plain("secretsmanager", operation, text("SecretId"))],
            Service::Sqs => {
                let url = text("QueueUrl");
                let name = url.rsplit('/').next().unwrap_or_default();
                let resource = format!("arn:aws:sqs:{REGION}:{ACCOUNT_ID}:{name}");
                vec![plain("sqs", operation.trim_end_matches("Batch"), resource)]
            }
            Service::EventBridge => vec![plain(
                "events",
                operation,
                format!("arn:aws:events:{REGION}:{ACCOUNT_ID}:event-bus/default"),
            )],
            Service::DynamoDb => self.of_dynamodb(operation, body),
        }
    }

    fn of_dynamodb(&self, operation: &str, body: &Value) -> Vec<Needed> {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        match operation {
            "TransactWriteItems" | "TransactGetItems" => {
                let entries = list(&body["TransactItems"]).into_iter();
                let writes = entries.filter_map(|entry| {
                    let (kind, request) = entry.as_object()?.iter().next()?;
                    let action = match kind.as_str() {
                        "ConditionCheck" => "ConditionCheckItem".to_owned(),
                        kind => format!("{kind}Item"),
                    };
                    Some(self.on_table(&action, request, std::slice::from_ref(request)))
                });
                writes.collect()
            }
            "BatchGetItem" | "BatchWriteItem" => {
                let tables = body["RequestItems"].as_object().into_iter().flatten();
                let reads = tables.map(|(table, requests)| {
                    let keys = list(&requests["Keys"]).into_iter();
                    let keys: Vec<Value> = keys.map(|key| serde_json::json!({"Key": key})).collect();
                    self.on_table(operation, &serde_json::json!({"TableName": table}), &keys)
                });
                reads.collect()
            }
            _ => vec![self.on_table(operation, body, std::slice::from_ref(body))],
        }
    }

    /// An action on a table or an index. The requests have the items' keys.
    fn on_table(&self, action: &str, request: &Value, requests: &[Value]) -> Needed {
        let table = request["TableName"].as_str().unwrap_or_default();
        let mut resource = format!("arn:aws:dynamodb:{REGION}:{ACCOUNT_ID}:table/{table}");
        if let Some(index) = request["IndexName"].as_str() {
            resource.push_str(&format!("/index/{index}"));
        }
        let name = self.table_keys.get(table).map_or("id", String::as_str);
        let keys = requests.iter().filter_map(|request| {
            let key = request["Key"][name]["S"].as_str();
            key.or_else(|| request["Item"][name]["S"].as_str()).map(str::to_owned)
        });
        Needed {
            action: format!("dynamodb:{action}"),
            resource,
            context: HashMap::from([("dynamodb:LeadingKeys", keys.collect())]),
        }
    }
}

fn of_s3(operation: &str, parts: &Parts) -> Needed {
    let (bucket, key) = bucket_and_key(parts);
    let names_version = query(parts).any(|(name, _)| name == "versionId");
    let action = match operation {
        "GetObject" | "HeadObject" if names_version => "GetObjectVersion",
        "DeleteObject" if names_version => "DeleteObjectVersion",
        "GetObject" | "HeadObject" => "GetObject",
        "ListObjectsV2" | "ReadBucket" | "HeadBucket" => "ListBucket",
        "CreateMultipartUpload" | "UploadPart" | "CompleteMultipartUpload" | "CopyObject" => "PutObject",
        "ListObjectVersions" => "ListBucketVersions",
        "ListParts" => "ListMultipartUploadParts",
        other => other,
    };
    let resource = match key.is_empty() {
        true => format!("arn:aws:s3:::{bucket}"),
        false => format!("arn:aws:s3:::{bucket}/{key}"),
    };
    let mut needed = s3_action(action, resource);
    let prefix = query(parts).find(|(name, _)| name == "prefix");
    needed
        .context
        .extend(prefix.map(|(_, prefix)| ("s3:prefix", vec![prefix.into_owned()])));
    needed
}

fn s3_action(action: &str, resource: String) -> Needed {
    Needed {
        action: format!("s3:{action}"),
        resource,
        context: HashMap::from([("s3:ResourceAccount", vec![ACCOUNT_ID.to_owned()])]),
    }
}

fn bucket_and_key(parts: &Parts) -> (String, String) {
    let path = percent_decode_str(parts.uri.path().trim_start_matches('/')).decode_utf8_lossy();
    let (bucket, key) = path.split_once('/').unwrap_or((&path, ""));
    (bucket.to_owned(), key.to_owned())
}

/// The access key that signed a request, in its header or its query string.
fn access_key(parts: &Parts) -> Option<String> {
    let scope = super::service::credential_scope(parts)?;
    scope.split('/').next().map(str::to_owned)
}

fn denied(service: Service, message: &str) -> Response {
    match service {
        Service::S3 => s3::error(StatusCode::FORBIDDEN, "AccessDenied", message),
        _ => json_error(StatusCode::BAD_REQUEST, "AccessDeniedException", message),
    }
}

fn allows(statement: &Statement, needed: &Needed) -> bool {
    let is_like = |patterns: &[String], value: &str| patterns.iter().any(|pattern| matches(pattern, value));
    is_like(&statement.actions, &needed.action)
        && is_like(&statement.resources, &needed.resource)
        && statement.conditions.iter().all(|condition| holds(condition, needed))
}

fn holds(condition: &Condition, needed: &Needed) -> bool {
    let values = needed
        .context
        .get(condition.key.as_str())
        .map_or(&[][..], Vec::as_slice);
    let is_like = |value: &String| condition.patterns.iter().any(|pattern| matches(pattern, value));
    match condition.operator {
        Operator::StringEquals => values.iter().any(|value| condition.patterns.contains(value)),
        Operator::StringLike => values.iter().any(is_like),
        Operator::StringLikeIfExists => values.is_empty() || values.iter().any(is_like),
        Operator::ForAllValuesStringLike => values.iter().all(is_like),
    }
}

/// Whether a value matches a pattern of IAM, in which `*` stands for any text and `?` for any character.
fn matches(pattern: &str, value: &str) -> bool {
    WildMatch::new(pattern).matches(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_iam() {
        for (pattern, value, expected) in [
            ("s3:GetObject", "s3:GetObject", true),
            ("s3:Get*", "s3:GetObject", true),
            ("s3:Get?bject", "s3:GetObject", true),
            ("arn:aws:s3:::b/p/*", "arn:aws:s3:::b/p/2026/a*b.mp4", true),
            ("arn:aws:s3:::b/p/*", "arn:aws:s3:::b/q/a.mp4", false),
            ("*#b*c", "a#bxbc", true),
            ("*#b*c", "a#bxb", false),
            ("", "", true),
            ("", "a", false),
            ("a", "", false),
        ] {
            assert_eq!(matches(pattern, value), expected, "{pattern} {value}");
        }
    }
}
