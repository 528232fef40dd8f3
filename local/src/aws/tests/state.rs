//! Persistence, isolation of instances, and simulated outages.

use super::*;

#[tokio::test]
async fn tables_objects_secrets_and_queues_survive_a_restart_without_a_final_save() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), DatabaseKind::File).await;
    let db = running.dynamodb().await;
    create_calls(&db).await;
    db.put_item()
        .table_name("calls")
        .item("id", text("kept"))
        .send()
        .await
        .unwrap();
    put(&running.s3().await).await;
    running
        .secrets()
        .await
        .create_secret()
        .name("keys")
        .secret_string("one")
        .send()
        .await
        .unwrap();
    running
        .secrets()
        .await
        .put_secret_value()
        .secret_id("keys")
        .secret_string("two")
        .send()
        .await
        .unwrap();
    running
        .sqs()
        .await
        .create_queue()
        .queue_name("work")
        .send()
        .await
        .unwrap();
    running.stop().await;

    let running = Running::start(dir.path(), DatabaseKind::File).await;
    let get = running
        .dynamodb()
        .await
        .get_item()
        .table_name("calls")
        .key("id", text("kept"))
        .send()
        .await
        .unwrap();
    assert!(get.item().is_some());
    let head = running
        .s3()
        .await
        .head_object()
        .bucket(BUCKET)
        .key(KEY)
        .send()
        .await
        .unwrap();
    assert_eq!(head.content_type(), Some("video/mp4"));
    let secret = running
        .secrets()
        .await
        .get_secret_value()
        .secret_id("keys")
        .send()
        .await
        .unwrap();
    assert_eq!(secret.secret_string(), Some("two"));
    running
        .sqs()
        .await
        .get_queue_url()
        .queue_name("work")
        .send()
        .await
        .unwrap();
}

#[tokio::test]
async fn instances_are_isolated() {
    let ((_a, one), (_b, other)) = tokio::join!(Running::temporary(), Running::temporary());
    one.secrets()
        .await
        .create_secret()
        .name("keys")
        .secret_string("one")
        .send()
        .await
        .unwrap();
    put(&one.s3().await).await;
    assert!(
        other
            .secrets()
            .await
            .get_secret_value()
            .secret_id("keys")
            .send()
            .await
            .is_err()
    );
    assert!(
        other
            .s3()
            .await
            .head_object()
            .bucket(BUCKET)
            .key(KEY)
            .send()
            .await
            .is_err()
    );
    assert_eq!((one.aws.calls(Service::S3), other.aws.calls(Service::S3)), (2, 1));
}

#[tokio::test]
async fn a_fault_lasts_until_it_is_cleared_and_calls_are_counted_through_it() {
    let (_dir, running) = Running::temporary().await;
    let (s3, secrets) = (running.s3().await, running.secrets().await);
    put(&s3).await;
    secrets
        .create_secret()
        .name("keys")
        .secret_string("one")
        .send()
        .await
        .unwrap();

    running
        .aws
        .faults()
        .set(Service::S3, Some(StatusCode::SERVICE_UNAVAILABLE));
    running
        .aws
        .faults()
        .set(Service::SecretsManager, Some(StatusCode::INTERNAL_SERVER_ERROR));
    let down = s3.get_object().bucket(BUCKET).key(KEY).send().await.unwrap_err();
    assert_eq!(
        (down.raw_response().unwrap().status().as_u16(), down.code()),
        (503, Some("ServiceUnavailable"))
    );
    let down = secrets.get_secret_value().secret_id("keys").send().await.unwrap_err();
    assert_eq!(down.raw_response().unwrap().status().as_u16(), 500);
    for service in [Service::S3, Service::SecretsManager] {
        running.aws.faults().set(service, None);
    }
    s3.get_object().bucket(BUCKET).key(KEY).send().await.unwrap();
    secrets.get_secret_value().secret_id("keys").send().await.unwrap();

    assert_eq!(running.aws.calls_of(Service::S3, "GetObject"), 2);
    assert_eq!(running.aws.calls_of(Service::SecretsManager, "GetSecretValue"), 2);
    assert_eq!(running.aws.calls(Service::SecretsManager), 3);
    assert_eq!(running.aws.calls(Service::DynamoDb), 0);
}
