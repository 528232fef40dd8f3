//! Schemas of the fields of a report, which may be numbers in place of text.

use utoipa::openapi::{KnownFormat, Object, ObjectBuilder, SchemaFormat, Type, schema::SchemaType};

fn text_or(number: Type) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, number, Type::Null]))
        .minimum(Some(0))
}

pub(crate) fn id() -> Object {
    text_or(Type::Integer)
        .max_length(Some(256))
        .pattern(Some("^[^#]*$"))
        .description(Some(
            "Your id for the call, as text or a whole number. This or `dispatch_id` is required.",
        ))
        .build()
}

pub(crate) fn dispatch_id() -> Object {
    text_or(Type::Integer)
        .pattern(Some("^[A-Za-z0-9_-]{0,128}$"))
        .description(Some(
            "The LiveKit dispatch. Without it the call is matched by number and time.",
        ))
        .build()
}

pub(crate) fn text() -> Object {
    text_or(Type::Integer).max_length(Some(1000)).build()
}

pub(crate) fn phone() -> Object {
    text_or(Type::Integer)
        .max_length(Some(1000))
        .description(Some("With its country code, as text or a whole number."))
        .examples(["+14155550123"])
        .build()
}

pub(crate) fn time() -> Object {
    described_time("A date-time, or the seconds or milliseconds since 1970.")
}

pub(crate) fn updated_at() -> Object {
    described_time(
        "The time of the report, at most a day ahead: a date-time, or the seconds or milliseconds since 1970. Default: now.",
    )
}

fn described_time(description: &str) -> Object {
    text_or(Type::Number)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .minimum(Some(100_000_000))
        .maximum(Some(253_370_764_800_000_u64))
        .description(Some(description))
        .build()
}
