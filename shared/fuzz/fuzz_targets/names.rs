//! Names of recordings and phone numbers. The first line of an input is `RECORDING_NAME_PATTERNS`, the rest is the key of an object.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use shared::{
    config::Env,
    ids::{digits, media_type},
    names::{DEFAULT_PATTERNS, Ignored, RecordingName, RecordingNames, number_of_room},
    phones::Phones,
};

static NAMES: LazyLock<RecordingNames> =
    LazyLock::new(|| RecordingNames::new(DEFAULT_PATTERNS, false).expect("the default patterns"));
static PHONES: LazyLock<[Phones; 3]> = LazyLock::new(|| {
    ["US", "DE", ""]
        .map(|country| Phones::from_env(&Env::from_iter([("DEFAULT_COUNTRY", country)])).expect("a country"))
});

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (patterns, key) = text.split_once('\n').unwrap_or(("", text));
    let own = RecordingNames::new(patterns, true);
    for names in own.iter().chain([&*NAMES]) {
        match names.read(key) {
            Ok(name) => possible(&name),
            Err(ignored) => assert_eq!(ignored == Ignored::NotAudio, media_type(key).is_none()),
        }
    }
    if let Some(name) = RecordingName::documented(key) {
        possible(&name);
        assert_eq!(NAMES.read(key), Ok(name));
    }
    number(key);
});

fn possible(name: &RecordingName) {
    if let Some(phone) = &name.phone {
        assert!((1..=20).contains(&phone.len()) && phone.bytes().all(|byte| byte.is_ascii_digit()));
    }
    if let Some((phone, unix)) = name.place() {
        assert!(unix >= 0);
        let key = format!("2025/08/08/outbound-{phone}_{unix}.mp4");
        assert_eq!(
            RecordingName::documented(&key).and_then(|name| name.place()),
            Some((phone, unix))
        );
    }
}

fn number(text: &str) {
    if let Some(number) = number_of_room(text) {
        assert!((5..=20).contains(&number.len()) && text.contains(&number));
    }
    let plain = digits(text);
    assert!(plain.bytes().all(|byte| byte.is_ascii_digit()));
    assert_eq!(digits(&plain), plain, "a stored number is compared with itself");
    for phones in &*PHONES {
        let written = phones.e164(text);
        assert_eq!(phones.e164(&written), written);
        assert!(written == text || written.starts_with('+'), "{written}");
    }
}
