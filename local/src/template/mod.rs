//! What the local stack reads from the deployed system's `template.yaml`: routes, cross-origin permissions, queues, rules, schedules and tables.

mod cors;
mod events;
mod function;
mod policies;
mod routes;
mod tables;
mod yaml;

pub use cors::{CorsConfiguration, cors};
pub use events::{QueueSource, Rule, Schedule, log_groups, queues, rules, schedules};
pub use policies::{Condition, Operator, Policy, Statement, Values, policies};
pub use routes::{Route, routes};
pub use tables::{Index, Key, Projection, Table, tables};
pub use yaml::{TEMPLATE, TemplateError};
