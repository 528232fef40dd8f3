//! Reads the lines of an import file, as spreadsheets and other programs write them.

use std::{
    error::Error,
    io::{self, BufRead, BufReader, Read},
};

use csv::StringRecord;
use jiff::{Timestamp, fmt::strtime, tz::TimeZone};
use serde_json::{Map, Value};
use shared::{calls::Interaction, time::to_millis};

use super::line_numbers::Numbered;

/// The fields that are dates.
const DATES: [&str; 3] = ["start_time", "end_time", "updated_at"];

type Fault = Box<dyn Error + Send + Sync>;

/// How columns become fields.
pub(super) struct Columns {
    /// Columns with other names than their fields. An empty field means that the column is ignored.
    pub(super) map: Vec<(String, String)>,
    /// The format of the dates, if it is not ISO 8601.
    pub(super) date_format: Option<String>,
}

/// One line of the file.
pub(super) struct Line {
    /// Its number in the file, from 1.
    pub(super) number: u64,
    /// Its text, with the end of the line.
    pub(super) text: String,
    /// Its fields, or the reason why it has none.
    pub(super) object: Result<Map<String, Value>, String>,
}

/// The lines of a file.
pub(super) struct Lines {
    /// The header line, with the end of the line; empty for JSON Lines.
    pub(super) header: String,
    pub(super) lines: Box<dyn Iterator<Item = Line> + Send>,
}

/// A column of a CSV file.
enum Column {
    Field(String),
    Ignored,
    Unnamed,
}

impl Columns {
    /// The columns of a header line.
    fn of(&self, header: &StringRecord) -> Result<Vec<Column>, Fault> {
        if let Some((missing, _)) = self
            .map
            .iter()
            .find(|(name, _)| !header.iter().any(|known| known == name))
        {
            return Err(format!("--map names the column {missing:?}, which the file does not have").into());
        }
        let mut fields: Vec<&str> = Vec::new();
        let column = |name| {
            let field = self.field(name);
            if name.is_empty() {
                return Ok(Column::Unnamed);
            }
            if field.is_empty() {
                return Ok(Column::Ignored);
            }
            let object = Map::from_iter([(field.to_owned(), Value::Null)]);
            if Interaction::unknown(&object).is_some() {
                return Err(format!(
                    "the column {name:?} is not a field of an interaction; give its field with --map \"{name}=FIELD\", or ignore the column with \
                     --map \"{name}=\""
                ));
            }
            if fields.contains(&field) {
                return Err(format!("two columns of the file are {field:?}"));
            }
            fields.push(field);
            Ok(Column::Field(field.to_owned()))
        };
        Ok(header.iter().map(column).collect::<Result<_, _>>()?)
    }

    fn field<'a>(&'a self, name: &'a str) -> &'a str {
        let mapped = self.map.iter().find(|(column, _)| column == name);
        mapped.map_or(name, |(_, field)| field)
    }

    /// The cells of a line as fields. An empty cell means that the field is not reported.
    fn object(&self, columns: &[Column], record: &StringRecord) -> Result<Map<String, Value>, String> {
        if record.len() != columns.len() {
            return Err(format!(
                "the line has {} cells and the header {}",
                record.len(),
                columns.len()
            ));
        }
        let mut object = Map::new();
        for (column, cell) in columns.iter().zip(record).filter(|(_, cell)| !cell.is_empty()) {
            match column {
                Column::Field(field) => {
                    object.insert(field.clone(), cell.into());
                }
                Column::Ignored => {}
                Column::Unnamed => return Err(format!("{cell:?} stands in a column without a name")),
            }
        }
        self.with_dates(object)
    }

    fn renamed(&self, object: Map<String, Value>) -> Result<Map<String, Value>, String> {
        let is_ignored = |name: &str| !name.is_empty() && self.field(name).is_empty();
        let kept = object.into_iter().filter(|(name, _)| !is_ignored(name));
        self.with_dates(
            kept.map(|(name, value)| (self.field(&name).to_owned(), value))
                .collect(),
        )
    }

    /// The object with its dates in ISO 8601.
    fn with_dates(&self, mut object: Map<String, Value>) -> Result<Map<String, Value>, String> {
        let Some(format) = &self.date_format else {
            return Ok(object);
        };
        for name in DATES {
            let Some(Value::String(text)) = object.get(name) else {
                continue;
            };
            let time = date(format, text);
            let time = time.ok_or_else(|| format!("{name} {text:?} does not have the format {format:?}"))?;
            object.insert(name.to_owned(), to_millis(time).into());
        }
        Ok(object)
    }
}

fn date(format: &str, text: &str) -> Option<Timestamp> {
    let parsed = strtime::parse(format, text).ok()?;
    let in_utc = || TimeZone::UTC.to_timestamp(parsed.to_datetime().ok()?).ok();
    parsed.to_timestamp().ok().or_else(in_utc)
}

/// Reads CSV with a header line.
///
/// # Errors
/// If the file is not UTF-8, or a column is not a field of an interaction or is there twice.
pub(super) fn csv_lines(file: impl Read + Send + 'static, columns: Columns) -> Result<Lines, Fault> {
    let mut file = without_byte_order_mark(file)?;
    let (delimiter, before) = delimiter(&mut file)?;
    let text = move |record: &StringRecord| {
        let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(Vec::new());
        let written = writer.write_record(record).is_ok().then(|| writer.into_inner().ok());
        String::from_utf8(written.flatten().unwrap_or_default()).unwrap_or_default()
    };
    let file = Numbered::new(file, before);
    let starts = file.starts();
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .trim(csv::Trim::All)
        .flexible(true)
        .from_reader(file);
    let header = reader.headers()?.clone();
    let of_file = columns.of(&header)?;
    let lines = reader.into_records().map(move |record| {
        let at = |position: Option<&csv::Position>| position.map_or(0, |position| starts.number_at(position.byte()));
        match record {
            Ok(record) => Line {
                number: at(record.position()),
                text: text(&record),
                object: columns.object(&of_file, &record),
            },
            Err(error) => Line {
                number: at(error.position()),
                text: String::new(),
                object: Err(error.to_string()),
            },
        }
    });
    // The header begins a file of rejected lines, which is read again when they are corrected.
    let header = match text(&header) {
        header if most_frequent(header.as_bytes()) == delimiter => header,
        header => format!("sep={}\n{header}", char::from(delimiter)),
    };
    Ok(Lines {
        header,
        lines: Box::new(lines),
    })
}

/// Reads one JSON object from each line that is not empty.
///
/// # Errors
/// If the file can't be read, or is UTF-16.
pub(super) fn json_lines(file: impl Read + Send + 'static, columns: Columns) -> Result<Lines, Fault> {
    let mut broken = false;
    // A line that is not UTF-8 is one invalid line; after any other error reading stops.
    let lines = without_byte_order_mark(file)?.lines().take_while(move |line| {
        let go_on = !broken;
        broken = line
            .as_ref()
            .is_err_and(|error| error.kind() != io::ErrorKind::InvalidData);
        go_on
    });
    let lines = (1..).zip(lines).filter_map(move |(number, line)| {
        let (text, object) = match line {
            Ok(line) if line.trim().is_empty() => return None,
            Ok(line) => {
                let object = serde_json::from_str(&line).map_err(|error| format!("not a JSON object: {error}"));
                (line + "\n", object)
            }
            Err(error) => (String::new(), Err(error.to_string())),
        };
        Some(Line {
            number,
            text,
            object: object.and_then(|object| columns.renamed(object)),
        })
    });
    Ok(Lines {
        header: String::new(),
        lines: Box::new(lines),
    })
}

/// Windows programs write UTF-8 with a byte order mark.
fn without_byte_order_mark<R: Read>(file: R) -> Result<BufReader<R>, Fault> {
    let mut file = BufReader::new(file);
    let start = file.fill_buf()?;
    if start.starts_with(&[0xFF, 0xFE]) || start.starts_with(&[0xFE, 0xFF]) {
        return Err("the file is UTF-16; save it as UTF-8".into());
    }
    if start.starts_with(b"\xEF\xBB\xBF") {
        file.consume(3);
    }
    Ok(file)
}

/// The delimiter, and the number of lines that were read to find it. Excel writes `sep=;` first, or uses the delimiter of the system's
/// language.
fn delimiter(file: &mut impl BufRead) -> io::Result<(u8, u64)> {
    let mut declared = None;
    let start = file.fill_buf()?;
    let has_declaration = start.to_ascii_lowercase().starts_with(b"sep=");
    if has_declaration {
        declared = start.get(4).copied();
        let end = start.iter().position(|byte| b"\r\n".contains(byte));
        let rest = end.map_or_else(Default::default, |end| &start[end..]);
        let line = start.len() - rest.len()
            + if rest.starts_with(b"\r\n") {
                2
            } else {
                rest.len().min(1)
            };
        file.consume(line);
    }
    let start = file.fill_buf()?;
    let header = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    // A quotation mark or a character of several bytes can't delimit.
    let declared = declared.filter(|byte| (b' '..=b'~').contains(byte) && *byte != b'"' || *byte == b'\t');
    Ok((
        declared.unwrap_or_else(|| most_frequent(header)),
        u64::from(has_declaration),
    ))
}

/// The delimiter that a header line has most often.
fn most_frequent(header: &[u8]) -> u8 {
    let count = |delimiter: &u8| header.iter().filter(|byte| *byte == delimiter).count();
    // Of equal counts, `max_by_key` returns the last one.
    let most = [b'\t', b';', b','].into_iter().max_by_key(count);
    most.unwrap_or(b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(map: &[(&str, &str)], date_format: Option<&str>) -> Columns {
        Columns {
            map: map
                .iter()
                .map(|(column, field)| ((*column).into(), (*field).into()))
                .collect(),
            date_format: date_format.map(str::to_owned),
        }
    }

    fn csv(text: &'static str, columns: Columns) -> Vec<Line> {
        csv_lines(text.as_bytes(), columns).unwrap().lines.collect()
    }

    fn fields(line: &Line) -> Value {
        line.object.clone().unwrap().into()
    }

    #[test]
    fn both_formats_are_parsed_and_invalid_lines_are_named() {
        let lines = csv(
            "interaction_id,status,duration,customer_name\ni-1,COMPLETED,180,\"Smith, Louis\"\ni-2,,,\ni-3,a,b\n",
            columns(&[], None),
        );
        assert_eq!(fields(&lines[0])["customer_name"], "Smith, Louis");
        assert_eq!(lines[0].text, "i-1,COMPLETED,180,\"Smith, Louis\"\n");
        assert_eq!(lines[1].object.as_ref().unwrap().len(), 1);
        assert_eq!((lines[2].number, lines[2].object.is_err()), (4, true), "a cell too few");
        let json = "\u{feff}{\"interaction_id\": \"i-1\"}\n\n[1]\n{\"dispatch_id\": \"d\"}\n";
        let lines = json_lines(json.as_bytes(), columns(&[], None)).unwrap().lines;
        let numbers = lines.map(|line| (line.number, line.object.is_ok()));
        assert_eq!(numbers.collect::<Vec<_>>(), [(1, true), (3, false), (4, true)]);
        // A field without a name is refused as an unknown one; only a field that is mapped to nothing is ignored.
        let json = "{\"\": 6, \"Notes\": 1}\n";
        let mut lines = json_lines(json.as_bytes(), columns(&[("Notes", "")], None))
            .unwrap()
            .lines;
        assert_eq!(fields(&lines.next().unwrap()), serde_json::json!({"": 6}));
    }

    #[test]
    fn spreadsheets_of_other_languages_are_read() {
        let files = [
            "\u{feff}sep=;\r\nKunde;phone;start_time;\r\n\"Byrne; Ada\";+14155550123;08.08.2025 11:44;\r\n",
            "Kunde;phone;start_time;\nByrne; Ada;+14155550123;08.08.2025 11:44;\n",
            "Kunde\tphone\tstart_time\t\nByrne; Ada\t+14155550123\t08.08.2025 11:44\t\n",
        ];
        for (index, file) in files.into_iter().enumerate() {
            let lines = csv(file, columns(&[("Kunde", "customer_name")], Some("%d.%m.%Y %H:%M")));
            assert_eq!(lines[0].number, if index == 0 { 3 } else { 2 });
            match index {
                1 => assert!(lines[0].object.is_err(), "a cell too many"),
                _ => assert_eq!(
                    fields(&lines[0]),
                    serde_json::json!({"customer_name": "Byrne; Ada", "phone": "+14155550123", "start_time": "2025-08-08T11:44:00.000Z"})
                ),
            }
        }
        for (file, header) in [
            ("sep=|\ndispatch_id|phone\nd|1\n", "sep=|\ndispatch_id|phone\n"),
            ("sep=;\nphone\n1,2\n", "sep=;\nphone\n"),
            ("sep=;\nphone;status\n1;2\n", "phone;status\n"),
        ] {
            let lines = csv_lines(file.as_bytes(), columns(&[], None)).unwrap();
            assert_eq!(lines.header, header, "a file of rejected lines has the same delimiter");
            assert!(lines.lines.map(|line| line.object).all(|object| object.is_ok()));
        }
        let lines = csv(
            "dispatch_id,start_time\nd,2025/08/08 11:44 +0200\nd,08.08.2025\n",
            columns(&[], Some("%Y/%m/%d %H:%M %z")),
        );
        assert_eq!(fields(&lines[0])["start_time"], "2025-08-08T09:44:00.000Z");
        assert!(
            lines[1]
                .object
                .as_ref()
                .unwrap_err()
                .contains("does not have the format")
        );
    }

    #[test]
    fn a_line_has_its_number_in_the_file_after_empty_lines_and_lines_within_a_cell() {
        let file = "\n\ndispatch_id,status\nd,\n\n\nd,\"a\n\nb\"\nd,\n";
        for end in ["\n", "\r\n", "\r"] {
            for (declaration, before) in [(String::new(), 0), (format!("sep=,{end}"), 1)] {
                let file = format!("{declaration}{}", file.replace('\n', end)).into_bytes();
                let lines = csv_lines(io::Cursor::new(file), columns(&[], None)).unwrap().lines;
                let numbers = lines.map(|line| line.number - before).collect::<Vec<_>>();
                assert_eq!(numbers, [4, 7, 10], "{end:?}");
            }
        }
    }

    #[test]
    fn a_file_with_wrong_columns_is_refused_as_a_whole() {
        for (file, map, reason) in [
            ("dispatch_id,Notes\n", &[][..], "\"Notes\" is not a field"),
            (
                "dispatch_id,phone,phone\n",
                &[],
                "two columns of the file are \"phone\"",
            ),
            ("dispatch_id,Tel,phone\n", &[("Tel", "phone")], "two columns"),
            ("dispatch_id\n", &[("Tel", "phone")], "does not have"),
            ("dispatch_id,Tel\n", &[("Tel", "fone")], "is not a field"),
        ] {
            let error = csv_lines(file.as_bytes(), columns(map, None))
                .err()
                .unwrap()
                .to_string();
            assert!(error.contains(reason), "{error}");
        }
        let utf16: &[u8] = b"\xFF\xFEd\0";
        assert!(csv_lines(utf16, columns(&[], None)).is_err());
        let lines = csv(
            "dispatch_id,Notes,\nd,private,\nd,private,x\n",
            columns(&[("Notes", "")], None),
        );
        assert_eq!(fields(&lines[0]), serde_json::json!({"dispatch_id": "d"}));
        assert!(lines[1].object.as_ref().unwrap_err().contains("without a name"));
    }
}
