//! The table of the audit and its log line.

use std::collections::BTreeSet;

use jiff::Timestamp;
use local::template::TEMPLATE;
use reqwest::Method;
use shared::audit::{Action, Actor, AuditError, AuditLog, Event, Origin};

use super::{CALL, Item, NUMBER, done, items, send};
use crate::{
    logs::{invoked, log_of_this_thread},
    stack::TestStack,
};

#[tokio::test]
async fn without_days_nothing_is_stored_and_a_log_line_says_it_without_a_number() {
    let log = log_of_this_thread();
    let stack = TestStack::with(|settings| {
        settings.empty = false;
        settings.environment.push(("RECORDINGS_AUTH".into(), "required".into()));
        settings.environment.push(("AUDIT_DAYS".into(), "0".into()));
    })
    .await;
    assert_eq!(stack.get(&format!("/recordings/{CALL}")).await.status, 200);
    let refused = stack.get("/audit").await;
    assert!(refused.recordings_error(404, "audit_off").contains("AuditDays"));
    let requested = send(&stack, Method::DELETE, &format!("/recordings/{CALL}"))
        .send()
        .await
        .unwrap();
    assert_eq!(requested.status(), 202);
    let listed = stack.get("/recordings?limit=3&order=asc").await;
    assert_eq!(listed.status, 200);
    assert_eq!(items(&stack).await, Vec::<Item>::new());
    let text = log.text();
    let line = |action: &str| {
        let word = format!("action=\"{action}\"");
        text.lines().find(|line| line.contains(&word)).unwrap_or_default()
    };
    assert!(line("erase").contains("erasure_id="), "{text}");
    assert!(line("list").contains("parameters=\"limit,order\""), "{text}");
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("get_urls")).collect();
    assert_eq!(lines.len(), 1, "{text}");
    assert!(
        lines[0].contains("audit") && lines[0].contains("key_id=\"demo\""),
        "{}",
        lines[0]
    );
    assert!(!lines[0].contains(NUMBER), "{}", lines[0]);
}

#[tokio::test]
async fn an_item_is_added_once_and_never_overwritten() {
    let stack = TestStack::empty().await;
    let log = AuditLog::from_env(&stack.stack.environment, &stack.aws()).unwrap();
    let origin = Origin {
        actor: Actor::Key("ops".into()),
        request_id: "r-1".into(),
        address: None,
    };
    let at = Timestamp::now();
    let play = Event::new(Action::Play).about(CALL);
    // The SDK repeats a request whose response was lost.
    for _ in 0..2 {
        invoked(log.write_at(&play, &origin, at)).await.unwrap();
    }
    let other = invoked(log.write_at(&Event::new(Action::List), &origin, at)).await;
    assert!(matches!(other, Err(AuditError::Duplicate)), "{other:?}");
    let items = items(&stack).await;
    assert_eq!(
        items.iter().map(done).collect::<Vec<_>>(),
        [("play", Some("ops"), Some(CALL))]
    );
}

#[test]
fn no_role_deletes_items_and_each_reaches_only_its_own_kind() {
    let mut statements = BTreeSet::new();
    for statement in TEMPLATE.split("              - Sid: ").skip(1) {
        // Up to the next statement, or the end of the role.
        let lines: Vec<&str> = statement
            .lines()
            .skip(1)
            .take_while(|line| line.is_empty() || line.starts_with("                "))
            .map(str::trim)
            .collect();
        let text = lines.join("\n");
        if text.contains("AuditTable") {
            let sid = statement.lines().next().unwrap().trim();
            let value = |name: &str| {
                lines
                    .iter()
                    .find_map(|line| line.strip_prefix(name))
                    .unwrap_or_default()
            };
            statements.insert((sid, value("Action: "), value("ForAllValues:StringLike: ")));
        }
    }
    // Items of a day are the audit's. Those of `key#…` say when a key was last used.
    let (of_days, of_keys) = (
        "{'dynamodb:LeadingKeys': '????-??-??'}",
        "{'dynamodb:LeadingKeys': 'key#*'}",
    );
    let allowed = [
        ("EraseFromAudit", "dynamodb:UpdateItem", of_days),
        ("FindAudited", "dynamodb:Query", ""),
        ("ReadAudit", "dynamodb:Query", ""),
        ("StoreUseOfKeys", "dynamodb:UpdateItem", of_keys),
        ("WriteAudit", "dynamodb:PutItem", of_days),
    ];
    assert_eq!(statements, BTreeSet::from(allowed));
}
