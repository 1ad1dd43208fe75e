//! The published schemas: what reaches a peer has to be a message of the revision it speaks.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
    sync::{Arc, LazyLock, Mutex},
};

use jsonschema::Validator;
use mcp_jsonrpc::ProtocolVersion;
use serde_json::{Map, Value, json};

/// The schema of one revision.
struct Schema {
    version: ProtocolVersion,
    /// Where the definitions are: `definitions` or `$defs`.
    place: &'static str,
    dialect: Value,
    definitions: Map<String, Value>,
    /// Which definition is of which method.
    methods: HashMap<String, String>,
    validators: Mutex<BTreeMap<String, Arc<Validator>>>,
}

static SCHEMAS: LazyLock<Vec<Schema>> =
    LazyLock::new(|| ProtocolVersion::ALL.into_iter().map(Schema::load).collect());

/// What a message is, as far as its reader knows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role<'a> {
    /// Asked or told by this method.
    Said(&'a str),
    /// The answer to a request by this method; of one that begins a task.
    Answer { to: &'a str, task: bool },
}

/// What is wrong with a message that reached a peer of this revision; none if nothing is.
pub(crate) fn complaint(version: ProtocolVersion, text: &str, role: Role<'_>) -> Option<String> {
    // Readers differ in what they make of a number that no double holds; schemas say nothing.
    let message: Value = match serde_json::from_str(&text.replace("1e400", "1e40")) {
        Ok(message) => message,
        Err(error) => return Some(format!("no JSON: {error}: {text}")),
    };
    let schema = SCHEMAS.iter().find(|it| it.version == version)?;
    let found = match role {
        Role::Said(method) => schema.said(method, &message),
        Role::Answer { to, task } => schema.answer(to, task, &message),
    };
    found.map(|found| format!("MCP {version}: {found}: {text}"))
}

/// Whether a method is of this revision; none if it is of no revision at all.
pub(crate) fn knows(version: ProtocolVersion, method: &str) -> Option<bool> {
    let mut of_any = SCHEMAS.iter().filter(|it| it.methods.contains_key(method)).peekable();
    of_any.peek()?;
    Some(of_any.any(|it| it.version == version))
}

const MODERN: ProtocolVersion = ProtocolVersion::V2026_07_28;

/// The answers of 2026-07-28, each of which may be a question.
fn modern_response(to: &str) -> Option<&'static str> {
    Some(match to {
        "completion/complete" => "CompleteResultResponse",
        "prompts/get" => "GetPromptResultResponse",
        "prompts/list" => "ListPromptsResultResponse",
        "resources/list" => "ListResourcesResultResponse",
        "resources/read" => "ReadResourceResultResponse",
        "resources/templates/list" => "ListResourceTemplatesResultResponse",
        "server/discover" => "DiscoverResultResponse",
        "subscriptions/listen" => "SubscriptionsListenResultResponse",
        "tools/call" => "CallToolResultResponse",
        "tools/list" => "ListToolsResultResponse",
        _ => return None,
    })
}

impl Schema {
    fn load(version: ProtocolVersion) -> Self {
        let file = format!("../../fixtures/schema/{version}.json");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let mut whole: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let place = if whole["$defs"].is_object() { "$defs" } else { "definitions" };
        let Value::Object(definitions) = whole[place].take() else { panic!("no definitions") };
        let mut methods = HashMap::new();
        for (name, definition) in &definitions {
            if let Some(method) = definition["properties"]["method"]["const"].as_str() {
                methods.insert(method.to_owned(), name.clone());
            }
        }
        let dialect = whole["$schema"].take();
        Self { version, place, dialect, definitions, methods, validators: Mutex::default() }
    }

    fn said(&self, method: &str, message: &Value) -> Option<String> {
        let envelope =
            if message["id"].is_null() { "JSONRPCNotification" } else { "JSONRPCRequest" };
        match (self.methods.get(method), knows(self.version, method)) {
            (Some(definition), _) => {
                self.check(envelope, message).or_else(|| self.check(definition, message))
            }
            (None, None) => self.check(envelope, message),
            (None, Some(_)) => Some(format!("`{method}` is of another revision")),
        }
    }

    fn answer(&self, to: &str, task: bool, message: &Value) -> Option<String> {
        let pick = |names: [&'static str; 2]| {
            names.into_iter().find(|it| self.definitions.contains_key(*it)).unwrap()
        };
        if message.get("error").is_some() {
            return self.check(pick(["JSONRPCErrorResponse", "JSONRPCError"]), message);
        }
        let envelope = pick(["JSONRPCResultResponse", "JSONRPCResponse"]);
        if let Some(response) = modern_response(to).filter(|_| self.version == MODERN) {
            return self.check(response, message);
        }
        let result = match to {
            _ if task => "CreateTaskResult",
            "completion/complete" => "CompleteResult",
            "elicitation/create" => "ElicitResult",
            "initialize" => "InitializeResult",
            "logging/setLevel" | "ping" | "resources/subscribe" | "resources/unsubscribe" => {
                "EmptyResult"
            }
            "prompts/get" => "GetPromptResult",
            "prompts/list" => "ListPromptsResult",
            "resources/list" => "ListResourcesResult",
            "resources/read" => "ReadResourceResult",
            "resources/templates/list" => "ListResourceTemplatesResult",
            "roots/list" => "ListRootsResult",
            "sampling/createMessage" => "CreateMessageResult",
            "tasks/cancel" => "CancelTaskResult",
            "tasks/get" => "GetTaskResult",
            "tasks/list" => "ListTasksResult",
            "tasks/result" => "GetTaskPayloadResult",
            "tools/call" => "CallToolResult",
            "tools/list" => "ListToolsResult",
            _ => "Result",
        };
        self.check(envelope, message).or_else(|| self.check(result, &message["result"]))
    }

    fn check(&self, name: &str, shown: &Value) -> Option<String> {
        let validator = self.validator(name);
        let mut errors = validator.iter_errors(shown);
        let first = errors.next()?;
        Some(format!("no {name}: {first} at {}", first.instance_path()))
    }

    fn validator(&self, name: &str) -> Arc<Validator> {
        let mut validators = self.validators.lock().unwrap();
        let validator = validators.entry(name.to_owned()).or_insert_with(|| {
            let mut needed = BTreeSet::new();
            self.needs(name, &mut needed);
            let definitions: Map<String, Value> =
                needed.into_iter().map(|it| (it.clone(), self.definitions[&it].clone())).collect();
            let mut schema = json!({ "$schema": self.dialect });
            schema[self.place] = Value::Object(definitions);
            schema["$ref"] = json!(format!("#/{}/{name}", self.place));
            Arc::new(jsonschema::validator_for(&schema).unwrap())
        });
        Arc::clone(validator)
    }

    /// A definition and all that it refers to: a validator of everything takes long to make.
    fn needs(&self, name: &str, needed: &mut BTreeSet<String>) {
        if !needed.insert(name.to_owned()) {
            return;
        }
        let text = self.definitions[name].to_string();
        let reference = format!(r##""$ref":"#/{}/"##, self.place);
        for rest in text.split(&*reference).skip(1) {
            let of = rest.split('"').next().unwrap();
            self.needs(of, needed);
        }
    }
}

#[test]
fn schemas_know_their_own() {
    use ProtocolVersion as V;
    let form = r#"{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{"message":"m","requestedSchema":{"type":"object","properties":{}}}}"#;
    let said = Role::Said("elicitation/create");
    assert_eq!(complaint(V::V2025_06_18, form, said), None);
    assert!(complaint(V::V2025_03_26, form, said).unwrap().contains("another revision"));
    assert!(complaint(V::V2025_11_25, &form.replace("message", "m"), said).is_some());
    let link = r#"{"jsonrpc":"2.0","id":1,"result":{"n":1e400,"content":[{"type":"resource_link","name":"a","uri":"x:/"}]}}"#;
    let answer = Role::Answer { to: "tools/call", task: false };
    assert_eq!(complaint(V::V2025_06_18, link, answer), None);
    assert!(complaint(V::V2024_11_05, link, answer).is_some());
    assert_eq!(
        (knows(V::V2024_11_05, "tasks/get"), knows(V::V2024_11_05, "x/y")),
        (Some(false), None)
    );
}
