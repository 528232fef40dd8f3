//! The cost of transcription: one item for each UTC month in the transcripts table, `usage#2025-08`.
//!
//! A price is reserved before the API is called: each paid call first adds its price to the month, on the condition that the sum stays within
//! the budget, and subtracts it again if the API returns no transcription. If a worker is killed in between, its price stays counted, so the sum
//! can be too high but never too low. Amounts are whole millionths of a US dollar, so that sums are exact.

use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue, ReturnValue},
};
use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;

use super::{
    error::{TranscriptsError, condition_met},
    model::Transcript,
};
use crate::{
    clients::{
        aws::Aws,
        dynamodb::{get_number, number, text},
    },
    config::{ConfigError, Env},
    metrics::{self, Metric},
};

/// The most that one transcript counts: 100 days of audio, and a million dollars. A wrong number can't turn the sum of a month around.
const MOST_SECONDS: f64 = 8_640_000.0;
const MOST_MICRO_USD: f64 = 1e12;

/// The price of transcribing audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Seconds of audio.
    pub seconds: u64,
    /// Millionths of a US dollar.
    pub micro_usd: u64,
}

impl Cost {
    /// The price of this many seconds at this price of a minute in US dollars, rounded up to whole seconds.
    pub fn of(seconds: f64, price_per_minute: f64) -> Self {
        let seconds = if seconds.is_nan() {
            0.0
        } else {
            seconds.clamp(0.0, MOST_SECONDS).ceil()
        };
        Self {
            seconds: seconds as u64,
            micro_usd: (seconds / 60.0 * price_per_minute.max(0.0) * 1e6)
                .min(MOST_MICRO_USD)
                .round() as u64,
        }
    }

    /// The price that was paid for a stored transcript.
    pub fn of_stored(transcript: &Transcript) -> Self {
        Self {
            seconds: transcript.billed_seconds.min(MOST_SECONDS as u64),
            micro_usd: (transcript.cost_usd * 1e6).clamp(0.0, MOST_MICRO_USD).round() as u64,
        }
    }

    /// The price in US dollars.
    pub fn usd(self) -> f64 {
        self.micro_usd as f64 / 1e6
    }
}

/// A reserved price. [`Usage::settle`] replaces it by the actual price. If it is dropped, the reserved price stays counted.
#[derive(Debug)]
pub struct Reservation {
    month: String,
    cost: Cost,
}

/// The result of [`Usage::reserve`].
#[derive(Debug)]
pub enum Reserved {
    /// The API may be called.
    Granted(Reservation),
    /// The price would exceed the budget.
    OverBudget,
}

/// The usage of one month.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MonthUsage {
    /// The UTC month, for example `2025-08`.
    pub month: String,
    /// Billed minutes of audio.
    pub minutes: f64,
    /// The price of the billed minutes in US dollars.
    pub cost_usd: f64,
    /// Calls of the transcription API that were paid for or are in progress.
    pub paid_calls: u64,
    /// Requests that were answered with a stored transcript.
    pub answered_from_store: u64,
    /// Minutes of audio that were not transcribed again because of that.
    pub minutes_avoided: f64,
    /// The price of those minutes in US dollars.
    pub cost_avoided_usd: f64,
    /// The monthly budget in US dollars; `null` if there is none.
    pub budget_usd: Option<f64>,
    /// The remaining budget in US dollars; `null` if there is no budget.
    pub budget_left_usd: Option<f64>,
}

/// The usage counters and the monthly budget.
pub struct Usage {
    client: Client,
    table: String,
    budget: Option<u64>,
}

impl Usage {
    /// Reads `TRANSCRIPTS_TABLE` and `MONTHLY_BUDGET_USD` (default: no budget).
    pub fn from_env(env: &Env, aws: &Aws) -> Result<Self, ConfigError> {
        let budget = match env.optional("MONTHLY_BUDGET_USD").map(str::parse::<f64>) {
            None => None,
            Some(Ok(usd)) if (0.0..=1e9).contains(&usd) => Some((usd * 1e6).round() as u64),
            Some(_) => {
                return Err(ConfigError::Invalid {
                    name: "MONTHLY_BUDGET_USD",
                    expected: "an amount of US dollars, such as 25 or 12.50, or empty",
                });
            }
        };
        Ok(Self {
            client: aws.dynamodb(),
            table: env.required("TRANSCRIPTS_TABLE")?.to_owned(),
            budget,
        })
    }

    /// Whether a monthly budget is configured.
    pub fn has_budget(&self) -> bool {
        self.budget.is_some()
    }

    /// Reserves the price of a call before it is made.
    ///
    /// If the response of the table is lost, the SDK retries and the price is counted twice. The sum is then too high, never too low.
    pub async fn reserve(&self, cost: Cost) -> Result<Reserved, TranscriptsError> {
        let month = current_month();
        let mut write = self.add(
            &month,
            [
                ("paid_seconds", cost.seconds as i64),
                ("paid_micro_usd", cost.micro_usd as i64),
                ("paid_calls", 1),
            ],
        );
        if let Some(budget) = self.budget {
            let Some(left) = budget.checked_sub(cost.micro_usd) else {
                return Ok(Reserved::OverBudget);
            };
            write = write
                .condition_expression("attribute_not_exists(paid_micro_usd) OR paid_micro_usd <= :left")
                .expression_attribute_values(":left", number(left as i64));
        }
        match write.return_values(ReturnValue::UpdatedNew).send().await {
            Ok(written) => {
                let paid = get_number(&written.attributes.unwrap_or_default(), "paid_micro_usd");
                self.note_used(paid.unwrap_or_default());
                Ok(Reserved::Granted(Reservation { month, cost }))
            }
            Err(error) => match condition_met(Err::<(), _>(error))? {
                true => Ok(Reserved::Granted(Reservation { month, cost })),
                false => Ok(Reserved::OverBudget),
            },
        }
    }

    /// Replaces a reserved price by the actual price, which is `None` if the call failed.
    pub async fn settle(&self, reservation: Reservation, paid: Option<Cost>) {
        let Reservation { month, cost } = reservation;
        let difference = |paid: u64, counted: u64| paid as i64 - counted as i64;
        let actual = paid.unwrap_or_default();
        if paid.is_some() {
            metrics::add(Metric::TranscribedSeconds, actual.seconds as f64);
            metrics::add(Metric::TranscriptionCost, actual.usd());
            tracing::info!(seconds = actual.seconds, usd = actual.usd(), "transcription paid");
        }
        let changes = [
            ("paid_seconds", difference(actual.seconds, cost.seconds)),
            ("paid_micro_usd", difference(actual.micro_usd, cost.micro_usd)),
            ("paid_calls", if paid.is_some() { 0 } else { -1 }),
        ];
        if changes.iter().all(|(_, change)| *change == 0) {
            return;
        }
        if let Err(error) = self.add(&month, changes).send().await {
            let error = TranscriptsError::from(error);
            tracing::warn!(%error, "the reserved price was not corrected; this month's usage is too high");
        }
    }

    /// Counts a request that was answered with a stored transcript.
    pub async fn count_avoided(&self, cost: Cost) {
        let changes = [
            ("avoided_seconds", cost.seconds as i64),
            ("avoided_micro_usd", cost.micro_usd as i64),
            ("answered_from_store", 1),
        ];
        if let Err(error) = self.add(&current_month(), changes).send().await {
            let error = TranscriptsError::from(error);
            tracing::warn!(%error, "the avoided cost was not counted");
        }
    }

    /// The usage of the current month.
    pub async fn current_month(&self) -> Result<MonthUsage, TranscriptsError> {
        let month = current_month();
        let query = self.client.get_item().table_name(&self.table).consistent_read(true);
        let item = query
            .key("id", text(&id(&month)))
            .send()
            .await?
            .item
            .unwrap_or_default();
        let count = |name| get_number(&item, name).unwrap_or_default();
        let usd = |micro: i64| micro as f64 / 1e6;
        // Two decimal places.
        let minutes = |seconds: i64| (seconds as f64 / 0.6).round() / 100.0;
        let paid = count("paid_micro_usd");
        self.note_used(paid);
        Ok(MonthUsage {
            month,
            minutes: minutes(count("paid_seconds")),
            cost_usd: usd(paid),
            paid_calls: count("paid_calls").max(0) as u64,
            answered_from_store: count("answered_from_store").max(0) as u64,
            minutes_avoided: minutes(count("avoided_seconds")),
            cost_avoided_usd: usd(count("avoided_micro_usd")),
            budget_usd: self.budget.map(|budget| usd(budget as i64)),
            budget_left_usd: self.budget.map(|budget| usd((budget as i64 - paid).max(0))),
        })
    }

    /// Notes how much of the budget is used.
    fn note_used(&self, paid_micro_usd: i64) {
        if let Some(budget) = self.budget {
            metrics::set(Metric::BudgetUsed, percent_used(paid_micro_usd, budget));
        }
    }

    fn add<const N: usize>(
        &self,
        month: &str,
        changes: [(&'static str, i64); N],
    ) -> aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder {
        let terms: Vec<String> = changes.iter().map(|(name, _)| format!("{name} :{name}")).collect();
        let values = changes.map(|(name, change)| (format!(":{name}"), AttributeValue::N(change.to_string())));
        self.client
            .update_item()
            .table_name(&self.table)
            .key("id", text(&id(month)))
            .update_expression(format!("ADD {}", terms.join(", ")))
            .set_expression_attribute_values(Some(values.into()))
    }
}

/// The used part of a budget in per cent. Nothing is left of a budget of 0.
fn percent_used(paid_micro_usd: i64, budget: u64) -> f64 {
    match budget {
        0 => 100.0,
        budget => 100.0 * paid_micro_usd.max(0) as f64 / budget as f64,
    }
}

fn current_month() -> String {
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    format!("{:04}-{:02}", today.year(), today.month())
}

fn id(month: &str) -> String {
    format!("usage#{month}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_of_zero_is_used_completely() {
        assert_eq!(percent_used(0, 0), 100.0);
        assert_eq!(percent_used(80, 100), 80.0);
        assert_eq!(percent_used(-1, 100), 0.0);
    }

    #[test]
    fn started_seconds_are_billed_and_no_number_turns_a_sum_around() {
        let cost = Cost::of(44.2, 0.006);
        assert_eq!((cost.seconds, cost.micro_usd, cost.usd()), (45, 4500, 0.0045));
        assert_eq!(Cost::of(60.0, 0.003).micro_usd, 3000);
        assert_eq!(Cost::of(60.0, 0.0).micro_usd, 0);
        for impossible in [-1.0, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(Cost::of(impossible, 0.006), Cost::default());
        }
        let most = Cost::of(1e300, 1e300);
        assert_eq!(
            (most.seconds, most.micro_usd),
            (MOST_SECONDS as u64, MOST_MICRO_USD as u64)
        );
    }
}
