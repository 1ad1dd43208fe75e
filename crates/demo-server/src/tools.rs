//! Tools: what each does when it is called.

mod catalogue;

use std::{sync::atomic::Ordering, time::Duration};

use mcp_jsonrpc::{Message, ProtocolVersion, RpcError, params::CallTool};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json, value::RawValue};

pub(crate) use self::catalogue::list;
use crate::{
    call::{Call, Unanswered},
    content::{PNG, WAV, text},
    resources::NOTE,
    revision::{ELICITATION, RESULT, fit},
    state::LEVELS,
};

/// Why a tool has no result.
enum Fault {
    /// Its arguments are wrong.
    Arguments(String),
    /// It did not succeed.
    Failed(String),
    /// The call fails as a whole.
    Rpc(RpcError),
    /// A question has to be answered first: its key, and what is asked.
    Asks(&'static str, Value),
}

type Outcome = Result<Value, Fault>;

/// Calls the tool a message names.
pub(crate) async fn call(call: &Call, message: &Message) -> Result<Value, RpcError> {
    let params: CallTool<'_> = crate::session::read(message)?;
    let name = params.name.as_ref();
    if !catalogue::has(name, call.version, call.session.world().extra) {
        return Err(RpcError::new(RpcError::INVALID_PARAMS, format!("no tool `{name}`")));
    }
    let failed = |what: String| json!({ "content": [text(what)], "isError": true });
    match run(call, name, params.arguments).await {
        Ok(result) => Ok(fit(result, RESULT, call.version)),
        Err(Fault::Failed(what)) => Ok(failed(what)),
        // From 2025-11-25 a model is to see what was wrong, and try again (SEP-1303).
        Err(Fault::Arguments(what)) if ProtocolVersion::V2025_11_25 <= call.version => {
            Ok(failed(what))
        }
        Err(Fault::Arguments(what)) => Err(RpcError::new(RpcError::INVALID_PARAMS, what)),
        Err(Fault::Rpc(error)) => Err(error),
        Err(Fault::Asks(key, question)) => asks(call, message, key, question),
    }
}

/// A question in the place of a result.
fn asks(call: &Call, message: &Message, key: &str, question: Value) -> Result<Value, RpcError> {
    let state = call.session.place.0.modern.asked.remember(message).ok_or_else(|| {
        RpcError::new(RpcError::INTERNAL, "there is no randomness for a `requestState`")
    })?;
    Ok(json!({
        "resultType": "input_required",
        "inputRequests": { key: question },
        "requestState": state,
    }))
}

async fn run(call: &Call, name: &str, arguments: Option<&RawValue>) -> Outcome {
    match name {
        "echo" => echo(&read(arguments)?),
        "add" => add(&read(arguments)?),
        "count" => count(call),
        "progress" => progress(call, &read(arguments)?).await,
        "sleep" => sleep(call, &read(arguments)?).await,
        "log" => log(call, read(arguments)?).await,
        "blob" => blob(call, &read(arguments)?),
        "fail" => Err(Fault::Failed("This tool always fails.".to_owned())),
        "raise" => Err(raise(read(arguments)?)),
        "image" => Ok(json!({ "content": [image()] })),
        "audio" => Ok(json!({ "content": [audio()] })),
        "resource-link" => Ok(json!({ "content": [text("See this note:"), link()] })),
        "toggle" => toggle(call, &read(arguments)?),
        "touch" => touch(call, &read(arguments)?),
        "ask-elicitation" => ask_elicitation(call).await,
        "ask-sampling" => ask_sampling(call, &read(arguments)?).await,
        "ask-roots" => ask_roots(call).await,
        "extra" => Ok(said("There since `toggle` was called.")),
        _ => Err(Fault::Failed(format!("`{name}` is listed, but does nothing"))),
    }
}

fn read<T: DeserializeOwned>(arguments: Option<&RawValue>) -> Result<T, Fault> {
    let arguments = arguments.map_or("{}", RawValue::get);
    serde_json::from_str(arguments)
        .map_err(|error| Fault::Arguments(format!("wrong arguments: {error}")))
}

fn said(what: impl Into<String>) -> Value {
    json!({ "content": [text(what)] })
}

// === Tools that answer ===

#[derive(Deserialize)]
struct Echo {
    message: String,
}

fn echo(arguments: &Echo) -> Outcome {
    Ok(said(arguments.message.as_str()))
}

#[derive(Deserialize)]
struct Add {
    a: serde_json::Number,
    b: serde_json::Number,
}

fn add(Add { a, b }: &Add) -> Outcome {
    let whole = a.as_i64().zip(b.as_i64()).and_then(|(a, b)| a.checked_add(b)).map(Into::into);
    let real = || serde_json::Number::from_f64(a.as_f64()? + b.as_f64()?);
    let sum: Option<serde_json::Number> = whole.or_else(real);
    let sum = sum.ok_or_else(|| Fault::Failed("the sum is too large".to_owned()))?;
    Ok(json!({ "content": [text(sum.to_string())], "structuredContent": { "sum": sum } }))
}

fn count(call: &Call) -> Outcome {
    let count = call.session.place.0.counted.fetch_add(1, Ordering::Relaxed) + 1;
    Ok(json!({ "content": [text(count.to_string())], "structuredContent": { "count": count } }))
}

#[derive(Deserialize)]
struct Blob {
    len: usize,
}

fn blob(call: &Call, arguments: &Blob) -> Outcome {
    let max = call.session.options().blob_len_max;
    if max < arguments.len {
        return Err(Fault::Arguments(format!("`len` is at most {max}")));
    }
    Ok(said("0123456789abcdef".chars().cycle().take(arguments.len).collect::<String>()))
}

fn image() -> Value {
    json!({ "type": "image", "data": PNG, "mimeType": "image/png" })
}

fn audio() -> Value {
    json!({ "type": "audio", "data": WAV, "mimeType": "audio/wav" })
}

fn link() -> Value {
    json!({ "type": "resource_link", "uri": NOTE, "name": "note", "mimeType": "text/plain" })
}

// === Tools that take time, or say something before they answer ===

#[derive(Deserialize)]
struct Steps {
    steps: u32,
    #[serde(default)]
    ms: u64,
}

async fn progress(call: &Call, arguments: &Steps) -> Outcome {
    let pause = duration(call, arguments.ms.saturating_mul(arguments.steps.into()))?
        .checked_div(arguments.steps)
        .unwrap_or_default();
    for step in 1..=arguments.steps {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        call.progress(step, arguments.steps).await;
    }
    Ok(said(format!("{} steps done", arguments.steps)))
}

#[derive(Deserialize)]
struct Sleep {
    ms: u64,
}

async fn sleep(call: &Call, arguments: &Sleep) -> Outcome {
    tokio::time::sleep(duration(call, arguments.ms)?).await;
    Ok(said(format!("slept {} ms", arguments.ms)))
}

fn duration(call: &Call, ms: u64) -> Result<Duration, Fault> {
    let max = call.session.options().duration_max;
    let duration = Duration::from_millis(ms);
    if max < duration {
        return Err(Fault::Arguments(format!("at most {} ms in all", max.as_millis())));
    }
    Ok(duration)
}

#[derive(Deserialize)]
struct Log {
    level: String,
    message: String,
    #[serde(default = "one")]
    times: u32,
}

async fn log(call: &Call, arguments: Log) -> Outcome {
    let Log { level, message, times } = arguments;
    let rank = LEVELS.iter().position(|name| **name == level);
    let rank = rank.ok_or_else(|| Fault::Arguments(format!("`{level}` is no level")))?;
    let mut logged = 0;
    for _ in 0..times {
        logged += u32::from(call.log(rank, &json!(message)).await);
    }
    Ok(said(format!("logged {logged} times")))
}

// === Tools that fail ===

#[derive(Deserialize)]
struct Raise {
    #[serde(default = "demo_code")]
    code: i32,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    data: Option<Value>,
}

fn raise(arguments: Raise) -> Fault {
    let message = arguments.message.unwrap_or_else(|| "raised on request".to_owned());
    let data = arguments.data.unwrap_or_else(|| json!({ "tool": "raise" }));
    Fault::Rpc(RpcError::new(arguments.code, message).with_data(&data))
}

/// An error code that no specification has taken.
fn demo_code() -> i32 {
    4001
}

// === Tools that change what the server offers ===

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Toggled {
    #[default]
    Tool,
    Prompt,
    Resource,
}

#[derive(Deserialize)]
struct Toggle {
    #[serde(default)]
    what: Toggled,
}

fn toggle(call: &Call, arguments: &Toggle) -> Outcome {
    let mut world = call.session.world();
    let (there, method) = match arguments.what {
        Toggled::Tool => (&mut world.extra.tool, "notifications/tools/list_changed"),
        Toggled::Prompt => (&mut world.extra.prompt, "notifications/prompts/list_changed"),
        Toggled::Resource => (&mut world.extra.resource, "notifications/resources/list_changed"),
    };
    *there = !*there;
    let says = if *there { "`extra` is there" } else { "`extra` is gone" };
    drop(world);
    call.session.announce(method, &json!({}));
    Ok(said(says))
}

#[derive(Deserialize)]
struct Touch {
    #[serde(default = "one")]
    times: u32,
}

fn touch(call: &Call, arguments: &Touch) -> Outcome {
    const TIMES_MAX: u32 = 100_000;
    if TIMES_MAX < arguments.times {
        return Err(Fault::Arguments(format!("`times` is at most {TIMES_MAX}")));
    }
    let touched = (0..arguments.times).fold(0, |_, _| call.session.touch(NOTE));
    Ok(said(format!("`{NOTE}` touched {touched} times")))
}

fn one() -> u32 {
    1
}

// === Tools that ask ===

async fn ask_elicitation(call: &Call) -> Outcome {
    let can = call.session.state().can.elicitation;
    declared(call, can, "elicitation of forms", &json!({ "elicitation": { "form": {} } }))?;
    let schema = json!({
        "type": "object",
        "properties": {
            "name": { "type": "string", "title": "Name", "description": "What to call you" },
            "age": { "type": "integer", "minimum": 0, "maximum": 150 },
            "colour": { "type": "string", "enum": ["red", "green", "blue"] },
            "sure": { "type": "boolean", "default": false },
        },
        "required": ["name"],
    });
    let params = json!({ "mode": "form", "message": "Who are you?", "requestedSchema": schema });
    let params = fit(params, ELICITATION, call.version);
    let answer = ask(call, "elicitation/create", &params).await?;
    match answer.get("action").and_then(Value::as_str) {
        Some("accept") => {
            let content = answer.get("content").cloned().unwrap_or_default();
            Ok(said(format!("accepted: {content}")))
        }
        Some("decline") => Ok(said("declined")),
        Some("cancel") => Ok(said("cancelled")),
        _ => Err(garbled()),
    }
}

#[derive(Deserialize)]
struct Sampling {
    #[serde(default)]
    prompt: Option<String>,
}

async fn ask_sampling(call: &Call, arguments: &Sampling) -> Outcome {
    let can = call.session.state().can.sampling;
    declared(call, can, "sampling", &json!({ "sampling": {} }))?;
    let prompt = arguments.prompt.as_deref().unwrap_or("Say hello.");
    let params = json!({
        "messages": [{ "role": "user", "content": text(prompt) }],
        "systemPrompt": "You are brief.",
        "maxTokens": 100,
    });
    let answer = ask(call, "sampling/createMessage", &params).await?;
    let model = answer.get("model").and_then(Value::as_str).ok_or_else(garbled)?;
    // From 2025-11-25 there may be several pieces.
    let content = match answer.get("content").ok_or_else(garbled)? {
        Value::Array(pieces) => pieces.clone(),
        piece => vec![piece.clone()],
    };
    let texts = content.iter().filter_map(|piece| piece.get("text")?.as_str());
    Ok(said(format!("{model} said: {}", texts.collect::<Vec<_>>().join(" "))))
}

async fn ask_roots(call: &Call) -> Outcome {
    let can = call.session.state().can.roots;
    declared(call, can, "roots", &json!({ "roots": {} }))?;
    let answer = ask(call, "roots/list", &json!({})).await?;
    let roots = answer.get("roots").and_then(Value::as_array).ok_or_else(garbled)?;
    let uris: Vec<_> = roots.iter().filter_map(|root| root.get("uri")?.as_str()).collect();
    Ok(said(format!("{} roots: {}", uris.len(), uris.join(" "))))
}

async fn ask(call: &Call, method: &'static str, params: &Value) -> Outcome {
    call.ask(method, params).await.map_err(|unanswered| match unanswered {
        Unanswered::Refused(error) => {
            Fault::Failed(format!("the client refused: {} ({})", error.message, error.code))
        }
        Unanswered::Late => Fault::Failed("the client did not answer in time".to_owned()),
        Unanswered::Garbled => garbled(),
        Unanswered::Open(key, question) => Fault::Asks(key, question),
        Unanswered::Stale(error) => Fault::Rpc(error),
    })
}

/// Nobody is asked for what he did not offer.
fn declared(call: &Call, can: bool, what: &str, needed: &Value) -> Result<(), Fault> {
    if can {
        return Ok(());
    }
    if call.version == ProtocolVersion::V2026_07_28 {
        let words = format!("this tool needs {what} of its client");
        let error = RpcError::new(RpcError::MISSING_CLIENT_CAPABILITY, words);
        return Err(Fault::Rpc(error.with_data(&json!({ "requiredCapabilities": needed }))));
    }
    Err(Fault::Failed(format!("the client did not declare {what} when it initialized")))
}

fn garbled() -> Fault {
    Fault::Failed("the client's answer is none".to_owned())
}
