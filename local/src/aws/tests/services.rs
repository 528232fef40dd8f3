//! Errors of all services, and queues.

use super::*;

#[tokio::test]
async fn an_unknown_table_secret_queue_or_service_has_the_same_error_as_in_aws() {
    let (_dir, running) = Running::temporary().await;

    let missing = running
        .dynamodb()
        .await
        .get_item()
        .table_name("nothing")
        .key("id", text("a"))
        .send()
        .await;
    assert!(
        missing
            .unwrap_err()
            .into_service_error()
            .is_resource_not_found_exception()
    );
    let missing = running
        .secrets()
        .await
        .get_secret_value()
        .secret_id("nothing")
        .send()
        .await;
    assert!(
        missing
            .unwrap_err()
            .into_service_error()
            .is_resource_not_found_exception()
    );
    let url = format!("{}/{ACCOUNT_ID}/nothing", running.url);
    let missing = running
        .sqs()
        .await
        .receive_message()
        .queue_url(url)
        .send()
        .await
        .unwrap_err();
    assert_eq!(missing.code(), Some("AWS.SimpleQueueService.NonExistentQueue"));

    let other = reqwest::Client::new()
        .post(&running.url)
        .header("x-amz-target", "AWSLambda.Invoke")
        .send()
        .await;
    let other = other.unwrap();
    assert_eq!(other.status(), 400);
    assert!(other.text().await.unwrap().contains("UnknownOperationException"));
}

#[tokio::test]
async fn a_message_is_received_until_it_is_deleted() {
    let (_dir, running) = Running::temporary().await;
    let sqs = running.sqs().await;
    let url = sqs
        .create_queue()
        .queue_name("work")
        .send()
        .await
        .unwrap()
        .queue_url
        .unwrap();
    assert!(url.starts_with(&running.url), "{url}");

    sqs.send_message()
        .queue_url(&url)
        .message_body("{\"recording\":1}")
        .send()
        .await
        .unwrap();
    let received = sqs.receive_message().queue_url(&url).send().await.unwrap();
    let [message] = received.messages() else {
        panic!("{received:?}")
    };
    assert_eq!(message.body(), Some("{\"recording\":1}"));
    let receipt = message.receipt_handle().unwrap();
    sqs.change_message_visibility()
        .queue_url(&url)
        .receipt_handle(receipt)
        .visibility_timeout(0)
        .send()
        .await
        .unwrap();
    let received = sqs.receive_message().queue_url(&url).send().await.unwrap();
    let receipt = received.messages()[0].receipt_handle().unwrap();
    sqs.delete_message()
        .queue_url(&url)
        .receipt_handle(receipt)
        .send()
        .await
        .unwrap();
    let left = sqs.get_queue_attributes().queue_url(&url);
    let left = left
        .attribute_names(aws_sdk_sqs::types::QueueAttributeName::All)
        .send()
        .await
        .unwrap();
    let count = aws_sdk_sqs::types::QueueAttributeName::ApproximateNumberOfMessagesNotVisible;
    assert_eq!(left.attributes().unwrap()[&count], "0");
}

#[tokio::test]
async fn a_label_of_a_secret_moves_only_from_the_version_that_has_it() {
    let (_dir, running) = Running::temporary().await;
    let secrets = running.secrets().await;
    let created = secrets.create_secret().name("keys").secret_string("1").send().await;
    let first = created.unwrap().version_id.unwrap();
    let put = async |text: &str, label: &str| {
        let put = secrets.put_secret_value().secret_id("keys").secret_string(text);
        put.version_stages(label).send().await.unwrap().version_id.unwrap()
    };
    let (second, third) = (put("2", "A").await, put("3", "B").await);
    let make_current = |new: &str, old: &str| {
        let update = secrets.update_secret_version_stage().secret_id("keys");
        let update = update.version_stage("AWSCURRENT").move_to_version_id(new);
        update.remove_from_version_id(old).send()
    };
    make_current(&second, &first).await.unwrap();
    let late = make_current(&third, &first).await.unwrap_err();
    assert!(late.into_service_error().is_invalid_parameter_exception());
    let current = secrets.get_secret_value().secret_id("keys").send().await.unwrap();
    assert_eq!(current.secret_string.as_deref(), Some("2"));
}
