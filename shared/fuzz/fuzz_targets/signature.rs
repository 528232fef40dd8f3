//! Twilio's signatures: those that Twilio makes are accepted, any other one is refused. And URLs of media: none leads to another host. The first line of
//! an input is a signature, the second one a URL, and the rest is a form.

#![no_main]

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use libfuzzer_sys::fuzz_target;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use shared::{
    clients::{
        aws::Aws,
        twilio::{
            AccountSid, MediaPlace, Recording, Twilio,
            signature::{is_signed, is_signed_body, shifts_boundary, signed_forms},
        },
    },
    config::Env,
};

/// Not that of the published examples, which are seeds.
const TOKEN: &str = "a-token-of-the-fuzzer";
/// Parameters that twilio-callback reads.
const USED: [&str; 3] = ["CallSid", "RecordingSid", "RecordingStatus"];

/// A deployment with one host of external storage.
static TWILIO: LazyLock<Twilio> = LazyLock::new(|| {
    let env = Env::from_iter([
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("TWILIO_SECRET", "twilio"),
        ("EXTERNAL_MEDIA_HOSTS", "media.example.com"),
    ]);
    let aws = Aws::from_env(&env).expect("the clients of AWS");
    Twilio::from_env(&env, &aws).expect("the client of Twilio")
});

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.splitn(3, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (received, url, body) = (line(), line(), line());
    let form: Vec<(String, String)> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    media(url);
    assert!(!is_signed(received, TOKEN, url, &form), "a forged signature");
    assert!(
        !is_signed_body(received, TOKEN, url, body.as_bytes()),
        "a forged signature"
    );

    let forms = signed_forms(url);
    assert!(forms.len() <= 4 && forms.iter().any(|form| form == url));
    // Twilio signs without the user, and `is_signed` then expects none.
    let authority = url
        .split_once("://")
        .map_or("", |(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
    if authority.contains('@') {
        return;
    }
    let signature = signed(url, &form);
    assert!(is_signed(&signature, TOKEN, url, &form));
    assert!(!is_signed(&signature, "54321", url, &form), "another account's");
    let mut repeated = form.clone();
    repeated.extend(form.iter().cloned().rev());
    assert!(
        is_signed(&signature, TOKEN, url, &repeated),
        "order and repetition do not matter"
    );
    changed(&signature, received, |other| !is_signed(other, TOKEN, url, &form));
    let mut more = form.clone();
    more.push(("Added".to_owned(), received.to_owned()));
    assert!(form.iter().any(|known| *known == more[form.len()]) || !is_signed(&signature, TOKEN, url, &more));
    boundaries(received);

    let hash = hex::encode(Sha256::digest(body));
    let with_hash = format!("{url}{}bodySHA256={hash}", if url.contains('?') { "&" } else { "?" });
    let signature = signed(&with_hash, &[]);
    assert!(is_signed_body(&signature, TOKEN, &with_hash, body.as_bytes()));
    assert!(!is_signed_body(
        &signature,
        TOKEN,
        &with_hash,
        format!("{body} ").as_bytes()
    ));
});

/// The host that is asked is Twilio's or that of the deployment's list.
fn media(url: &str) {
    let account = AccountSid::parse("AC1234567890abcdef").expect("a SID");
    if let Ok(sid) = TWILIO.recording_at(url, &account) {
        let asked = TWILIO.media_url(&account, sid.as_str());
        assert!(asked.starts_with("https://api.twilio.com/2010-04-01/Accounts/AC1234567890abcdef/Recordings/RE"));
        assert_eq!(TWILIO.recording_at(&asked, &account).as_ref(), Ok(&sid));
        assert!(
            url.starts_with("https://api.twilio.com") || url.to_ascii_lowercase().starts_with("https:"),
            "{url}"
        );
        assert!(url.contains(sid.as_str()), "{url}");
    }
    let recording: Recording =
        serde_json::from_value(serde_json::json!({"sid": "RE1", "media_url": url})).expect("a recording");
    if let MediaPlace::External(place) = TWILIO.media_place(&recording) {
        assert_eq!(
            place.origin().ascii_serialization(),
            "https://media.example.com",
            "{url}"
        );
        assert!(place.username().is_empty() && place.password().is_none());
    }
}

/// Twilio's signature, after its documentation.
fn signed(url: &str, form: &[(String, String)]) -> String {
    let distinct: std::collections::BTreeSet<&(String, String)> = form.iter().collect();
    let mut mac = Hmac::<Sha1>::new_from_slice(TOKEN.as_bytes()).expect("a key");
    mac.update(url.as_bytes());
    for (name, value) in distinct {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
    }
    STANDARD.encode(mac.finalize().into_bytes())
}

/// Replaces one byte of the signature by one of the input.
fn changed(signature: &str, input: &str, is_refused: impl Fn(&str) -> bool) {
    let Some(byte) = input.bytes().last() else { return };
    let mut other = signature.as_bytes().to_vec();
    let at = input.len() % other.len();
    if other[at] != byte {
        other[at] = byte;
        let other = String::from_utf8_lossy(&other).into_owned();
        assert!(is_refused(&other), "{other}");
    }
}

/// A name that ends elsewhere has the same signature, and is noticed.
fn boundaries(value: &str) {
    for used in USED {
        assert!(!shifts_boundary(used, value, &USED));
        for end in 1..used.len() {
            assert!(shifts_boundary(
                &used[..end],
                &format!("{}{value}", &used[end..]),
                &USED
            ));
        }
        // `CallSidReason` may be a name of Twilio's; a value that reads like one is none of `CallSid`.
        let is_word = value.bytes().next().is_some_and(|first| first.is_ascii_uppercase());
        for (end, _) in value.char_indices().skip(1).filter(|_| !is_word) {
            assert!(shifts_boundary(
                &format!("{used}{}", &value[..end]),
                &value[end..],
                &USED
            ));
        }
    }
}
