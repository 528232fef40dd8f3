//! The resources that a deployment has in its account: tables, bucket and secrets.

use std::error::Error;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, CreateGlobalSecondaryIndexAction, GlobalSecondaryIndex,
    GlobalSecondaryIndexUpdate, KeySchemaElement, KeyType, Projection, ProjectionType, ScalarAttributeType,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use shared::{clients::aws::Aws, http::access};

use crate::{
    aws, demo,
    template::{self, TEMPLATE, Table},
};

/// Name of the calls table.
pub const CALLS_TABLE: &str = "calls";
/// Name of the transcripts table.
pub const TRANSCRIPTS_TABLE: &str = "transcripts";
/// Name of the lifecycle table.
pub const LIFECYCLE_TABLE: &str = "lifecycle";
/// Name of the shares table.
pub const SHARES_TABLE: &str = "shares";
/// Name of the audit table.
pub const AUDIT_TABLE: &str = "audit";
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

/// Name of the secret with the key of tombstones.
pub const TOMBSTONE_SECRET: &str = "call-recordings/tombstones";
/// Name of the secret of which the key of receipts is made.
pub const RECEIPT_SECRET: &str = "call-recordings/receipts";

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The credentials in the functions' secrets.
pub struct Credentials<'a> {
    /// Twilio account SID.
    pub twilio_account_sid: &'a str,
    /// Twilio auth token.
    pub twilio_auth_token: &'a str,
    /// Key of the transcription API.
    pub whisper_api_key: &'a str,
}

/// Creates missing tables and the bucket, and writes the secrets, except existing API keys. Returns whether the calls table is new.
pub async fn create(aws: &Aws, credentials: &Credentials<'_>) -> Result<bool> {
    let dynamodb = aws.dynamodb();
    let fresh = create_tables(&dynamodb).await?.contains(&CALLS_TABLE);
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
    for name in [TOMBSTONE_SECRET, RECEIPT_SECRET] {
        // Like in a deployment, where CloudFormation makes them up.
        secret(aws, name, json!({"key": random_key()}), false).await?;
    }
    Ok(fresh)
}

fn random_key() -> String {
    let parts = [0; 4].map(|_: u64| format!("{:016x}", fastrand::u64(..)));
    parts.concat()
}

/// When the tables were created.
pub async fn created_at(aws: &Aws) -> Result<Timestamp> {
    let described = aws.dynamodb().describe_table().table_name(CALLS_TABLE).send().await?;
    let created = described.table.and_then(|table| table.creation_date_time);
    let created = created.ok_or("a table without a creation time")?;
    Ok(Timestamp::from_second(created.secs())?)
}

/// The tables of template.yaml with their names.
pub fn tables() -> Result<Vec<(Table, &'static str)>> {
    let tables = template::tables(TEMPLATE)?.into_iter();
    tables
        .map(|table| table_name(&table).map(|name| (table, name)))
        .collect()
}

/// Creates the tables of template.yaml that do not exist, and returns their names.
pub async fn create_tables(dynamodb: &aws_sdk_dynamodb::Client) -> Result<Vec<&'static str>> {
    let known = dynamodb.list_tables().send().await?.table_names.unwrap_or_default();
    let mut created = Vec::new();
    for (table, name) in tables()? {
        match known.iter().any(|known| known == name) {
            true => add_missing_indexes(dynamodb, name, &table).await?,
            false => {
                create_table(dynamodb, name, &table).await?;
                created.push(name);
            }
        }
    }
    Ok(created)
}

/// Adds to a table in the data folder of an older version the indexes that it lacks, as a deploy does.
async fn add_missing_indexes(dynamodb: &aws_sdk_dynamodb::Client, name: &str, table: &Table) -> Result<()> {
    let described = dynamodb.describe_table().table_name(name).send().await?;
    let known = described
        .table
        .and_then(|table| table.global_secondary_indexes)
        .unwrap_or_default();
    let is_known = |index: &&template::Index| known.iter().any(|it| it.index_name.as_deref() == Some(&index.name));
    for missing in table.indexes.iter().filter(|index| !is_known(index)) {
        let index = index(missing)?;
        let create = CreateGlobalSecondaryIndexAction::builder()
            .index_name(index.index_name)
            .set_key_schema(Some(index.key_schema))
            .set_projection(index.projection)
            .build()?;
        let update = GlobalSecondaryIndexUpdate::builder().create(create).build();
        dynamodb
            .update_table()
            .table_name(name)
            .set_attribute_definitions(Some(attributes(table)?))
            .global_secondary_index_updates(update)
            .send()
            .await?;
    }
    Ok(())
}

fn attributes(table: &Table) -> Result<Vec<AttributeDefinition>> {
    let attribute = |(name, kind): &(String, String)| {
        AttributeDefinition::builder()
            .attribute_name(name)
            .attribute_type(ScalarAttributeType::from(kind.as_str()))
            .build()
    };
    let attributes = table.attributes.iter().map(attribute);
    Ok(attributes.collect::<std::result::Result<_, _>>()?)
}

fn table_name(table: &Table) -> Result<&'static str> {
    match table.resource.as_str() {
        "CallsTable" => Ok(CALLS_TABLE),
        "TranscriptsTable" => Ok(TRANSCRIPTS_TABLE),
        "LifecycleTable" => Ok(LIFECYCLE_TABLE),
        "SharesTable" => Ok(SHARES_TABLE),
        "AuditTable" => Ok(AUDIT_TABLE),
        other => Err(format!("{other} of template.yaml has no name in the local stack").into()),
    }
}

async fn create_table(dynamodb: &aws_sdk_dynamodb::Client, name: &str, table: &Table) -> Result<()> {
    let indexes = table.indexes.iter().map(index).collect::<Result<Vec<_>>>()?;
    dynamodb
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .set_attribute_definitions(Some(attributes(table)?))
        .set_key_schema(Some(key_schema(&table.key)?))
        .set_global_secondary_indexes(Some(indexes).filter(|indexes| !indexes.is_empty()))
        .send()
        .await?;
    Ok(())
}

fn index(index: &template::Index) -> Result<GlobalSecondaryIndex> {
    let (kind, included) = match &index.projection {
        template::Projection::All => (ProjectionType::All, None),
        template::Projection::KeysOnly => (ProjectionType::KeysOnly, None),
        template::Projection::Include(attributes) => (ProjectionType::Include, Some(attributes.clone())),
    };
    let projection = Projection::builder()
        .projection_type(kind)
        .set_non_key_attributes(included);
    Ok(GlobalSecondaryIndex::builder()
        .index_name(&index.name)
        .set_key_schema(Some(key_schema(&index.key)?))
        .projection(projection.build())
        .build()?)
}

fn key_schema(key: &template::Key) -> Result<Vec<KeySchemaElement>> {
    let partition = Some((&key.partition, KeyType::Hash));
    let sort = key.sort.as_ref().map(|name| (name, KeyType::Range));
    let elements = partition
        .into_iter()
        .chain(sort)
        .map(|(name, kind)| KeySchemaElement::builder().attribute_name(name).key_type(kind).build());
    Ok(elements.collect::<std::result::Result<_, _>>()?)
}

/// Creates a secret, and overwrites an existing one only with `overwrite`.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        aws::{DatabaseKind, Storage},
        serve::{Reach, bind, serve},
    };

    #[tokio::test]
    async fn the_tables_have_the_keys_indexes_and_projected_attributes_of_the_template() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage {
            dir: dir.path().to_owned(),
            database: DatabaseKind::Memory,
        };
        let aws = aws::Aws::open(&storage).await.unwrap();
        let listener = bind(0, Reach::Machine).await.unwrap();
        let url = listener.url();
        tokio::spawn(serve(listener, aws.router(), std::future::pending()));
        let environment = shared::config::Env::from_iter([
            ("AWS_REGION", aws::REGION),
            ("AWS_ACCESS_KEY_ID", aws::ACCESS_KEY_ID),
            ("AWS_SECRET_ACCESS_KEY", aws::SECRET_ACCESS_KEY),
            ("AWS_ENDPOINT_URL", url.as_str()),
        ]);
        let dynamodb = Aws::from_env(&environment).unwrap().dynamodb();
        // A table of an older version has none of the indexes.
        let expected = template::tables(TEMPLATE).unwrap();
        let transcripts = expected
            .iter()
            .find(|table| table.resource == "TranscriptsTable")
            .unwrap();
        let without_indexes = Table {
            attributes: transcripts
                .attributes
                .iter()
                .filter(|(name, _)| name == "id")
                .cloned()
                .collect(),
            indexes: Vec::new(),
            ..transcripts.clone()
        };
        create_table(&dynamodb, TRANSCRIPTS_TABLE, &without_indexes)
            .await
            .unwrap();
        for _ in 0..2 {
            create_tables(&dynamodb).await.unwrap();
        }

        let key = |schema: &[KeySchemaElement]| {
            let attribute = |kind| schema.iter().find(|element| element.key_type == kind);
            template::Key {
                partition: attribute(KeyType::Hash).unwrap().attribute_name.clone(),
                sort: attribute(KeyType::Range).map(|element| element.attribute_name.clone()),
            }
        };
        assert_eq!(expected.len(), 5);
        for expected in expected {
            let name = table_name(&expected).unwrap();
            let described = dynamodb.describe_table().table_name(name).send().await.unwrap();
            let table = described.table.unwrap();
            let indexes = table.global_secondary_indexes().iter().map(|index| {
                let projection = index.projection.as_ref().unwrap();
                let mut included = projection.non_key_attributes().to_vec();
                included.sort();
                template::Index {
                    name: index.index_name.clone().unwrap(),
                    key: key(index.key_schema()),
                    projection: match projection.projection_type.as_ref().unwrap() {
                        ProjectionType::All => template::Projection::All,
                        ProjectionType::KeysOnly => template::Projection::KeysOnly,
                        _ => template::Projection::Include(included),
                    },
                }
            });
            let attributes = table.attribute_definitions().iter();
            let attributes = attributes.map(|it| (it.attribute_name.clone(), it.attribute_type.as_str().to_owned()));
            let created = Table {
                resource: expected.resource.clone(),
                attributes: attributes.collect(),
                key: key(table.key_schema()),
                indexes: indexes.collect(),
            };
            assert_eq!(sorted(created), sorted(expected));
        }
    }

    /// Sorts attributes and indexes, whose order is not significant.
    fn sorted(mut table: Table) -> Table {
        table.attributes.sort();
        table.indexes.sort_by(|one, other| one.name.cmp(&other.name));
        for index in &mut table.indexes {
            if let template::Projection::Include(attributes) = &mut index.projection {
                attributes.sort();
            }
        }
        table
    }
}
