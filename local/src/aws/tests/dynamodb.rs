//! Tables.

use aws_sdk_dynamodb::types::{Put, TransactWriteItem};

use super::*;

#[tokio::test]
async fn conditional_writes_and_queries_of_a_sparse_index_work() {
    let (_dir, running) = Running::temporary().await;
    let db = running.dynamodb().await;
    create_calls(&db).await;

    for (id, started) in [("a", "10:00"), ("b", "11:00")] {
        let put = db
            .put_item()
            .table_name("calls")
            .item("id", text(id))
            .item("day", text("2025-08-08"));
        put.item("started", text(started))
            .condition_expression("attribute_not_exists(id)")
            .send()
            .await
            .unwrap();
    }
    db.put_item()
        .table_name("calls")
        .item("id", text("unindexed"))
        .send()
        .await
        .unwrap();

    let again = db.put_item().table_name("calls").item("id", text("a"));
    let refused = again
        .condition_expression("attribute_not_exists(id)")
        .send()
        .await
        .unwrap_err();
    assert!(refused.into_service_error().is_conditional_check_failed_exception());

    let write = |id: &str, condition: &str| {
        let put = Put::builder()
            .table_name("calls")
            .item("id", text(id))
            .condition_expression(condition);
        TransactWriteItem::builder().put(put.build().unwrap()).build()
    };
    let both = db
        .transact_write_items()
        .transact_items(write("c", "attribute_not_exists(id)"));
    let cancelled = both
        .transact_items(write("b", "attribute_not_exists(id)"))
        .send()
        .await
        .unwrap_err();
    let cancelled = cancelled.into_service_error();
    let aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError::TransactionCanceledException(
        reasons,
    ) = cancelled
    else {
        panic!("{cancelled:?}")
    };
    let codes: Vec<_> = reasons
        .cancellation_reasons()
        .iter()
        .filter_map(|reason| reason.code())
        .collect();
    assert_eq!(codes, ["None", "ConditionalCheckFailed"]);
    let get = db
        .get_item()
        .table_name("calls")
        .key("id", text("c"))
        .send()
        .await
        .unwrap();
    assert!(get.item().is_none(), "half a transaction was written");
    db.transact_write_items()
        .transact_items(write("c", "attribute_not_exists(id)"))
        .send()
        .await
        .unwrap();

    let day = db
        .query()
        .table_name("calls")
        .index_name("by-day")
        .scan_index_forward(false);
    let day = day
        .key_condition_expression("#d = :d")
        .expression_attribute_names("#d", "day");
    let found = day
        .expression_attribute_values(":d", text("2025-08-08"))
        .send()
        .await
        .unwrap();
    let ids: Vec<_> = found
        .items()
        .iter()
        .map(|item| item["id"].as_s().unwrap().as_str())
        .collect();
    assert_eq!(ids, ["b", "a"]);
}
