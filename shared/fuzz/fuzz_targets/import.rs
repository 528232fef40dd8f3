//! Files that are imported: CSV and JSON Lines. The first line of an input is a format of dates.

#![no_main]
#![allow(dead_code)]

// The reader is private to `local`.
#[path = "../../../local/src/cli/import/line_numbers.rs"]
mod line_numbers;
#[path = "../../../local/src/cli/import/lines.rs"]
mod lines;

use std::io::Cursor;

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use lines::{Columns, Line, Lines, csv_lines, json_lines};
use serde_json::{Map, Value};
use shared::calls::Interaction;

fuzz_target!(|data: &[u8]| {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (format, file) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    let format = std::str::from_utf8(format).ok().filter(|format| !format.is_empty());
    for format in [None, format] {
        csv(file, format);
        json(file, format);
    }
});

fn columns(date_format: Option<&str>) -> Columns {
    Columns {
        map: Vec::new(),
        date_format: date_format.map(str::to_owned),
    }
}

/// The lines of a file of rejects, which are imported again when they are mended, say the same, and so does a plain reading of the file.
fn csv(file: &[u8], date_format: Option<&str>) {
    let Ok(Lines { header, lines }) = csv_lines(Cursor::new(file.to_vec()), columns(date_format)) else {
        return;
    };
    let lines: Vec<Line> = lines.collect();
    increasing(&lines);
    let text = String::from_utf8_lossy(file).replace("\r\n", "\n").replace('\r', "\n");
    let text: Vec<&str> = text.split('\n').collect();
    for line in &lines {
        assert!(
            !text[line.number as usize - 1].is_empty(),
            "line {} is empty",
            line.number
        );
    }
    let read: Vec<&Line> = lines.iter().filter(|line| line.object.is_ok()).collect();
    let rejects: String = read.iter().map(|line| line.text.as_str()).collect();
    let again = csv_lines(
        Cursor::new(format!("{header}{rejects}").into_bytes()),
        columns(date_format),
    );
    let again: Vec<Line> = again.map(|lines| lines.lines.collect()).unwrap_or_default();
    assert_eq!(again.len(), read.len(), "{header:?} {rejects:?}");
    for (again, line) in again.iter().zip(&read) {
        assert_eq!(again.object, line.object, "{header:?} {:?}", line.text);
    }
    read.iter().for_each(|line| sendable(line));
}

fn json(file: &[u8], date_format: Option<&str>) {
    let Ok(Lines { lines, .. }) = json_lines(Cursor::new(file.to_vec()), columns(date_format)) else {
        return;
    };
    let lines: Vec<Line> = lines.collect();
    increasing(&lines);
    for line in lines.iter().filter(|line| line.object.is_ok()) {
        if date_format.is_none() {
            assert_eq!(
                serde_json::from_str::<Map<String, Value>>(&line.text).ok().as_ref(),
                line.object.as_ref().ok()
            );
        }
        sendable(line);
    }
}

fn increasing(lines: &[Line]) {
    for pair in lines.windows(2) {
        assert!(pair[0].number < pair[1].number, "{} {}", pair[0].number, pair[1].number);
    }
}

fn sendable(line: &Line) {
    if let Ok(object) = &line.object {
        let _ = Interaction::from_json(object, Timestamp::UNIX_EPOCH);
    }
}
