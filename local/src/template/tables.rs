//! The DynamoDB tables.

use saphyr::{SafelyIndex, Yaml};

use super::yaml::{TemplateError, items, load, resources, text};

/// One `AWS::DynamoDB::Table`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The resource's name.
    pub resource: String,
    /// Name and type (`S`, `N` or `B`) of each attribute that is part of a key.
    pub attributes: Vec<(String, String)>,
    /// The table's own key.
    pub key: Key,
    /// The global secondary indexes.
    pub indexes: Vec<Index>,
}

/// A primary key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The attribute with the key type `HASH`.
    pub partition: String,
    /// The attribute with the key type `RANGE`.
    pub sort: Option<String>,
}

/// A global secondary index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// Its key.
    pub key: Key,
    /// The projected attributes.
    pub projection: Projection,
}

/// The attributes that an index contains besides the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Projection {
    /// All attributes.
    All,
    /// No other attributes.
    KeysOnly,
    /// These attributes.
    Include(Vec<String>),
}

/// The tables of a SAM template.
///
/// # Errors
/// When the text is not YAML, or a table lacks a key, an index its name, or a projection its type.
pub fn tables(yaml: &str) -> Result<Vec<Table>, TemplateError> {
    let documents = load(yaml)?;
    resources(documents.first(), "AWS::DynamoDB::Table")
        .map(|(name, properties)| table(name, properties))
        .collect()
}

fn table(resource: &str, properties: Option<&Yaml>) -> Result<Table, TemplateError> {
    let property = |name: &str| properties.and_then(|properties| properties.get(name));
    let attributes = items(property("AttributeDefinitions")).filter_map(|attribute| {
        let name = text(attribute.get("AttributeName"))?;
        Some((name.to_owned(), text(attribute.get("AttributeType"))?.to_owned()))
    });
    let indexes = items(property("GlobalSecondaryIndexes")).map(|properties| index(resource, properties));
    Ok(Table {
        resource: resource.to_owned(),
        attributes: attributes.collect(),
        key: key(resource, property("KeySchema"))?,
        indexes: indexes.collect::<Result<_, _>>()?,
    })
}

fn index(resource: &str, properties: &Yaml) -> Result<Index, TemplateError> {
    let name = text(properties.get("IndexName"))
        .ok_or_else(|| TemplateError(format!("an index of {resource} needs an IndexName")))?;
    let projection = properties.get("Projection");
    let kind = text(projection.and_then(|projection| projection.get("ProjectionType")));
    let included = items(projection.and_then(|projection| projection.get("NonKeyAttributes")));
    Ok(Index {
        name: name.to_owned(),
        key: key(name, properties.get("KeySchema"))?,
        projection: match kind {
            Some("ALL") => Projection::All,
            Some("KEYS_ONLY") => Projection::KeysOnly,
            Some("INCLUDE") => Projection::Include(
                included
                    .filter_map(|name| text(Some(name)))
                    .map(str::to_owned)
                    .collect(),
            ),
            _ => {
                return Err(TemplateError(format!(
                    "{name} needs a ProjectionType: ALL, KEYS_ONLY or INCLUDE"
                )));
            }
        },
    })
}

fn key(place: &str, schema: Option<&Yaml>) -> Result<Key, TemplateError> {
    let attribute = |kind: &str| {
        let element = items(schema).find(|element| text(element.get("KeyType")) == Some(kind))?;
        text(element.get("AttributeName")).map(str::to_owned)
    };
    let partition = attribute("HASH");
    Ok(Key {
        partition: partition.ok_or_else(|| TemplateError(format!("{place} needs a KeySchema with a HASH key")))?,
        sort: attribute("RANGE"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_the_keys_indexes_and_projected_attributes_of_the_template() {
        let yaml = "Resources:\n  T:\n    Type: AWS::DynamoDB::Table\n    Properties:\n      \
                    AttributeDefinitions: [{AttributeName: id, AttributeType: S}, {AttributeName: at, AttributeType: N}]\n      \
                    KeySchema: [{AttributeName: id, KeyType: HASH}]\n      \
                    GlobalSecondaryIndexes:\n        - IndexName: by-time\n          \
                    KeySchema: [{AttributeName: id, KeyType: HASH}, {AttributeName: at, KeyType: RANGE}]\n          \
                    Projection: {ProjectionType: INCLUDE, NonKeyAttributes: [name, phone]}\n        - IndexName: by-id\n          \
                    KeySchema: [{AttributeName: id, KeyType: HASH}]\n          Projection: {ProjectionType: KEYS_ONLY}\n";
        let key = |sort: Option<&str>| Key {
            partition: "id".to_owned(),
            sort: sort.map(str::to_owned),
        };
        let index = |name: &str, key, projection| Index {
            name: name.to_owned(),
            key,
            projection,
        };
        let included = Projection::Include(vec!["name".to_owned(), "phone".to_owned()]);
        let expected = Table {
            resource: "T".to_owned(),
            attributes: [("id", "S"), ("at", "N")]
                .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
                .to_vec(),
            key: key(None),
            indexes: vec![
                index("by-time", key(Some("at")), included),
                index("by-id", key(None), Projection::KeysOnly),
            ],
        };
        assert_eq!(tables(yaml).unwrap(), [expected]);
    }

    #[test]
    fn an_invalid_table_is_rejected_with_the_place_and_the_reason() {
        let table =
            |properties: &str| format!("Resources: {{T: {{Type: 'AWS::DynamoDB::Table', Properties: {properties}}}}}");
        let key = "KeySchema: [{AttributeName: id, KeyType: HASH}]";
        for (yaml, reason) in [
            (table("{}"), "T needs a KeySchema"),
            (
                table(&format!("{{{key}, GlobalSecondaryIndexes: [{{}}]}}")),
                "needs an IndexName",
            ),
            (
                table(&format!("{{{key}, GlobalSecondaryIndexes: [{{IndexName: i, {key}}}]}}")),
                "i needs a ProjectionType",
            ),
        ] {
            let error = tables(&yaml).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
