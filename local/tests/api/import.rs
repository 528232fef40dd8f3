//! `cargo run -- import`: files of interactions as people have them.

use std::path::Path;

use local::demo;
use serde_json::{Value, json};

use crate::stack::TestStack;

const ID: &str = "dispatch_1754653479_15103455686";

/// Runs the command, and returns its output and whether it succeeded.
async fn import(stack: &TestStack, file: &Path, arguments: &[&str]) -> (String, String, bool) {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_local"))
        .args(["import", "--api", stack.stack.api_url.as_ref().unwrap()])
        .args(arguments)
        .arg(file)
        .env_remove("CALL_RECORDINGS_API_KEY")
        .output()
        .await
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.success())
}

async fn calls(stack: &TestStack) -> Vec<Value> {
    let answer = stack.get("/recordings?has_recording=false&limit=100").await;
    answer.body["recordings"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_file_of_interactions_is_imported_and_invalid_lines_are_named() {
    let stack = TestStack::empty().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("calls.csv");
    let text = format!("dispatch_id,customer_name,duration\n{ID},Louis Smith,180\nother,Ann,long\n");
    std::fs::write(&file, text).unwrap();
    let (text, _, succeeded) = import(&stack, &file, &["--api-key", demo::API_KEY]).await;
    assert!(text.starts_with("1 imported, 1 rejected\n  line 3: duration"), "{text}");
    assert!(!succeeded);
    let rows = calls(&stack).await;
    assert_eq!((rows.len(), &rows[0]["customer_name"]), (1, &json!("Louis Smith")));
}

#[tokio::test]
async fn a_spreadsheet_is_checked_then_imported_and_its_rejected_lines_can_be_corrected() {
    let stack = TestStack::empty().await;
    let dir = tempfile::tempdir().unwrap();
    let (file, rejects) = (dir.path().join("calls.csv"), dir.path().join("rejects.csv"));
    let text = format!(
        "\u{feff}Dispatch;Kunde;start_time;Notiz\r\n{ID};\"Smith; Louis\";08.08.2025 11:44;privat\r\nother;Ann;8. August;\r\n"
    );
    std::fs::write(&file, text).unwrap();
    let options = [
        "--map",
        "Dispatch=dispatch_id",
        "--map",
        "Kunde=customer_name",
        "--map",
        "Notiz=",
        "--date-format",
        "%d.%m.%Y %H:%M",
    ];
    let checked = [&options[..], &["--dry-run"]].concat();
    let (text, _, succeeded) = import(&stack, &file, &checked).await;
    assert!(
        text.starts_with("1 can be imported, 1 rejected\n  line 3: start_time"),
        "{text}"
    );
    assert!(!succeeded && calls(&stack).await.is_empty());

    let rejects_path = rejects.to_str().unwrap();
    let imported = [&options[..], &["--api-key", demo::API_KEY, "--rejects", rejects_path]].concat();
    let (text, _, _) = import(&stack, &file, &imported).await;
    assert!(text.starts_with("1 imported, 1 rejected"), "{text}");
    let rows = calls(&stack).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["customer_name"], "Smith; Louis");
    assert_eq!(rows[0]["start_time"], "2025-08-08T11:44:00.000Z");

    let text = std::fs::read_to_string(&rejects).unwrap();
    assert_eq!(text, "Dispatch;Kunde;start_time;Notiz\nother;Ann;8. August;\n");
    std::fs::write(&file, text.replace("8. August", "08.08.2025 12:00")).unwrap();
    // A file that exists is not overwritten.
    let (_, error, succeeded) = import(&stack, &file, &imported).await;
    assert!(!succeeded && error.contains("can't be created"), "{error}");
    let (text, error, succeeded) = import(&stack, &file, &[&options[..], &["--api-key", demo::API_KEY]].concat()).await;
    assert!(succeeded, "{text}{error}");
    assert_eq!(calls(&stack).await.len(), 2);
}

#[tokio::test]
async fn an_unknown_column_refuses_the_file_once_and_sends_nothing() {
    let stack = TestStack::empty().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("calls.csv");
    std::fs::write(&file, format!("dispatch_id,Agent\n{ID},Bob\n{ID},Bob\n")).unwrap();
    let (text, error, succeeded) = import(&stack, &file, &["--api-key", demo::API_KEY]).await;
    assert!(!succeeded && text.is_empty());
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains("the column \"Agent\" is not a field"), "{error}");
    assert!(calls(&stack).await.is_empty());
}
