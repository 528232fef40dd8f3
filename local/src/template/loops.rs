//! Which functions send messages to a queue that they receive from. Lambda ends such a chain after 16 invocations, unless the function says
//! `RecursiveLoop: Allow`.

use saphyr::{SafelyIndex, Yaml};

use super::{
    events::arn_of,
    function::functions,
    yaml::{items, load, resources, text},
};

const TEMPLATE: &str = include_str!("../../../template.yaml");

/// One name or a list of names.
fn names<'a>(value: Option<&'a Yaml<'a>>) -> impl Iterator<Item = &'a str> {
    text(value)
        .into_iter()
        .chain(items(value).filter_map(|name| text(Some(name))))
}

/// Whether a statement of the function's policies allows it to send messages to one of these queues.
fn may_send_to(queues: &[&str], properties: &Yaml<'_>) -> bool {
    let policies = items(properties.get("Policies"));
    let mut statements = policies.flat_map(|policy| items(policy.get("Statement")));
    statements.any(|statement| {
        let queue = arn_of(statement.get("Resource"));
        names(statement.get("Action")).any(|action| action == "sqs:SendMessage")
            && queue.is_some_and(|queue| queues.contains(&queue))
    })
}

#[test]
fn exactly_the_functions_that_send_to_their_own_queue_allow_recursive_loops() {
    let template = load(TEMPLATE).unwrap();
    let mut with_loops = Vec::new();
    for function in functions(template.first()).unwrap() {
        let (_, properties) = resources(template.first(), "AWS::Serverless::Function")
            .find(|(name, _)| *name == function.name)
            .unwrap();
        let properties = properties.unwrap();
        let own: Vec<&str> = function
            .events_of_type("SQS")
            .filter_map(|(_, event)| arn_of(event.get("Properties")?.get("Queue")))
            .collect();
        let has_loop = may_send_to(&own, properties);
        let is_allowed = text(properties.get("RecursiveLoop")) == Some("Allow");
        assert_eq!(is_allowed, has_loop, "{}", function.name);
        with_loops.extend(has_loop.then_some(function.name));
    }
    assert_eq!(with_loops, ["TranscriptionWorkerFunction"]);
}
