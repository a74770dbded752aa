//! What the dump of the configuration keeps to itself: the content of secrets, and where it is found, as in Envoy.

use serde_json::Value;

/// The fields whose content is secret, wherever they stand.
const SECRET: [&str; 5] = ["generic_secret", "password", "private_key", "session_ticket_keys", "users"];
/// What stands in the place of a text.
const REDACTED: &str = "[redacted]";
/// The same in base64, in the place of bytes.
const REDACTED_BYTES: &str = "W3JlZGFjdGVkXQ==";

/// The message without secrets.
pub(super) fn redacted(message: &Value) -> Value {
    match message {
        Value::Array(items) => items.iter().map(redacted).collect(),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| {
                let is_secret = SECRET.contains(&name.as_str()) && (value.is_object() || value.is_array());
                (name.clone(), if is_secret { without_texts(name, value) } else { redacted(value) })
            };
            fields.iter().map(field).collect()
        }
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => message.clone(),
    }
}

/// What is in the field `name`, with the same fields and nothing in them.
fn without_texts(name: &str, value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(|item| without_texts(name, item)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), without_texts(name, value))).collect()
        }
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => {
            if name == "inline_bytes" {
                REDACTED_BYTES.into()
            } else {
                REDACTED.into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let chain = json!({ "filename": "server.pem" });
        let message = json!({
            "tls_certificates": [{
                "certificate_chain": chain, "private_key": { "filename": "server.key" }, "password": { "inline_string": "a" },
            }],
            "session_ticket_keys": { "keys": [{ "filename": "a" }, { "inline_bytes": "YQ==" }] },
            "users": "a list of another kind",
        });
        let expected = json!({
            "tls_certificates": [{
                "certificate_chain": chain, "private_key": { "filename": REDACTED }, "password": { "inline_string": REDACTED },
            }],
            "session_ticket_keys": { "keys": [{ "filename": REDACTED }, { "inline_bytes": REDACTED_BYTES }] },
            "users": "a list of another kind",
        });
        assert_eq!(redacted(&message), expected);
    }
}
