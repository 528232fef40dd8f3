//! The IAM policies of the functions' roles and of users.

use std::collections::HashMap;

use saphyr::{SafelyIndex, Yaml};

use super::{
    function::functions,
    yaml::{TemplateError, entries, items, load, resources, text},
};

/// The values of a deployment that its policies refer to.
#[derive(Clone, Debug, Default)]
pub struct Values {
    /// Values of `!Ref` by parameter or resource.
    pub references: HashMap<String, String>,
    /// Values of `!GetAtt` by `RESOURCE.ATTRIBUTE`.
    pub attributes: HashMap<String, String>,
    /// The conditions, by name.
    pub conditions: HashMap<String, bool>,
}

/// What a function or a user may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The function, by the last folder of its `CodeUri`, or the user, by its name in the template.
    pub principal: String,
    /// What is allowed.
    pub statements: Vec<Statement>,
}

/// A statement with the effect `Allow`, the only one that the template has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its name.
    pub sid: String,
    /// Patterns of actions, such as `s3:GetObject`.
    pub actions: Vec<String>,
    /// Patterns of ARNs.
    pub resources: Vec<String>,
    /// All of these must hold.
    pub conditions: Vec<Condition>,
}

/// A condition of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// How values are compared.
    pub operator: Operator,
    /// The key of the request's context, such as `s3:prefix`.
    pub key: String,
    /// Patterns, one of which must match.
    pub patterns: Vec<String>,
}

/// The operators of conditions that the template uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// One value, without wildcards.
    StringEquals,
    /// One value.
    StringLike,
    /// One value, or none.
    StringLikeIfExists,
    /// Any number of values.
    ForAllValuesStringLike,
}

/// The policies of all functions and users of a SAM template.
///
/// # Errors
/// When the text is not YAML, or a policy contains what this module does not understand.
pub fn policies(yaml: &str, values: &Values) -> Result<Vec<Policy>, TemplateError> {
    let documents = load(yaml)?;
    let template = documents.first();
    let roles: HashMap<&str, Option<&Yaml>> = resources(template, "AWS::IAM::Role").collect();
    let mut policies = Vec::new();
    for function in functions(template)? {
        let properties = roles.get(format!("{}Role", function.name).as_str());
        let properties = properties.ok_or_else(|| TemplateError(format!("{} has no role", function.name)))?;
        policies.push(policy(function.folder, *properties, values)?);
    }
    for (name, properties) in resources(template, "AWS::IAM::User") {
        policies.push(policy(name, properties, values)?);
    }
    Ok(policies)
}

fn policy(principal: &str, properties: Option<&Yaml>, values: &Values) -> Result<Policy, TemplateError> {
    let mut statements = Vec::new();
    for document in items(properties.and_then(|properties| properties.get("Policies"))) {
        let list = document
            .get("PolicyDocument")
            .and_then(|document| document.get("Statement"));
        for node in items(list) {
            if let Some(node) = values.chosen(node)? {
                statements.push(statement(principal, node, values)?);
            }
        }
    }
    Ok(Policy {
        principal: principal.to_owned(),
        statements,
    })
}

fn statement(principal: &str, node: &Yaml, values: &Values) -> Result<Statement, TemplateError> {
    let sid = text(node.get("Sid")).unwrap_or("a statement without Sid");
    let invalid = |what: &str| TemplateError(format!("{sid} of {principal}: {what}"));
    if text(node.get("Effect")) != Some("Allow") {
        return Err(invalid("only the effect Allow is understood"));
    }
    let list = |name: &str| match node.get(name) {
        Some(node) => values.strings(node),
        None => Err(invalid(&format!("{name} is missing"))),
    };
    let mut conditions = Vec::new();
    for (name, keys) in entries(node.get("Condition")) {
        let operator = match name {
            "StringEquals" => Operator::StringEquals,
            "StringLike" => Operator::StringLike,
            "StringLikeIfExists" => Operator::StringLikeIfExists,
            "ForAllValues:StringLike" => Operator::ForAllValuesStringLike,
            other => return Err(invalid(&format!("the operator {other} is not understood"))),
        };
        for (key, patterns) in entries(Some(keys)) {
            conditions.push(Condition {
                operator,
                key: key.to_owned(),
                patterns: values.strings(patterns)?,
            });
        }
    }
    Ok(Statement {
        sid: sid.to_owned(),
        actions: list("Action")?,
        resources: list("Resource")?,
        conditions,
    })
}

impl Values {
    /// The node itself, or the branch of an `!If`; `None` for `AWS::NoValue`.
    fn chosen<'a>(&self, node: &'a Yaml<'a>) -> Result<Option<&'a Yaml<'a>>, TemplateError> {
        let Yaml::Tagged(tag, inner) = node else {
            return Ok(Some(node));
        };
        match (tag.suffix.as_str(), inner.as_sequence().map(Vec::as_slice)) {
            ("If", Some([condition, then, otherwise])) => {
                let name = text(Some(condition)).unwrap_or_default();
                match self.conditions.get(name) {
                    Some(true) => self.chosen(then),
                    Some(false) => self.chosen(otherwise),
                    None => Err(TemplateError(format!("the condition {name:?} is not known"))),
                }
            }
            ("Ref", _) if text(Some(inner)) == Some("AWS::NoValue") => Ok(None),
            _ => Ok(Some(node)),
        }
    }

    /// The texts of a value or a list of values.
    fn strings(&self, node: &Yaml) -> Result<Vec<String>, TemplateError> {
        let Some(node) = self.chosen(node)? else {
            return Ok(Vec::new());
        };
        let unknown = |what: &str| TemplateError(format!("the value of {what} is not known"));
        match node {
            Yaml::Sequence(nodes) => {
                let lists: Result<Vec<_>, _> = nodes.iter().map(|node| self.strings(node)).collect();
                Ok(lists?.concat())
            }
            Yaml::Tagged(tag, inner) => {
                let name = text(Some(inner)).unwrap_or_default();
                let value = match tag.suffix.as_str() {
                    "Ref" => self.references.get(name).cloned(),
                    "GetAtt" => self.attributes.get(name).cloned(),
                    "Sub" => Some(self.substituted(name)?),
                    _ => None,
                };
                Ok(vec![value.ok_or_else(|| unknown(name))?])
            }
            node => match text(Some(node)) {
                Some(value) => Ok(vec![value.to_owned()]),
                None => Err(TemplateError("a policy has a value that is no text".to_owned())),
            },
        }
    }

    fn substituted(&self, pattern: &str) -> Result<String, TemplateError> {
        let mut parts = pattern.split("${");
        let mut value = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (name, rest) = part.split_once('}').unwrap_or_default();
            let found = self.references.get(name).or_else(|| self.attributes.get(name));
            value.push_str(found.ok_or_else(|| TemplateError(format!("the value of {name} is not known")))?);
            value.push_str(rest);
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = "Resources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties: {CodeUri: functions/f/}\n  \
        FRole:\n    Type: AWS::IAM::Role\n    Properties:\n      Policies:\n        - PolicyDocument:\n            Statement:\n";

    fn of(statement: &str) -> Result<Vec<Policy>, TemplateError> {
        let values = Values {
            references: HashMap::from([("Bucket".to_owned(), "b".to_owned())]),
            attributes: HashMap::from([("Table.Arn".to_owned(), "arn:t".to_owned())]),
            conditions: HashMap::from([("Has".to_owned(), true), ("Lacks".to_owned(), false)]),
        };
        policies(&format!("{TEMPLATE}              - {statement}\n"), &values)
    }

    #[test]
    fn references_attributes_and_conditions_are_replaced_by_the_values_of_the_deployment() {
        let policies = of("{Sid: A, Effect: Allow, Action: [x:Get, x:Put], Resource: [!Sub '${Table.Arn}/${Bucket}', !GetAtt Table.Arn, \
             !If [Lacks, !Ref Other, !Ref AWS::NoValue]], Condition: {StringLike: {'x:key': !If [Has, !Ref Bucket, c]}}}")
        .unwrap();
        let statement = Statement {
            sid: "A".to_owned(),
            actions: vec!["x:Get".to_owned(), "x:Put".to_owned()],
            resources: vec!["arn:t/b".to_owned(), "arn:t".to_owned()],
            conditions: vec![Condition {
                operator: Operator::StringLike,
                key: "x:key".to_owned(),
                patterns: vec!["b".to_owned()],
            }],
        };
        let expected = Policy {
            principal: "f".to_owned(),
            statements: vec![statement],
        };
        assert_eq!(policies, [expected]);
        assert_eq!(
            of("!If [Lacks, {Sid: A}, !Ref AWS::NoValue]").unwrap()[0].statements,
            []
        );
    }

    #[test]
    fn what_is_not_understood_is_an_error_and_not_ignored() {
        for (statement, reason) in [
            ("{Sid: A, Effect: Deny}", "only the effect Allow"),
            ("{Sid: A, Effect: Allow, Action: x}", "Resource is missing"),
            (
                "{Sid: A, Effect: Allow, Action: x, Resource: !Ref Other}",
                "the value of Other is not known",
            ),
            (
                "{Sid: A, Effect: Allow, Action: x, Resource: !Sub '${Other}'}",
                "the value of Other is not known",
            ),
            (
                "{Sid: A, Effect: Allow, Action: x, Resource: '*', Condition: {Bool: {a: b}}}",
                "the operator Bool",
            ),
            (
                "!If [Other, {Sid: A}, {Sid: B}]",
                "the condition \"Other\" is not known",
            ),
        ] {
            let error = of(statement).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        let without_role = "Resources: {F: {Type: 'AWS::Serverless::Function', Properties: {CodeUri: functions/f/}}}";
        let error = policies(without_role, &Values::default()).unwrap_err().to_string();
        assert!(error.contains("F has no role"), "{error}");
    }
}
