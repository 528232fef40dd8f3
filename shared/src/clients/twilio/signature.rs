//! Verification of `X-Twilio-Signature`: <https://www.twilio.com/docs/usage/security>

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Whether Twilio signed a request to `url` (as configured at Twilio, including the query string) with these form parameters.
///
/// Twilio signs some URLs with and some without the port, so both are checked.
pub fn is_signed(signature: &str, token: &str, url: &str, parameters: &[(String, String)]) -> bool {
    let Ok(signature) = STANDARD.decode(signature) else {
        return false;
    };
    let mut sorted = parameters.to_vec();
    // Twilio includes each distinct value of a repeated parameter once.
    sorted.sort();
    sorted.dedup();
    let mut form = String::new();
    for (name, value) in &sorted {
        form.push_str(name);
        form.push_str(value);
    }
    let signed = |url: &str| {
        let mut mac = Hmac::<Sha1>::new_from_slice(token.as_bytes()).expect("HMAC takes keys of any length");
        mac.update(url.as_bytes());
        mac.update(form.as_bytes());
        mac.verify_slice(&signature).is_ok()
    };
    let [one, other] = with_and_without_port(url);
    signed(&one) | signed(&other)
}

/// Whether Twilio signed a request whose body is not a form: the URL then contains the body's hash.
pub fn is_signed_body(signature: &str, token: &str, url: &str, body: &[u8]) -> bool {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let mut hashes = query.split('&').filter_map(|pair| pair.strip_prefix("bodySHA256="));
    let hash = hex::encode(Sha256::digest(body));
    hashes.any(|claimed| claimed.eq_ignore_ascii_case(&hash)) && is_signed(signature, token, url, &[])
}

/// The URLs that Twilio may have signed for a request that arrived with this URL. Twilio signs the URL as it was configured, but may escape
/// characters of the query when it sends the request: `@` and `:` (twilio-node pull request 621) and `'` (twilio-node issue 1059).
pub fn signed_forms(url: &str) -> Vec<String> {
    let Some((path, query)) = url.split_once('?') else {
        return vec![url.to_owned()];
    };
    let with_raw = |escapes: &[(&str, &str)]| {
        let raw = escapes.iter().fold(query.to_owned(), |query, (escape, character)| {
            query
                .replace(escape, character)
                .replace(&escape.to_ascii_lowercase(), character)
        });
        format!("{path}?{raw}")
    };
    let mut forms = vec![
        url.to_owned(),
        with_raw(&[("%40", "@"), ("%3A", ":")]),
        with_raw(&[("%27", "'")]),
        with_raw(&[("%40", "@"), ("%3A", ":"), ("%27", "'")]),
    ];
    forms.sort();
    forms.dedup();
    forms
}

/// Whether a parameter may have been cut out of another one. Twilio's signature covers names and values without delimiters, so that a signed
/// `CallSid=CA1` has the signature of `CallSi=dCA1`. Twilio's own names are words in camel case.
pub fn shifts_boundary(name: &str, value: &str, used: &[&str]) -> bool {
    let is_name = name.starts_with(|first: char| first.is_ascii_uppercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    // A new parameter may be called `CallSidReason`; `CallSidCA1` is not a name.
    let is_longer_name = |used: &str| {
        let mut rest = name.strip_prefix(used).unwrap_or_default().chars();
        rest.next().is_some_and(|first| first.is_ascii_uppercase())
            && rest.next().is_some_and(|second| second.is_ascii_lowercase())
    };
    let signed = format!("{name}{value}");
    let is_cut = |used: &&str| signed.starts_with(*used) && name != *used && !is_longer_name(used);
    !is_name || used.iter().any(is_cut)
}

fn with_and_without_port(url: &str) -> [String; 2] {
    let Some((scheme, rest)) = url.split_once("://") else {
        return [url.to_owned(), url.to_owned()];
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    // Twilio removes user name and password before signing.
    let authority = authority.rsplit('@').next().unwrap_or(authority);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
        _ => (authority, if scheme == "https" { "443" } else { "80" }),
    };
    [
        format!("{scheme}://{host}{path}"),
        format!("{scheme}://{host}:{port}{path}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://mycompany.com/myapp.php?foo=1&bar=2";
    const TOKEN: &str = "12345";
    const CALL: [(&str, &str); 5] = [
        ("CallSid", "CA1234567890ABCDE"),
        ("Digits", "1234"),
        ("From", "+14158675309"),
        ("To", "+18005551212"),
        ("Caller", "+14158675309"),
    ];

    fn is_signed(signature: &str, url: &str, parameters: &[(&str, &str)]) -> bool {
        let owned: Vec<(String, String)> = parameters
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        super::is_signed(signature, TOKEN, url, &owned)
    }

    /// Examples from the tests of twilio-python and twilio-go and from Twilio's security documentation.
    #[test]
    fn the_published_signatures_are_accepted() {
        let http = URL.replace("https", "http");
        let at = |url: &str, port: &str| url.replace(".com", &format!(".com:{port}"));
        let ended = [
            CALL.to_vec(),
            vec![("ReasonConferenceEnded", "test"), ("Reason", "Participant")],
        ]
        .concat();
        let repeated = [
            ("Sid", "CA123"),
            ("SidAccount", "AC123"),
            ("Digits", "5678"),
            ("Digits", "1234"),
            ("Digits", "1234"),
        ];
        let mut documented = CALL;
        for (name, value) in &mut documented {
            if ["From", "Caller"].contains(name) {
                *value = "+14158675310";
            }
        }
        for (signature, url, parameters) in [
            ("RSOYDt4T1cUTdK1PDd93/VVr8B8=", URL.to_owned(), &CALL[..]),
            ("kvajT1Ptam85bY51eRf/AJRuM3w=", at(URL, "443"), &CALL),
            ("kvajT1Ptam85bY51eRf/AJRuM3w=", URL.to_owned(), &CALL),
            ("RSOYDt4T1cUTdK1PDd93/VVr8B8=", at(URL, "1234"), &CALL),
            ("0ZXoZLH/DfblKGATFgpif+LLRf4=", at(&http, "80"), &CALL),
            ("0ZXoZLH/DfblKGATFgpif+LLRf4=", http.clone(), &CALL),
            ("Zmvh+3yNM1Phv2jhDCwEM3q5ebU=", at(&http, "1234"), &CALL),
            ("IK+Dwps556ElfBT0I3Rgjkr1wJU=", URL.to_owned(), &repeated),
            ("vOEb5UThFn24KEfnOFLQY2AE5FY=", URL.to_owned(), &ended),
            ("n2xBNyzSW7rfYStDtOFiFMv7qNo=", http, &ended),
            (
                "NBdBDr/T/lgjI+tlgpXjKZQZs/k=",
                URL.to_owned(),
                &[("property", "value"), ("boolean", "true")],
            ),
            (
                "L/OH5YylLD5NRKLltdqwSvS0BnU=",
                "https://example.com/myapp.php?foo=1&bar=2".to_owned(),
                &documented,
            ),
        ] {
            assert!(is_signed(signature, &url, parameters), "{url} {signature}");
            assert!(!is_signed(signature, &format!("{url}x"), parameters), "another URL");
            assert!(!is_signed(signature, &url, &parameters[1..]), "a parameter less");
        }
        assert!(
            !is_signed("95+Bu0JVPi0r/SsESZCVf0dWAjw=", URL, &ended),
            "sorted by name and value as one text"
        );
        assert!(!is_signed("not base64", URL, &CALL));
        assert!(!is_signed("", URL, &CALL));
    }

    #[test]
    fn a_body_that_is_not_a_form_is_verified_by_its_hash() {
        let body = br#"{"property": "value", "boolean": true}"#;
        let hash = "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620";
        for (signature, url) in [
            ("a9nBmqA0ju/hNViExpshrM61xv4=", format!("{URL}&bodySHA256={hash}")),
            (
                "y77kIzt2vzLz71DgmJGsen2scGs=",
                format!("https://mycompany.com/myapp.php?bodySHA256={hash}"),
            ),
        ] {
            assert!(is_signed_body(signature, TOKEN, &url, body));
            assert!(!is_signed_body(signature, TOKEN, &url, b"{}"));
        }
        assert!(
            !is_signed_body("RSOYDt4T1cUTdK1PDd93/VVr8B8=", TOKEN, URL, body),
            "no hash"
        );
    }

    #[test]
    fn the_query_may_have_been_signed_with_characters_that_are_escaped_in_the_request() {
        let sent = "https://example.com/x?caller=sip%3A1%40192.0.2.1&city=Forli%27&other=%2B1";
        let forms = signed_forms(sent);
        for signed in [
            sent,
            "https://example.com/x?caller=sip:1@192.0.2.1&city=Forli%27&other=%2B1",
            "https://example.com/x?caller=sip%3A1%40192.0.2.1&city=Forli'&other=%2B1",
            "https://example.com/x?caller=sip:1@192.0.2.1&city=Forli'&other=%2B1",
        ] {
            assert!(forms.iter().any(|form| form == signed), "{signed}");
        }
        assert_eq!(forms.len(), 4);
        assert_eq!(signed_forms("https://example.com/x%40y"), ["https://example.com/x%40y"]);
        assert_eq!(
            signed_forms("https://example.com/x?a=%3a")[1],
            "https://example.com/x?a=:"
        );
    }

    #[test]
    fn a_parameter_that_was_cut_out_of_another_one_is_recognized() {
        let used = ["CallSid", "RecordingStatus", "ErrorCode"];
        for (name, value) in [
            ("CallSi", "dCA1"),
            ("CallSidCA1", ""),
            ("CallSidC", "A1"),
            ("RecordingStatuscomp", "leted"),
            ("Recording", "Statuscompleted"),
            ("ErrorCode1610", "2"),
            ("", "CallSidCA1"),
            ("37RecordingStart", "Time"),
            ("leted", ""),
            ("Call Sid", "CA1"),
        ] {
            assert!(shifts_boundary(name, value, &used), "{name}={value}");
        }
        for (name, value) in [
            ("CallSid", "CA1"),
            ("RecordingStatus", "completed"),
            ("RecordingStatusReason", "x"),
            ("RecordingSid", "RE1"),
            ("SipHeader_X-Caller", "x"),
            ("RecordingTrack", "both"),
        ] {
            assert!(!shifts_boundary(name, value, &used), "{name}={value}");
        }
    }
}
