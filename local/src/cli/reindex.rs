//! `cargo run -- reindex`: rebuilds the list attributes of a calls table that an older version wrote, in place.

use std::error::Error;

use clap::Args;
use shared::calls::{Calls, ReindexPage};

use super::aws_config;

/// The arguments of `reindex`.
#[derive(Args)]
pub struct Reindex {
    /// Name of the calls table; a deployment's is the stack's output CallsTableName
    #[arg(long, default_value = crate::stack::account::CALLS_TABLE)]
    table: String,
    /// Name of the lifecycle table; a deployment's is the stack's output LifecycleTableName
    #[arg(long, default_value = crate::stack::account::LIFECYCLE_TABLE)]
    lifecycle_table: String,
    /// The key from which an earlier run must be continued
    #[arg(long)]
    start_key: Option<String>,
    /// Endpoint of DynamoDB: http://localhost:4566 for a running `cargo run`; AWS if not given
    #[arg(long)]
    endpoint_url: Option<String>,
}

/// The result of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reindexed {
    /// Items read.
    pub read: u64,
    /// Items rebuilt.
    pub rebuilt: u64,
    /// Counters of version 0.1 deleted.
    pub deleted: u64,
}

impl Reindex {
    /// Rebuilds the table with the AWS credentials of this shell. `progress` is called with the result so far and the key from which the run can
    /// be continued.
    pub async fn run(self, progress: impl FnMut(&Reindexed, &str)) -> Result<Reindexed, Box<dyn Error + Send + Sync>> {
        let config = aws_config::load(self.endpoint_url.as_deref()).await?;
        let client = aws_sdk_dynamodb::Client::new(&config);
        self.run_with(&Calls::new(client, &self.table, &self.lifecycle_table), progress)
            .await
    }

    /// Like [`Reindex::run`], with this table.
    pub async fn run_with(
        &self,
        calls: &Calls,
        mut progress: impl FnMut(&Reindexed, &str),
    ) -> Result<Reindexed, Box<dyn Error + Send + Sync>> {
        let (mut done, mut after) = (Reindexed::default(), self.start_key.clone());
        loop {
            let page = calls.reindex_page(after.as_deref()).await;
            let ReindexPage {
                read,
                rebuilt,
                deleted,
                next,
            } = page.map_err(|error| match &after {
                Some(key) => format!("{error}; continue with --start-key {key:?}"),
                None => error.to_string(),
            })?;
            done.read += read;
            done.rebuilt += rebuilt;
            done.deleted += deleted;
            let Some(key) = next else { return Ok(done) };
            progress(&done, &key);
            after = Some(key);
        }
    }
}
