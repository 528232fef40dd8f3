//! `cargo run -- reindex`: rebuilds the lists' attributes of a calls table that an older version has written, in place.

use std::error::Error;

use clap::Args;
use shared::calls::{Calls, ReindexPage};

use super::aws_config;

/// Which table.
#[derive(Args)]
pub struct Reindex {
    /// Name of the calls table; a deployment's is the stack's output CallsTableName
    #[arg(long, default_value = crate::stack::account::CALLS_TABLE)]
    table: String,
    /// Where an earlier run ended
    #[arg(long)]
    start_key: Option<String>,
    /// Where DynamoDB is: http://localhost:4566 for a running `cargo run`; AWS if not given
    #[arg(long)]
    endpoint_url: Option<String>,
}

/// What a run has done.
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
    /// Works through the table, using the AWS credentials of this shell. `progress` gets what was done so far, and the key to go on from if the run
    /// ends there.
    pub async fn run(self, progress: impl FnMut(&Reindexed, &str)) -> Result<Reindexed, Box<dyn Error + Send + Sync>> {
        let config = aws_config::load(self.endpoint_url.as_deref()).await?;
        let client = aws_sdk_dynamodb::Client::new(&config);
        self.run_with(&Calls::new(client, &self.table), progress).await
    }

    /// As [`Reindex::run`], with this table.
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
                Some(key) => format!("{error}; go on with --start-key {key:?}"),
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
