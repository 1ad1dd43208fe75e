//! References in string values: `${VAR}`, `${VAR:-default}`, `${env:VAR}`, `${file:path}`, `$$`.
//!
//! Done after parsing, so a value with a quote in it breaks nothing, and only in values that are
//! read. What came in stays invisible: see [`Text::shown`].

use std::{env::VarError, path::Path};

use crate::{env::Env, secret::Text};

/// Why a reference cannot be replaced.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) what: String,
    pub(crate) help: Option<String>,
}

/// Replaces the references of `raw`. `bare`: `$VAR` counts too, as it does in TBXark's files.
///
/// A `$` that begins nothing stays.
pub(crate) fn substitute(raw: &str, env: &dyn Env, bare: bool) -> Result<Text, Fault> {
    let (mut value, mut shown, mut variables) = (String::new(), String::new(), Vec::new());
    let mut rest = raw;
    while let Some((before, after)) = rest.split_once('$') {
        value.push_str(before);
        shown.push_str(before);
        rest = after;
        let reference = if let Some(after) = rest.strip_prefix('$') {
            rest = after;
            None
        } else if let Some(after) = rest.strip_prefix('{') {
            let (inside, after) = after.split_once('}').ok_or_else(|| {
                fault("`${` without its `}`", "write `$${` for these two characters themselves")
            })?;
            rest = after;
            Some(inside)
        } else {
            let len = if bare { name_len(rest) } else { 0 };
            let (name, after) = rest.split_at_checked(len).unwrap_or_default();
            if len > 0 {
                rest = after;
            }
            (len > 0).then_some(name)
        };
        match reference {
            None => {
                value.push('$');
                shown.push('$');
            }
            Some(inside) => {
                let (found, name) = resolve(inside, env)?;
                value.push_str(&found);
                shown.push_str(&name);
                variables.push(name);
            }
        }
    }
    value.push_str(rest);
    shown.push_str(rest);
    Ok(Text::apart(value, shown, variables))
}

/// What stands for the inside of `${…}`, and how the reference is shown (without its default,
/// which may be a secret too).
fn resolve(inside: &str, env: &dyn Env) -> Result<(String, String), Fault> {
    if let Some(path) = inside.strip_prefix("file:") {
        return Ok((file(path, env)?, format!("${{file:{path}}}")));
    }
    if inside.starts_with("input:") {
        let help = "there is nobody to ask here: use ${VAR} or ${file:path}";
        return Err(fault(&format!("${{{inside}}} asks a person"), help));
    }
    if inside.starts_with("cmd:") {
        let help = "commands are not run from here: use ${VAR} or ${file:path}";
        return Err(fault(&format!("${{{inside}}} would run a command"), help));
    }
    let (name, default) = match inside.strip_prefix("env:").unwrap_or(inside).split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside.strip_prefix("env:").unwrap_or(inside), None),
    };
    if name.is_empty() || name_len(name) != name.len() {
        let help = "known are ${VAR}, ${VAR:-default}, ${env:VAR}, ${file:path}, and $$ for a $";
        return Err(fault(&format!("${{{name}…}} is not a reference"), help));
    }
    let shown = format!("${{{name}}}");
    match (env.var(name), default) {
        // As in the shell, an empty variable gives way to `:-`.
        (Ok(value), Some(default)) if value.is_empty() => Ok((default.to_owned(), shown)),
        (Ok(value), _) => Ok((value, shown)),
        (Err(VarError::NotPresent), Some(default)) => Ok((default.to_owned(), shown)),
        (Err(VarError::NotPresent), None) => Err(missing(name)),
        (Err(VarError::NotUnicode(_)), _) => {
            Err(Fault { what: format!("the variable {name} is not UTF-8"), help: None })
        }
    }
}

fn missing(name: &str) -> Fault {
    let what = format!("the variable {name} is not set");
    let help = match name {
        "workspaceFolder" | "userHome" | "workspaceFolderBasename" => {
            "this one is an editor's: write the path itself, or ${HOME}".to_owned()
        }
        _ => format!("set it, or give a default: ${{{name}:-…}}; write `$$` for a `$` itself"),
    };
    Fault { what, help: Some(help) }
}

fn file(path: &str, env: &dyn Env) -> Result<String, Fault> {
    let full = env.base().join(Path::new(path));
    let mut text = env.read(&full).map_err(|error| {
        let what = format!("cannot read {} for ${{file:{path}}}: {error}", full.display());
        Fault { what, help: None }
    })?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// How many bytes at the beginning are a variable's name.
fn name_len(text: &str) -> usize {
    let starts = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let goes_on = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    if !text.bytes().next().is_some_and(starts) {
        return 0;
    }
    text.bytes().take_while(goes_on).count()
}

fn fault(what: &str, help: &str) -> Fault {
    Fault { what: what.to_owned(), help: Some(help.to_owned()) }
}

#[cfg(test)]
mod tests;
