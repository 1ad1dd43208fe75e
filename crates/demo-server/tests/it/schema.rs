//! The official schemas, made strict: a member that a revision does not know is an error.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{LazyLock, Mutex},
};

use jsonschema::Validator;
use mcp_jsonrpc::ProtocolVersion;
use serde_json::{Value, json};

/// The schema of one revision.
pub(crate) struct Schema {
    version: ProtocolVersion,
    definitions: &'static str,
    whole: Value,
    validators: Mutex<HashMap<&'static str, &'static Validator>>,
}

static SCHEMAS: LazyLock<Vec<Schema>> =
    LazyLock::new(|| ProtocolVersion::ALL.into_iter().map(Schema::load).collect());

/// Where the schemas are.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/schema")
}

// === impl Schema ===

impl Schema {
    pub(crate) fn of(version: ProtocolVersion) -> &'static Self {
        SCHEMAS.iter().find(|schema| schema.version == version).unwrap()
    }

    fn load(version: ProtocolVersion) -> Self {
        let path = folder().join(format!("{version}.json"));
        let text = std::fs::read_to_string(path).unwrap();
        let mut whole: Value = serde_json::from_str(&text).unwrap();
        let definitions = if whole.get("$defs").is_some() { "$defs" } else { "definitions" };
        for definition in whole[definitions].as_object_mut().unwrap().values_mut() {
            make_strict(definition);
        }
        Self { version, definitions, whole, validators: Mutex::default() }
    }

    pub(crate) fn check_answer(&self, method: &str, answer: &Value) {
        if answer.get("error").is_some() {
            // From 2025-11-25 it is called what it is.
            let definitions = self.whole[self.definitions].as_object().unwrap();
            let error = "JSONRPCErrorResponse";
            let old = "JSONRPCError";
            return self.check(if definitions.contains_key(error) { error } else { old }, answer);
        }
        let result = match method {
            "server/discover" => "DiscoverResult",
            "completion/complete" => "CompleteResult",
            "initialize" => "InitializeResult",
            "prompts/get" => "GetPromptResult",
            "prompts/list" => "ListPromptsResult",
            "resources/list" => "ListResourcesResult",
            "resources/read" => "ReadResourceResult",
            "resources/templates/list" => "ListResourceTemplatesResult",
            "tools/call" => "CallToolResult",
            "tools/list" => "ListToolsResult",
            _ => "EmptyResult",
        };
        self.check("JSONRPCMessage", answer);
        self.check(result, &answer["result"]);
    }

    /// Questions in the place of a result (2026-07-28).
    pub(crate) fn check_questions(&self, answer: &Value) {
        self.check("InputRequiredResult", &answer["result"]);
    }

    pub(crate) fn check_unasked(&self, said: &Value) {
        let is_request = said.get("id").is_some();
        self.check(if is_request { "ServerRequest" } else { "ServerNotification" }, said);
    }

    #[track_caller]
    fn check(&self, name: &'static str, shown: &Value) {
        let errors: Vec<_> = self
            .validator(name)
            .iter_errors(shown)
            .map(|error| format!("{error} at {}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{} {name}: {errors:#?} in {shown:#}", self.version);
    }

    fn validator(&self, name: &'static str) -> &'static Validator {
        let mut validators = self.validators.lock().unwrap();
        validators.entry(name).or_insert_with(|| {
            let mut schema = self.whole.clone();
            schema["$ref"] = json!(format!("#/{}/{name}", self.definitions));
            // They live as long as the tests.
            Box::leak(Box::new(jsonschema::validator_for(&schema).unwrap()))
        })
    }
}

/// Closes every object that says which members it has, but not whether there are others.
///
/// An envelope is left open: from 2025-11-25 a definition holds it, before that it does not.
fn make_strict(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.values_mut().for_each(make_strict);
            let is_method = members.get("properties").is_some_and(|it| it.get("method").is_some());
            let says = members.get("type") == Some(&json!("object"))
                && members.get("properties").is_some_and(Value::is_object);
            if says && !is_method && !members.contains_key("additionalProperties") {
                members.insert("additionalProperties".to_owned(), json!(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(make_strict),
        _ => (),
    }
}

#[test]
fn a_strict_schema_knows_what_came_later() {
    let schema = Schema::of(ProtocolVersion::V2024_11_05);
    let tool = |tool: Value| schema.validator("Tool").is_valid(&tool);
    assert!(tool(json!({ "name": "x", "inputSchema": { "type": "object" } })));
    assert!(!tool(json!({ "name": "x", "inputSchema": { "type": "object" }, "title": "X" })));
    assert!(!tool(json!({ "name": "x" })));
}
