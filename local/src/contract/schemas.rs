//! Makes the derived schemas of the contract strict.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, schema::Schema};

const REF: &str = "#/components/schemas/";

/// The named schemas.
pub(super) struct Schemas(Map<String, Value>);

impl Schemas {
    pub(super) fn new(derived: Value, errors: Vec<(String, RefOr<Schema>)>) -> Self {
        let mut schemas = match derived {
            Value::Object(schemas) => schemas,
            _ => Map::new(),
        };
        schemas.extend(errors.into_iter().map(|(name, schema)| (name, json!(schema))));
        schemas.insert(
            "GatewayError".to_owned(),
            json!({
                "type": "object",
                "description": "An error of API Gateway itself.",
                "required": ["message"],
                "properties": {"message": {"type": "string"}},
            }),
        );
        Self(schemas)
    }

    /// Merges flattened schemas, marks required fields of responses, forbids additional fields in requests, and removes unused schemas.
    pub(super) fn finish(&mut self, paths: &mut Value) {
        for name in self.names() {
            let mut schema = self.0[&name].clone();
            self.merge(&mut schema);
            self.0.insert(name, schema);
        }
        let mut answers = BTreeSet::new();
        let mut requests = BTreeSet::new();
        each_operation(paths, |operation| {
            self.reach(&operation["responses"], &mut answers);
            self.reach(&operation["requestBody"]["content"]["application/json"], &mut requests);
        });
        for name in &answers {
            always_present(&mut self.0[name.as_str()]);
        }
        for name in requests.difference(&answers) {
            let schema = &mut self.0[name.as_str()];
            if schema.get("properties").is_some() {
                schema["additionalProperties"] = false.into();
            }
        }
        let mut named = BTreeSet::new();
        self.reach(paths, &mut named);
        self.0.retain(|name, _| named.contains(name));
    }

    pub(super) fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// Replaces `allOf`, which is derived for flattened fields, by one object.
    fn merge(&self, schema: &mut Value) {
        let Some(parts) = schema.get_mut("allOf").map(Value::take) else {
            match schema {
                Value::Array(items) => items.iter_mut().for_each(|item| self.merge(item)),
                Value::Object(fields) => fields.values_mut().for_each(|field| self.merge(field)),
                _ => {}
            }
            return;
        };
        let mut merged = json!({"type": "object", "properties": {}, "required": []});
        if let Some(description) = schema.get("description") {
            merged["description"] = description.clone();
        }
        let mut choices = Vec::new();
        for part in parts.as_array().into_iter().flatten() {
            let mut part = self.resolve(part).clone();
            self.merge(&mut part);
            let mut optional = false;
            if let Some(alternatives) = part["oneOf"].as_array() {
                let present: Vec<_> = alternatives.iter().filter(|it| it["type"] != "null").collect();
                optional = present.len() < alternatives.len();
                if let ([only], true) = (&present[..], optional) {
                    part = self.resolve(only).clone();
                    self.merge(&mut part);
                } else {
                    choices = present.into_iter().cloned().collect();
                    continue;
                }
            }
            for (name, property) in part["properties"].as_object().into_iter().flatten() {
                let mut property = property.clone();
                if optional {
                    property["x-optional"] = true.into();
                }
                merged["properties"][name] = property;
            }
            let required = part["required"].as_array().cloned().unwrap_or_default();
            if let (Some(all), false) = (merged["required"].as_array_mut(), optional) {
                all.extend(required);
            }
        }
        // A flattened enum: each of its variants' fields is optional.
        for choice in choices {
            for (name, property) in choice["properties"].as_object().into_iter().flatten() {
                merged["properties"][name] = property.clone();
            }
        }
        *schema = merged;
    }

    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match name_of(schema) {
            Some(name) => self.0.get(name).unwrap_or(schema),
            None => schema,
        }
    }

    /// Collects the names of the schemas that a part of the document refers to.
    fn reach(&self, part: &Value, names: &mut BTreeSet<String>) {
        if let Some(name) = name_of(part)
            && names.insert(name.to_owned())
        {
            self.reach(&self.0[name], names);
        }
        match part {
            Value::Array(items) => items.iter().for_each(|item| self.reach(item, names)),
            Value::Object(fields) => fields.values().for_each(|field| self.reach(field, names)),
            _ => {}
        }
    }
}

fn name_of(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.strip_prefix(REF)
}

fn each_operation(paths: &Value, mut visit: impl FnMut(&Value)) {
    for item in paths.as_object().into_iter().flat_map(Map::values) {
        item.as_object().into_iter().flat_map(Map::values).for_each(&mut visit);
    }
}

/// In a response, a nullable field is always present, and an optional field is never `null`.
fn always_present(schema: &mut Value) {
    if let Some(variants) = schema.get_mut("oneOf").and_then(Value::as_array_mut) {
        variants.iter_mut().for_each(always_present);
    }
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    let mut required = BTreeSet::new();
    for (name, property) in properties {
        let optional = property
            .as_object_mut()
            .and_then(|it| it.remove("x-optional"))
            .is_some();
        let is_null = |kind: &Value| kind == "null";
        let nullable = property["type"]
            .as_array()
            .is_some_and(|types| types.iter().any(is_null))
            || property["oneOf"]
                .as_array()
                .is_some_and(|all| all.iter().any(|it| it["type"] == "null"));
        if nullable && !optional {
            required.insert(name.clone());
        }
    }
    let known = schema["required"].as_array().into_iter().flatten();
    required.extend(known.filter_map(|name| name.as_str().map(str::to_owned)));
    schema["required"] = json!(required);
}
