//! The part of CloudWatch Logs Insights' language that the saved queries use: which lines a query finds, and which fields it names.

use std::collections::BTreeSet;

use serde_json::Value;

/// Words of the language. Every other name in a query is a field of a line.
const WORDS: &str = "and as asc bin by coalesce count desc fields filter in ispresent limit or sort stats sum";

/// A query without its comments.
pub(crate) struct Query {
    commands: Vec<Vec<Token>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Name(String),
    Text(String),
    Sign(String),
}

impl Query {
    /// Panics if the query has what this module does not know.
    pub(crate) fn parse(text: &str) -> Self {
        let text: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'))
            .collect();
        let commands = text.join("\n");
        Self {
            commands: commands.split('|').map(tokens).collect(),
        }
    }

    /// The fields that the query shows, filters, sorts or groups by, without those that CloudWatch adds to each line.
    pub(crate) fn fields(&self) -> BTreeSet<String> {
        let mut fields = BTreeSet::new();
        let mut aliases = BTreeSet::new();
        for command in &self.commands {
            for (place, token) in command.iter().enumerate() {
                let Token::Name(name) = token else { continue };
                let is_alias = place > 0 && command[place - 1] == Token::Name("as".to_owned());
                let is_number = name.starts_with(|letter: char| letter.is_ascii_digit());
                if is_alias {
                    aliases.insert(name.clone());
                } else if !is_number && !name.starts_with('@') && !WORDS.split(' ').any(|word| word == name) {
                    fields.insert(name.clone());
                }
            }
        }
        &fields - &aliases
    }

    /// Whether the query finds this line.
    pub(crate) fn finds(&self, line: &Value) -> bool {
        let filter = Token::Name("filter".to_owned());
        let filters = self.commands.iter().filter(|command| command.first() == Some(&filter));
        filters.into_iter().all(|command| {
            let mut condition = Condition {
                tokens: &command[1..],
                line,
            };
            let is_met = condition.any();
            assert!(condition.tokens.is_empty(), "{:?}", condition.tokens);
            is_met
        })
    }
}

/// The text of a field, `a.b` for a nested one, if the line has it.
pub(crate) fn field(line: &Value, name: &str) -> Option<String> {
    let value = name.split('.').try_fold(line, |value, part| value.get(part))?;
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        value => Some(value.to_string()),
    }
}

fn tokens(command: &str) -> Vec<Token> {
    let is_part = |letter: char| letter.is_alphanumeric() || matches!(letter, '.' | '_' | '@');
    let mut tokens = Vec::new();
    let mut rest = command.trim_start();
    while let Some(first) = rest.chars().next() {
        let length;
        if first == '"' {
            let text = rest[1..].split('"').next().unwrap();
            length = text.len() + 2;
            tokens.push(Token::Text(text.to_owned()));
        } else if is_part(first) {
            length = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len());
            tokens.push(Token::Name(rest[..length].to_owned()));
        } else {
            length = if rest.starts_with("!=") { 2 } else { first.len_utf8() };
            tokens.push(Token::Sign(rest[..length].to_owned()));
        }
        rest = rest[length..].trim_start();
    }
    tokens
}

/// The rest of a condition, and the line that it is about.
struct Condition<'a> {
    tokens: &'a [Token],
    line: &'a Value,
}

impl Condition<'_> {
    fn next(&mut self) -> Token {
        let (first, rest) = self.tokens.split_first().expect("the condition goes on");
        self.tokens = rest;
        first.clone()
    }

    fn takes(&mut self, token: Token) -> bool {
        let is_next = self.tokens.first() == Some(&token);
        if is_next {
            self.next();
        }
        is_next
    }

    fn takes_name(&mut self, name: &str) -> bool {
        self.takes(Token::Name(name.to_owned()))
    }

    fn takes_sign(&mut self, sign: &str) -> bool {
        self.takes(Token::Sign(sign.to_owned()))
    }

    fn any(&mut self) -> bool {
        let mut is_met = self.all();
        while self.takes_name("or") {
            is_met |= self.all();
        }
        is_met
    }

    fn all(&mut self) -> bool {
        let mut is_met = self.one();
        while self.takes_name("and") {
            is_met &= self.one();
        }
        is_met
    }

    fn one(&mut self) -> bool {
        if self.takes_sign("(") {
            let is_met = self.any();
            assert!(self.takes_sign(")"));
            return is_met;
        }
        let Token::Name(name) = self.next() else {
            panic!("a field is expected");
        };
        if name == "ispresent" {
            assert!(self.takes_sign("("));
            let Token::Name(name) = self.next() else {
                panic!("a field is expected");
            };
            assert!(self.takes_sign(")"));
            return field(self.line, &name).is_some();
        }
        let value = field(self.line, &name);
        if self.takes_name("in") {
            assert!(self.takes_sign("["));
            let mut is_met = false;
            while !self.takes_sign("]") {
                match self.next() {
                    Token::Text(text) => is_met |= value.as_ref() == Some(&text),
                    other => assert_eq!(other, Token::Sign(",".to_owned())),
                }
            }
            return is_met;
        }
        let is_equal = match self.next() {
            Token::Sign(sign) if sign == "=" => true,
            Token::Sign(sign) if sign == "!=" => false,
            other => panic!("{other:?} is not known to this module"),
        };
        let Token::Text(text) = self.next() else {
            panic!("a text is expected");
        };
        value.is_some_and(|value| (value == text) == is_equal)
    }
}

#[test]
fn a_query_finds_what_its_filters_say() {
    let query = Query::parse(
        r#"# Not a "filter".
        fields @timestamp, coalesce(a.b, c) as id
        | filter (a.b = "x y" or ispresent(c)) and d in ["1", "2"]
        | filter e != "no"
        | stats count(*) as rows by f
        | sort rows desc"#,
    );
    assert_eq!(Vec::from_iter(query.fields()), ["a.b", "c", "d", "e", "f"]);
    for (line, is_found) in [
        (r#"{"a": {"b": "x y"}, "d": 1, "e": "yes"}"#, true),
        (r#"{"c": 0, "d": "2", "e": "yes"}"#, true),
        (r#"{"c": null, "d": "2", "e": "yes"}"#, false),
        (r#"{"a": {"b": "x y"}, "d": 3, "e": "yes"}"#, false),
        (r#"{"a": {"b": "x y"}, "d": 1, "e": "no"}"#, false),
    ] {
        assert_eq!(query.finds(&serde_json::from_str(line).unwrap()), is_found, "{line}");
    }
}
