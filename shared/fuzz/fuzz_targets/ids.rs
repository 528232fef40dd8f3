//! Ids, SIDs, tokens and dates: any text is parsed or refused, and what was parsed is written as it was received.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::{
    clients::twilio::{AccountSid, RecordingSid, is_call_sid},
    ids::DispatchId,
    shares::{OpeningToken, ShareId, ShareToken},
    time::{DateInput, to_millis},
};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    dispatch_id(text);
    sids(text);
    tokens(text);
    date(text);
});

fn dispatch_id(text: &str) {
    let id = DispatchId::parse(text);
    assert_eq!(serde_json::from_value::<DispatchId>(text.into()).ok(), id);
    let Some(id) = id else { return };
    assert_eq!((id.as_str(), id.to_string().as_str()), (text, text));
    // An id is a part of paths, of keys of the tables and of names, none of which it can leave.
    assert!(
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    );
    if let Some(pattern) = id.pattern() {
        let same = DispatchId::parse(&format!("dispatch_{}_{}", pattern.unix, pattern.phone));
        assert_eq!(same.and_then(|id| id.pattern()), Some(pattern));
    }
}

fn sids(text: &str) {
    let sid = RecordingSid::parse(text);
    assert_eq!(serde_json::from_value::<RecordingSid>(text.into()).ok(), sid);
    let parsed = [
        sid.map(|sid| sid.to_string()),
        AccountSid::parse(text).map(|sid| sid.to_string()),
        is_call_sid(text).then(|| text.to_owned()),
    ];
    let found: Vec<String> = parsed.into_iter().flatten().collect();
    assert!(found.len() <= 1, "a SID names one kind of thing");
    for sid in found {
        assert_eq!(sid, text);
        assert!(DispatchId::parse(text).is_some(), "a SID is a valid id of a recording");
    }
}

fn tokens(text: &str) {
    if let Some(token) = ShareToken::parse(text) {
        assert_eq!(token.as_str(), text);
        assert_eq!(ShareId::parse(token.id().as_str()), Some(token.id()));
        assert_ne!(token.id().as_str(), text);
    }
    assert_eq!(ShareId::parse(text).is_some(), ShareToken::parse(text).is_some());
    if let Some(opening) = OpeningToken::parse(text) {
        assert_eq!(opening.as_str(), text);
    }
}

fn date(text: &str) {
    let Some(date) = DateInput::parse(text) else { return };
    assert!(date.start() <= date.end());
    match date {
        DateInput::Day(day) => assert_eq!(DateInput::parse(&day.to_string()), Some(date)),
        DateInput::Moment(moment) => {
            assert_eq!(DateInput::parse(&moment.to_string()), Some(date));
            let printed = to_millis(moment);
            let again = DateInput::parse(&printed).map(|date| to_millis(date.start()));
            assert_eq!(again, Some(printed));
        }
    }
}
