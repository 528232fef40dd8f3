//! The files of the console, which are part of the function.

use std::{
    io::{self, Write},
    sync::LazyLock,
};

use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};

/// A file of the console.
pub(crate) struct Asset {
    pub(crate) name: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) text: &'static str,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! script {
    ($name:literal) => {
        Asset {
            name: $name,
            content_type: SCRIPT,
            text: include_str!(concat!("../assets/", $name)),
        }
    };
}

const PAGE: &str = include_str!("../assets/index.html");

/// The files that the page loads.
pub(crate) static ASSETS: [Asset; 13] = [
    script!("api.js"),
    script!("app.js"),
    script!("call.js"),
    script!("dialogs.js"),
    script!("format.js"),
    script!("list.js"),
    script!("operation.js"),
    script!("parts.js"),
    script!("player.js"),
    Asset {
        name: "preact.js",
        content_type: SCRIPT,
        text: include_str!("../preact/standalone.module.js"),
    },
    script!("transcript.js"),
    script!("waveform.js"),
    Asset {
        name: "console.css",
        content_type: "text/css; charset=utf-8",
        text: include_str!("../assets/console.css"),
    },
];

/// The folder in the files' URLs: a hash of all of them, so that browsers can keep them for ever.
pub(crate) static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for asset in &ASSETS {
        hash.update(asset.name);
        hash.update([0]);
        hash.update(asset.text);
        hash.update([0]);
    }
    hex::encode(&hash.finalize()[..8])
});

/// The page, which names its files with their version. It loads the scripts that `app.js` imports without waiting for `app.js`.
pub(crate) fn page() -> String {
    let folder = format!("console/assets/{}", *VERSION);
    let scripts = ASSETS.iter().filter(|asset| asset.content_type == SCRIPT);
    let preloads: String = scripts
        .map(|script| format!("<link rel=\"modulepreload\" href=\"{folder}/{}\">\n", script.name))
        .collect();
    PAGE.replace("<!-- scripts -->\n", &preloads)
        .replace("{assets}", &folder)
}

/// The text, compressed with gzip.
pub(crate) fn compressed(text: &str) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes())?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_every_file_once_and_the_first_view_is_small() {
        let page = page();
        let mut size = page.len();
        for asset in &ASSETS {
            let url = format!("console/assets/{}/{}\"", *VERSION, asset.name);
            assert!(page.contains(&url), "{}", asset.name);
            size += compressed(asset.text).unwrap().len();
        }
        assert!(!page.contains('{') && !page.contains("<!--"), "{page}");
        assert!(size < 60_000, "{size} bytes for the first view");
    }

    #[test]
    fn no_file_names_another_host() {
        for asset in &ASSETS {
            for (at, _) in asset.text.match_indices("://") {
                let around = &asset.text[at.saturating_sub(40)..asset.text.len().min(at + 40)];
                // Namespaces of SVG and MathML are names and not requested.
                assert!(around.contains("www.w3.org"), "{}: {around}", asset.name);
            }
        }
    }
}
