//! What the schemas refuse, and how they say it.

use serde_json::{Value, json};

use crate::{Kind, Object, ReadError};

fn defects(yaml: &str) -> Vec<String> {
    match Object::read(serde_yaml::from_str(yaml).unwrap()) {
        Ok(_) => Vec::new(),
        Err(ReadError::Defects(defects)) => defects.iter().map(ToString::to_string).collect(),
        Err(foreign) => vec![foreign.to_string()],
    }
}

const DOMAIN: &str =
    "apiVersion: posthouse.dev/v1alpha1\nkind: MailDomain\nmetadata: {name: a, namespace: mail}\n";

fn domain(spec: &str) -> Vec<String> {
    defects(&format!("{DOMAIN}spec: {{gatewayRef: {{name: edge}}, domain: example.com, {spec}}}"))
}

#[test]
fn a_right_document_has_no_defect() {
    assert_eq!(domain("queue: {holdExpiresAfter: 30d}, messageSize: {sent: 20Mi, received: 1000}"), [""; 0]);
}

#[test]
fn an_unknown_field_is_named_with_its_path_and_the_nearest_one() {
    assert_eq!(domain("alias: [a.example]"), ["spec.alias: there is no such field; did you mean aliases?"]);
    assert_eq!(
        domain("recipients: {users: [{name: a}, {name: b, mail: c}]}"),
        ["spec.recipients.users[1].mail: there is no such field; the fields here are name"]
    );
}

#[test]
fn every_defect_is_reported_not_only_the_first() {
    let found = domain("role: Chief, queue: {holdExpiresAfter: 1w}, messageSize: {sent: 20MB}, aliases: {}");
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(
        found.iter().any(|defect| defect == "spec.role: \"Chief\" is not one of Primary, Member"),
        "{found:?}"
    );
}

#[test]
fn an_empty_field_is_absent_and_an_empty_entry_is_refused() {
    let admit = |spec: &str| {
        let text = format!("{DOMAIN}spec: {{gatewayRef: {{name: edge}}, domain: example.com, {spec}}}");
        Object::admit(serde_yaml::from_str(&text).unwrap()).map_err(|error| error.to_string())
    };
    assert_eq!(admit("unknownRecipients: "), admit("description: "));
    assert_eq!(admit("recipients: {policy: }"), admit("recipients: {}"));
    assert!(admit("aliases: [null]").unwrap_err().contains("spec.aliases[0]: is empty"));
}

#[test]
fn an_empty_block_takes_no_fields() {
    assert_eq!(
        domain("localDelivery: {maildrop: {quota: 1}}"),
        ["spec.localDelivery.maildrop.quota: there is no such field; the block is empty"]
    );
}

#[test]
fn ports_are_numbers_from_1_to_65535() {
    for port in ["0", "65536", "-1", "\"25\"", "2.5"] {
        assert_eq!(
            domain(&format!("localDelivery: {{lmtp: {{host: a.example, port: {port}}}}}")).len(),
            1,
            "{port}"
        );
    }
}

#[test]
fn metadata_is_the_api_servers_business() {
    let document = json!({
        "apiVersion": "posthouse.dev/v1alpha1", "kind": "MailSchedule",
        "metadata": {"name": "hourly", "namespace": "mail", "labels": {"a": "b"}, "generation": 3},
        "spec": {"triggers": [{"every": "10m"}]},
    });
    assert_eq!(Kind::MailSchedule.unknown_fields(&document), [""; 0]);
    assert!(Object::read(document).is_ok());
}

#[test]
fn the_schema_of_every_kind_is_structural_and_described() {
    for kind in Kind::ALL {
        let spec = &kind.schema()["properties"]["spec"];
        described(kind.name(), spec);
    }
}

fn described(path: &str, schema: &Value) {
    assert!(schema.get("oneOf").is_none() && schema.get("anyOf").is_none(), "{path} has a union");
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        // The types of Kubernetes itself bring their own texts.
        assert!(property.get("description").is_some(), "{path} has no description");
        described(&path, property);
        if let Some(items) = property.get("items") {
            described(&format!("{path}[]"), items);
        }
    }
}
