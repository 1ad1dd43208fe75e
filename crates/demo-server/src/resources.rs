//! Resources, their templates, and who wants to hear of them.

use std::borrow::Cow;

use mcp_jsonrpc::{Message, ProtocolVersion, RpcError, params::Resource};
use serde_json::{Value, json};

use crate::{
    completion,
    content::{PNG, icons},
    page::Paged,
    revision::{ANNOTATIONS, LISTED, fit},
    session::read as params,
    state::Inner,
};

/// What the tool `touch` changes, and `resources/updated` is about.
pub(crate) const NOTE: &str = "demo://note";
const LICENCE: &str = "demo://licence";
const PIXEL: &str = "demo://pixel.png";
const BUNDLE: &str = "demo://bundle";
/// Comes and goes with the tool `toggle`.
const EXTRA: &str = "demo://extra";

/// Numbers are resources from one to this.
pub(crate) const NUMBER_MAX: u32 = 1000;

pub(crate) fn list(
    session: &Inner,
    version: ProtocolVersion,
    message: &Message,
) -> Result<Value, RpcError> {
    let mut entries = vec![
        (NOTE, "note", "Note", "Changes when `touch` is called", "text/plain"),
        (LICENCE, "licence", "Licence", "What may be done with this", "text/markdown"),
        (PIXEL, "pixel.png", "Pixel", "An image of one pixel", "image/png"),
        (BUNDLE, "bundle", "Bundle", "A text and an image in one", "multipart/mixed"),
    ];
    if session.world().extra.resource {
        entries.push((EXTRA, "extra", "Extra", "There since `toggle` was called", "text/plain"));
    }
    let entries = entries.into_iter().map(|(uri, name, title, description, mime_type)| {
        let annotations = json!({
            "audience": ["user", "assistant"],
            "priority": 0.5,
            "lastModified": "2025-11-25T00:00:00Z",
        });
        let entry = json!({
            "uri": uri,
            "name": name,
            "title": title,
            "description": description,
            "mimeType": mime_type,
            "annotations": fit(annotations, ANNOTATIONS, version),
            "icons": icons(),
        });
        fit(entry, LISTED, version)
    });
    params::<Paged>(message)?.of("resources", entries.collect(), session.options().page_len_max)
}

pub(crate) fn templates(
    session: &Inner,
    version: ProtocolVersion,
    message: &Message,
) -> Result<Value, RpcError> {
    let entries = [
        ("demo://number/{n}", "number", "Number", "A number from 1 to 1000, in words of one digit"),
        ("demo://greeting/{language}/{name}", "greeting", "Greeting", "A greeting to somebody"),
    ];
    let entries = entries.into_iter().map(|(template, name, title, description)| {
        let entry = json!({
            "uriTemplate": template,
            "name": name,
            "title": title,
            "description": description,
            "mimeType": "text/plain",
            "icons": icons(),
        });
        fit(entry, LISTED, version)
    });
    let page_len_max = session.options().page_len_max;
    params::<Paged>(message)?.of("resourceTemplates", entries.collect(), page_len_max)
}

pub(crate) fn read(
    session: &Inner,
    _: ProtocolVersion,
    message: &Message,
) -> Result<Value, RpcError> {
    let uri = params::<Resource<'_>>(message)?.uri;
    let contents = contents(session, &uri).ok_or_else(|| not_found(&uri))?;
    Ok(json!({ "contents": contents }))
}

pub(crate) fn subscribe(
    session: &Inner,
    _: ProtocolVersion,
    message: &Message,
) -> Result<Value, RpcError> {
    let uri = params::<Resource<'_>>(message)?.uri;
    contents(session, &uri).ok_or_else(|| not_found(&uri))?;
    let max = session.options().subscription_count_max;
    let mut state = session.state();
    if max <= state.subscribed.len() && !state.subscribed.contains(uri.as_ref()) {
        let what = format!("at most {max} resources can be subscribed to");
        return Err(RpcError::new(RpcError::INTERNAL, what));
    }
    state.subscribed.insert(uri.into());
    Ok(json!({}))
}

pub(crate) fn unsubscribe(
    session: &Inner,
    _: ProtocolVersion,
    message: &Message,
) -> Result<Value, RpcError> {
    let uri = params::<Resource<'_>>(message)?.uri;
    session.state().subscribed.remove(uri.as_ref());
    Ok(json!({}))
}

/// Whether there is, or may be, such a resource.
pub(crate) fn exists(uri: &str) -> bool {
    [NOTE, LICENCE, PIXEL, BUNDLE, EXTRA].contains(&uri) || from_template(uri).is_some()
}

/// What a resource holds; none if there is no such resource.
fn contents(session: &Inner, uri: &str) -> Option<Value> {
    let text = |mime_type: &str, text: Cow<'_, str>| json!({ "uri": uri, "mimeType": mime_type, "text": text });
    let pixel = json!({ "uri": uri, "mimeType": "image/png", "blob": PNG });
    Some(match uri {
        NOTE => json!([text("text/plain", note(session).into())]),
        LICENCE => json!([text("text/markdown", "MIT *or* Apache-2.0, as you like.".into())]),
        PIXEL => json!([pixel]),
        BUNDLE => json!([text("text/plain", "A text beside an image.".into()), pixel]),
        EXTRA if session.world().extra.resource => json!([text("text/plain", "Extra.".into())]),
        _ => json!([text("text/plain", from_template(uri)?.into())]),
    })
}

/// The note, as it is after so many touches.
pub(crate) fn note(session: &Inner) -> String {
    let touched = session.world().touched.get(NOTE).copied().unwrap_or_default();
    format!("Touched {touched} times.")
}

fn from_template(uri: &str) -> Option<String> {
    if let Some(number) = uri.strip_prefix("demo://number/") {
        let number: u32 = number.parse().ok().filter(|n| (1..=NUMBER_MAX).contains(n))?;
        return Some(spell(number));
    }
    let (language, name) = uri.strip_prefix("demo://greeting/")?.split_once('/')?;
    let name = completion::NAMES.iter().find(|(of, it)| *of == language && *it == name)?.1;
    let (_, hello) = completion::LANGUAGES.iter().find(|(it, _)| *it == language)?;
    Some(format!("{hello}, {name}!"))
}

/// A number, digit by digit.
fn spell(number: u32) -> String {
    const DIGITS: [&str; 10] =
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    let digits = number.to_string();
    let words = digits.chars().filter_map(|digit| DIGITS.get(digit.to_digit(10)? as usize));
    words.copied().collect::<Vec<_>>().join(" ")
}

fn not_found(uri: &str) -> RpcError {
    RpcError::new(RpcError::RESOURCE_NOT_FOUND, "no such resource")
        .with_data(&json!({ "uri": uri }))
}
