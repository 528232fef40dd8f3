//! The function of each request.

use super::*;

#[test]
fn every_function_has_its_documented_route_and_one_for_the_trailing_slash() {
    let gateway = gateway();
    let mut routes: Vec<_> = gateway
        .routes
        .iter()
        .filter(|route| route.method != "HEAD")
        .map(|route| (route.function.as_str(), route.key()))
        .collect();
    routes.sort();
    // The greedy routes of list-twilio-recordings, get-recording and get-completeness also match `/api/twilio/usage/`,
    // `/recordings/{dispatch_id}/transcript/` and `/reports/daily/`; these functions call the handlers.
    let expected = [
        ("console", "DELETE /console/session"),
        ("console", "GET /"),
        ("console", "GET /console"),
        ("console", "GET /console/assets/{version}/{file}"),
        ("console", "GET /console/session"),
        ("console", "POST /console/session"),
        ("draw-waveform", "POST /recordings/{dispatch_id}/waveform"),
        ("get-audit", "GET /audit"),
        ("get-completeness", "GET /reports/completeness"),
        ("get-completeness", "GET /reports/{proxy+}"),
        ("get-daily-report", "GET /reports/daily"),
        ("get-docs", "GET /docs"),
        ("get-docs", "GET /docs/{file}"),
        ("get-docs", "GET /openapi.json"),
        ("get-egress-transcript", "GET /recordings/{dispatch_id}/transcript"),
        ("get-queues", "GET /reports/queues"),
        ("get-recording", "GET /recordings/{dispatch_id}"),
        ("get-recording", "GET /recordings/{dispatch_id}/audio"),
        ("get-recording", "GET /recordings/{proxy+}"),
        ("get-transcript", "GET /api/twilio/transcript/{proxy+}"),
        ("get-transcript", "GET /api/twilio/transcript/{recording_sid}"),
        ("get-usage", "GET /api/twilio/usage"),
        ("hold-recording", "PATCH /recordings/{dispatch_id}"),
        ("list-recordings", "GET /recordings"),
        ("list-recordings", "GET /{proxy+}"),
        ("list-twilio-recordings", "GET /api/twilio/recordings"),
        ("list-twilio-recordings", "GET /api/twilio/{proxy+}"),
        ("livekit-webhook", "POST /webhooks/livekit"),
        ("livekit-webhook", "POST /webhooks/{proxy+}"),
        ("open-share", "GET /s/{proxy+}"),
        ("open-share", "GET /s/{token}"),
        ("open-share", "GET /s/{token}/audio"),
        ("open-share", "POST /s/{proxy+}"),
        ("open-share", "POST /s/{token}"),
        ("record-interaction", "POST /interactions"),
        ("request-archive", "POST /recordings/{dispatch_id}/archive"),
        ("request-erasure", "DELETE /recordings/{dispatch_id}"),
        ("request-erasure", "GET /erasures/{erasure_id}"),
        ("request-erasure", "POST /erasures"),
        ("share-recording", "DELETE /recordings/{dispatch_id}/shares/{share_id}"),
        ("share-recording", "GET /recordings/{dispatch_id}/shares"),
        ("share-recording", "GET /recordings/{dispatch_id}/shares/{share_id}"),
        ("share-recording", "POST /recordings/{dispatch_id}/shares"),
        ("transcribe-egress", "POST /recordings/{dispatch_id}/transcript"),
        ("transcribe-egress", "POST /recordings/{proxy+}"),
        ("transcribe-recording", "POST /api/twilio/transcript"),
        ("transcribe-recording", "POST /api/twilio/{proxy+}"),
        ("twilio-callback", "GET /webhooks/twilio/recording"),
        ("twilio-callback", "GET /webhooks/twilio/{proxy+}"),
        ("twilio-callback", "POST /webhooks/twilio/recording"),
        ("twilio-callback", "POST /webhooks/twilio/{proxy+}"),
    ];
    assert_eq!(routes, expected.map(|(function, key)| (function, key.to_owned())));
    assert!(
        gateway
            .routes
            .iter()
            .all(|route| route.timeout == Duration::from_secs(28))
    );
}

#[test]
fn head_goes_wherever_get_goes() {
    let gateway = gateway();
    let of = |method: &str| -> Vec<_> {
        let routes = gateway.routes.iter().filter(|route| route.method == method);
        let mut routes: Vec<_> = routes.map(|route| (&route.path, &route.function)).collect();
        routes.sort();
        routes
    };
    assert!(!of("GET").is_empty());
    assert_eq!(of("HEAD"), of("GET"));
}

#[test]
fn both_forms_of_every_documented_path_reach_their_function() {
    let gateway = gateway();
    for (method, path, function) in [
        ("GET", "/recordings", "list-recordings"),
        ("GET", "/recordings/dispatch_1754653479_15103455686", "get-recording"),
        ("GET", "/api/twilio/recordings", "list-twilio-recordings"),
        ("GET", "/api/twilio/transcript/RE1234567890abcdef", "get-transcript"),
        ("POST", "/api/twilio/transcript", "transcribe-recording"),
        (
            "POST",
            "/recordings/dispatch_1754653479_15103455686/transcript",
            "transcribe-egress",
        ),
        ("GET", "/reports/completeness", "get-completeness"),
        ("POST", "/webhooks/livekit", "livekit-webhook"),
        ("POST", "/webhooks/twilio/recording", "twilio-callback"),
    ] {
        for path in [path.to_owned(), format!("{path}/")] {
            assert_eq!(
                chosen(&gateway, method, &path).map(|(function, _)| function),
                Some(function),
                "{method} {path}"
            );
        }
    }
}

#[test]
fn a_trailing_slash_is_another_path_and_no_variable_is_empty() {
    let gateway = gateway();
    let key = |path| chosen(&gateway, "GET", path).map(|(_, key)| key);
    assert_eq!(key("/recordings/").as_deref(), Some("GET /{proxy+}"));
    assert_eq!(key("/recordings/a/").as_deref(), Some("GET /recordings/{proxy+}"));
    assert_eq!(
        key("/api/twilio/recordings/").as_deref(),
        Some("GET /api/twilio/{proxy+}")
    );
    assert_eq!(key("/api/twilio/").as_deref(), Some("GET /{proxy+}"));
    assert_eq!(key("/").as_deref(), Some("GET /"));
    assert_eq!(key(""), None);
    assert_eq!(key("*"), None);
}

#[test]
fn a_path_with_a_route_for_another_method_does_not_match() {
    let gateway = gateway();
    for (method, path) in [
        ("POST", "/recordings"),
        ("POST", "/"),
        ("DELETE", "/recordings/x/transcript"),
        ("PUT", "/api/twilio/transcript/"),
    ] {
        assert_eq!(chosen(&gateway, method, path), None, "{method} {path}");
    }
}

#[test]
fn the_most_specific_route_is_used_in_any_order_of_the_template() {
    let route = |method: &str, path: &str| Route {
        method: method.to_owned(),
        path: path.to_owned(),
        function: "f".to_owned(),
        timeout: Duration::from_secs(1),
    };
    let mut routes = vec![
        route("ANY", "/{proxy+}"),
        route("GET", "/pets/{proxy+}"),
        route("GET", "/pets/dog/{id}"),
        route("ANY", "/pets/dog/1"),
        route("GET", "/pets/dog/1"),
    ];
    for _ in 0..routes.len() {
        let key = |method, path| route::find(&routes, method, path).map(|target| target.route.key());
        assert_eq!(key("GET", "/pets/dog/1").as_deref(), Some("GET /pets/dog/1"));
        assert_eq!(key("PUT", "/pets/dog/1").as_deref(), Some("ANY /pets/dog/1"));
        assert_eq!(key("GET", "/pets/dog/2").as_deref(), Some("GET /pets/dog/{id}"));
        assert_eq!(key("GET", "/pets/cat/1").as_deref(), Some("GET /pets/{proxy+}"));
        assert_eq!(key("POST", "/test/5").as_deref(), Some("ANY /{proxy+}"));
        routes.rotate_left(1);
    }
}

#[test]
fn an_invalid_template_is_rejected_with_the_place_and_the_reason() {
    let template =
        |function: &str| format!("Resources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties:\n{function}");
    let event = |path: &str| {
        template(&format!(
            "      CodeUri: f/\n      Events:\n        E:\n          Type: HttpApi\n          Properties: {{Method: GET, Path: '{path}'}}\n"
        ))
    };
    for (yaml, reason) in [
        ("a: [".to_owned(), "not valid YAML"),
        (String::new(), "empty"),
        ("Resources: {}".to_owned(), "no function has an HttpApi event"),
        (event("/x/"), "F.Events.E: the path `/x/` ends in a slash"),
        (event("x"), "must start with a slash"),
        (event("/{a+}/x"), "must come last"),
        (
            template("      CodeUri: f\n      Timeout: !Ref T\n"),
            "F: Timeout must be a number of seconds",
        ),
        (template("      Events: {E: {Type: HttpApi}}\n"), "F needs a CodeUri"),
        (
            template("      CodeUri: f\n      Events: {E: {Type: HttpApi}}\n"),
            "F.Events.E needs a Method",
        ),
    ] {
        let error = Gateway::from_template(&yaml).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn a_function_without_a_timeout_uses_the_global_one_or_lambdas_default_of_three_seconds() {
    let function = "Resources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties: {CodeUri: functions/f/, Events: {E: {Type: HttpApi, Properties: {Method: get, Path: /x}}}}\n";
    let timeout = |yaml: &str| Gateway::from_template(yaml).unwrap().routes[0].timeout;
    assert_eq!(timeout(function), Duration::from_secs(3));
    assert_eq!(
        timeout(&format!("Globals: {{Function: {{Timeout: 9}}}}\n{function}")),
        Duration::from_secs(9)
    );
}
