//! The log: its format, which lines are written, and what a line never contains.
//!
//! A line never contains a body, a key, a URL, a phone number or a word of a customer, at no level. Libraries log such things at their lower
//! levels, and their messages quote what they could not parse, so their lines are not written whatever the level is.

use std::{env, panic};

use lambda_http::tracing::subscriber::{
    Layer,
    filter::filter_fn,
    fmt::{
        self,
        format::{Format, Json, JsonFields},
    },
    layer::SubscriberExt,
    registry,
    registry::LookupSpan,
    util::SubscriberInitExt,
};
use tracing::{Level, Metadata, Subscriber, level_filters::LevelFilter};

/// The crates of the functions and their common ones. Only their lines are written.
const OWN_CRATES: [&str; 32] = [
    "archive_recording",
    "console",
    "draw_waveform",
    "erase_recording",
    "get_audit",
    "get_completeness",
    "get_daily_report",
    "get_docs",
    "get_egress_transcript",
    "get_queues",
    "get_recording",
    "get_transcript",
    "get_usage",
    "hold_recording",
    "index_interaction",
    "index_recording",
    "list_recordings",
    "list_twilio_recordings",
    "livekit_webhook",
    "open_share",
    "reconcile_recordings",
    "record_interaction",
    "request_archive",
    "request_erasure",
    "share_recording",
    "shared",
    "split",
    "transcribe_egress",
    "transcribe_recording",
    "transcription_worker",
    "twilio_callback",
    "local",
];

/// Starts the log of a function: one JSON object per line on stdout if Lambda asks for JSON, and text otherwise. Reads `AWS_LAMBDA_LOG_FORMAT`
/// and `AWS_LAMBDA_LOG_LEVEL`, which Lambda sets, or `RUST_LOG`, a level. A panic is logged with its place and without its message, which can
/// quote values.
pub fn start() {
    let level = env::var("AWS_LAMBDA_LOG_LEVEL").or_else(|_| env::var("RUST_LOG"));
    let level = level.ok().and_then(|level| level.parse().ok());
    let level = level.unwrap_or(LevelFilter::INFO);
    let filter = filter_fn(move |metadata| is_written(metadata, level));
    let is_json = env::var("AWS_LAMBDA_LOG_FORMAT").is_ok_and(|format| format.eq_ignore_ascii_case("json"));
    match is_json {
        true => registry().with(json_layer().with_filter(filter)).init(),
        false => {
            let layer = fmt::layer().with_target(false).without_time();
            registry().with(layer.with_filter(filter)).init();
        }
    }
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "the function panicked");
    }));
}

/// The format of the lines of a deployed function: JSON objects with `level`, the fields of the line in `fields`, and those of the request in `span`.
pub fn json_layer<S: Subscriber + for<'a> LookupSpan<'a>>() -> fmt::Layer<S, JsonFields, Format<Json, ()>> {
    let layer = fmt::layer().with_target(false).without_time();
    layer.json().with_span_list(false)
}

/// Whether a line or a span is written at this level.
pub fn is_written(metadata: &Metadata<'_>, level: LevelFilter) -> bool {
    let target = metadata.target();
    match is_own(target) {
        true => *metadata.level() <= level,
        // The runtime reports that it can't reach Lambda, and its span has the invocation's id.
        false => target.starts_with("lambda_runtime") && (metadata.is_span() || *metadata.level() == Level::ERROR),
    }
}

/// Whether a line with this target is one of this project.
pub fn is_own(target: &str) -> bool {
    OWN_CRATES.contains(&target.split("::").next().unwrap_or_default())
}

/// What is wrong with a JSON text, without the parser's message: that one quotes values.
pub fn json_error(error: &serde_json::Error) -> String {
    use serde_json::error::Category;
    let what = match error.classify() {
        Category::Io => "it could not be read",
        Category::Syntax => "it is no JSON",
        Category::Eof => "the JSON is cut off",
        Category::Data => "the JSON does not have the documented form",
    };
    match error.line() {
        0 => what.to_owned(),
        line => format!("{what} (line {line}, column {})", error.column()),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn the_lines_of_every_function_and_of_no_library_are_written() {
        let functions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../functions");
        let names = fs::read_dir(functions).unwrap().map(|entry| entry.unwrap().file_name());
        let mut crates: Vec<String> = names.map(|name| name.to_str().unwrap().replace('-', "_")).collect();
        crates.extend(["shared", "split", "local"].map(str::to_owned));
        crates.sort_unstable();
        let mut own = OWN_CRATES.to_vec();
        own.sort_unstable();
        assert_eq!(own, crates);
        assert!(is_own("shared::clients::secrets") && is_own("console"));
        for library in [
            "hyper_util::client",
            "aws_smithy_runtime",
            "reqwest::connect",
            "sharedx",
            "",
        ] {
            assert!(!is_own(library), "{library}");
        }
    }

    #[test]
    fn an_error_of_the_json_parser_does_not_quote_the_text() {
        for text in [
            r#"{"number": "secret"}"#,
            r#"{"number": secret}"#,
            r#"{"secret": 1"#,
            "secret",
        ] {
            let error = serde_json::from_str::<std::collections::HashMap<String, u32>>(text).unwrap_err();
            let shown = json_error(&error);
            assert!(shown.contains("JSON") && shown.contains("line 1"), "{shown}");
            assert!(!shown.contains("secret"), "{shown}");
        }
        let error = serde_json::from_value::<u32>("secret".into()).unwrap_err();
        assert_eq!(json_error(&error), "the JSON does not have the documented form");
    }
}
