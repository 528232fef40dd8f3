//! Media files.

use serde_json::json;

use super::*;
use crate::standins::{
    audio,
    tones::{Script, Wav},
};

#[tokio::test]
async fn media_is_available_only_for_completed_recordings_stored_at_twilio() {
    let clip = || Media::mp3(CLIPS[4].mp3);
    let date = "2024-01-15T10:30:00Z";
    let external = Recording {
        external_media_url: Some("https://b.s3.amazonaws.com/x".into()),
        ..recording("REe", date, clip())
    };
    let gone = recording("REg", date, Media::Status(410));
    let unfinished = ["in-progress", "paused", "stopped", "processing", "absent", "deleted"].map(|status| Recording {
        status: status.into(),
        ..recording(&format!("RE-{status}"), date, clip())
    });
    let (twilio, base) = start([recording("REm", date, clip()), external, gone]).await;
    assert_eq!(get(&url(&base, "Recordings/REe.mp3")).await.status(), 404);
    assert_eq!(get(&url(&base, "Recordings/REg.mp3")).await.status(), 410);
    for recording in unfinished {
        let path = format!("Recordings/{}.mp3", recording.sid);
        twilio.add(recording);
        let (status, body) = get_json(&url(&base, &path)).await;
        assert_eq!((status, &body["code"]), (404, &json!(20404)));
    }
    let mp3 = get(&url(&base, "Recordings/REm.mp3")).await;
    assert_eq!(mp3.headers()["content-type"], "audio/mpeg");
    assert_eq!(mp3.bytes().await.unwrap(), CLIPS[4].mp3);
    for name in ["REm.wav", "REm"] {
        let wav = get(&url(&base, &format!("Recordings/{name}"))).await;
        assert_eq!(wav.headers()["content-type"], "audio/x-wav");
        let wav = wav.bytes().await.unwrap();
        let decoded = audio::decode(std::io::Cursor::new(wav), |_, _, _| {}).unwrap();
        assert_eq!((decoded.format, decoded.rate, decoded.channels), ("wave", 8000, 1));
        assert!((decoded.seconds() - f64::from(CLIPS[4].mp3_seconds)).abs() < 0.5);
    }
}

#[tokio::test]
async fn channels_can_be_requested_if_there_are_two() {
    let date = "2024-01-15T10:30:00Z";
    let dual = CLIPS[2].dual_mp3.unwrap();
    let two = Media::Mp3 {
        mono: CLIPS[2].mp3.into(),
        dual: Some(dual.into()),
    };
    let (_, base) = start([
        recording("RE1", date, Media::mp3(CLIPS[0].mp3)),
        recording("RE2", date, two),
    ])
    .await;
    let media = async |path: &str| get(&url(&base, path)).await;
    assert_eq!(media("Recordings/RE1.mp3?RequestedChannels=2").await.status(), 400);
    assert_eq!(media("Recordings/RE1.mp3?RequestedChannels=3").await.status(), 400);
    assert_eq!(media("Recordings/RE1.mp3?RequestedChannels=1").await.status(), 200);
    assert_eq!(media("Recordings/RE2.mp3").await.bytes().await.unwrap(), dual);
    assert_eq!(
        media("Recordings/RE2.mp3?RequestedChannels=2")
            .await
            .bytes()
            .await
            .unwrap(),
        dual
    );
    assert_eq!(
        media("Recordings/RE2.mp3?RequestedChannels=1")
            .await
            .bytes()
            .await
            .unwrap(),
        CLIPS[2].mp3
    );
}

#[tokio::test]
async fn media_supports_head_and_ranges() {
    let (_, base) = start([recording("RE1", "2024-01-15T10:30:00Z", Media::mp3(CLIPS[0].mp3))]).await;
    let url = url(&base, "Recordings/RE1.mp3");
    let length = CLIPS[0].mp3.len();
    let head = client()
        .head(&url)
        .basic_auth(ACCOUNT, Some("token"))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (head.status().as_u16(), &head.headers()["content-length"]),
        (200, &length.to_string().parse().unwrap())
    );
    for (range, status, expected) in [
        ("bytes=0-99", 206, &CLIPS[0].mp3[..100]),
        ("bytes=100-", 206, &CLIPS[0].mp3[100..]),
        ("bytes=-10", 206, &CLIPS[0].mp3[length - 10..]),
        ("bytes=99999999-", 416, &[]),
    ] {
        let request = client()
            .get(&url)
            .basic_auth(ACCOUNT, Some("token"))
            .header("range", range);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status, "{range}");
        assert!(response.headers().contains_key("content-range"));
        assert_eq!(response.bytes().await.unwrap(), expected, "{range}");
    }
}

#[tokio::test]
async fn generated_media_is_valid_silence_of_the_requested_size() {
    let (_, base) = start([recording(
        "RE1",
        "2024-01-15T10:30:00Z",
        Media::Generated { bytes: 400_000 },
    )])
    .await;
    let mp3 = get(&url(&base, "Recordings/RE1.mp3")).await;
    assert_eq!(mp3.content_length(), Some(400_000));
    let mp3 = mp3.bytes().await.unwrap();
    let wav = get(&url(&base, "Recordings/RE1.wav")).await.bytes().await.unwrap();
    for (bytes, format, seconds) in [(mp3, "mp3", 100.0), (wav, "wave", 25.0)] {
        assert_eq!(bytes.len(), 400_000);
        let mut loudest = 0.0_f32;
        let sink = |_, _, samples: &[f32]| loudest = samples.iter().copied().fold(loudest, f32::max);
        let decoded = audio::decode(std::io::Cursor::new(bytes), sink).unwrap();
        assert_eq!((decoded.format, loudest), (format, 0.0));
        assert!((decoded.seconds() - seconds).abs() < 0.2, "{}", decoded.seconds());
    }
    let part = client()
        .get(url(&base, "Recordings/RE1.mp3"))
        .basic_auth(ACCOUNT, Some("token"));
    let part = part.header("range", "bytes=288288-288290").send().await.unwrap();
    assert_eq!(&part.bytes().await.unwrap()[..], [0xff, 0xe3, 0x48]);
}

#[tokio::test]
async fn tones_have_as_many_channels_as_scripts() {
    let date = "2024-01-15T10:30:00Z";
    let [one, other] = Script::dialogue(30.0, 8);
    let mono = Wav::new(8000, [one.clone()]);
    let dual = Wav::new(8000, [one, other]);
    let day = Wav::new(8000, [Script::new(86_400.0, [(86_000.0, "river")])]);
    let (_, base) = start([
        recording("RE1", date, Media::Tones(mono.clone())),
        recording("RE2", date, Media::Tones(dual.clone())),
        recording("RE3", date, Media::Tones(day.clone())),
    ])
    .await;
    let media = async |path: &str| get(&url(&base, path)).await;
    assert_eq!(media("Recordings/RE1.mp3?RequestedChannels=2").await.status(), 400);
    for (path, wav) in [
        ("RE1.mp3", &mono),
        ("RE1.wav?RequestedChannels=1", &mono),
        ("RE2.mp3", &dual),
        ("RE2.mp3?RequestedChannels=2", &dual),
        ("RE2?RequestedChannels=1", &dual.mixed()),
    ] {
        let answer = media(&format!("Recordings/{path}")).await;
        assert_eq!(answer.headers()["content-type"], "audio/x-wav", "{path}");
        assert_eq!(answer.content_length(), Some(wav.length()), "{path}");
        assert!(answer.bytes().await.unwrap() == wav.bytes(), "{path}");
    }
    let late = client()
        .get(url(&base, "Recordings/RE3.mp3"))
        .basic_auth(ACCOUNT, Some("token"));
    let late = late
        .header("range", "bytes=1376000000-1376003999")
        .send()
        .await
        .unwrap();
    assert_eq!(late.status(), 206);
    assert!(late.bytes().await.unwrap() == day.chunk(1_376_000_000)[..4000]);
}
