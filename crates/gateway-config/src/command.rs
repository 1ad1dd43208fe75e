//! Commands: a whole command line is split, what only a shell understands is refused, and what
//! looks like a password does not show.

use std::path::Path;

use crate::{
    env::Env,
    names,
    secret::{MASK, Text},
    server::Stdio,
    substitute::Fault,
    url,
};

/// Programs that start something else, which is what the server should be called after.
const LAUNCHERS: &[&str] = &[
    "bun", "bunx", "deno", "docker", "env", "node", "npm", "npx", "pipx", "pnpm", "pnpx", "podman",
    "python", "python3", "sh", "bash", "uv", "uvx", "yarn",
];

/// Words between a launcher and what it starts.
const STEPS: &[&str] = &["dlx", "exec", "run", "tool", "x"];

/// Launchers' flags that are followed by a value.
const VALUED: &[&str] = &[
    "--env",
    "--from",
    "--mount",
    "--name",
    "--network",
    "--package",
    "--publish",
    "--user",
    "--volume",
    "--with",
    "--workdir",
    "-e",
    "-p",
    "-u",
    "-v",
    "-w",
];

/// Flags whose value is nobody's business.
const SECRET_FLAGS: &[&str] =
    &["api-key", "apikey", "auth", "key", "passphrase", "password", "pat", "secret", "token"];

/// Makes a process of `command` and `args`, and says what it did to them.
///
/// Secrets that look like ones are masked in what is shown.
pub(crate) fn read(
    command: Text,
    args: Vec<Text>,
    env: &dyn Env,
) -> Result<(Stdio, Option<String>), Fault> {
    let line = command.expose().trim().to_owned();
    if line.is_empty() {
        return Err(Fault { what: "the command is empty".to_owned(), help: None });
    }
    if line == "~" || line.starts_with("~/") {
        let help = "there is no shell here that replaces `~`: write ${HOME}/…".to_owned();
        return Err(Fault { what: "not a path".to_owned(), help: Some(help) });
    }
    let whole = !line.contains(char::is_whitespace) || exists(&line, env);
    if whole || !args.is_empty() {
        let note = (!whole).then(|| {
            "holds spaces, `args` are given too, and there is no such file: it is run as one name"
                .to_owned()
        });
        return Ok((Stdio::new(trimmed(command), mask(args)), note));
    }
    if needs_shell(command.shown()) {
        let shown = format!("{:?}", masked_line(command.shown()));
        let help = format!(
            "there is no shell here; to have one: \"command\": \"sh\", \"args\": [\"-c\", {shown}]"
        );
        return Err(Fault { what: "only a shell understands this".to_owned(), help: Some(help) });
    }
    let unbalanced = || Fault {
        what: "a quote in this command line is not closed".to_owned(),
        help: Some("write the program in `command` and its arguments in `args`".to_owned()),
    };
    let words = split(&line).ok_or_else(unbalanced)?;
    // What a variable brought in may split differently; then nothing of it is shown.
    let shown = split(command.shown()).filter(|shown| shown.len() == words.len());
    let mut words = words.into_iter().enumerate().map(|(at, word)| {
        let shown = shown.as_ref().map_or(Some(MASK), |it| it.get(at).map(String::as_str));
        Text::apart(word, shown.unwrap_or(MASK), command.variables().to_vec())
    });
    let program = words.next().ok_or_else(unbalanced)?;
    let stdio = Stdio::new(program, mask(words.collect()));
    let args: Vec<String> = stdio.args.iter().map(|arg| format!("{:?}", arg.shown())).collect();
    let note = format!(
        "a whole command line, read as \"command\": {:?}, \"args\": [{}]",
        stdio.program.shown(),
        args.join(", ")
    );
    Ok((Stdio { split_from: Some(command), ..stdio }, Some(note)))
}

fn trimmed(command: Text) -> Text {
    let (value, shown) = (command.expose().trim(), command.shown().trim());
    Text::apart(value, shown, command.variables().to_vec())
}

fn exists(line: &str, env: &dyn Env) -> bool {
    env.exists(&env.base().join(Path::new(line)))
}

fn split(line: &str) -> Option<Vec<String>> {
    // On Windows a backslash is part of a path, and escapes nothing.
    if cfg!(windows) { shlex::split(&line.replace('\\', "\\\\")) } else { shlex::split(line) }
}

/// Whether there is something unquoted that a shell acts on.
fn needs_shell(line: &str) -> bool {
    let (mut single, mut double) = (false, false);
    let mut chars = line.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\'' if !double => single = !single,
            '"' if !single => double = !double,
            _ if single => {}
            '\\' => drop(chars.next()),
            '`' => return true,
            '$' if chars.peek() == Some(&'(') => return true,
            '|' | '&' | ';' | '<' | '>' | '\n' if !double => return true,
            _ => {}
        }
    }
    false
}

/// Hides what looks like a secret: passwords in URLs, values of `--token` and its like, of
/// `--header` and `-e NAME=`.
pub(crate) fn mask(args: Vec<Text>) -> Vec<Text> {
    let mut before = String::new();
    let mut out = Vec::with_capacity(args.len());
    for arg in args {
        let shown = masked(&before, arg.shown());
        before = arg.shown().to_owned();
        out.push(arg.show_as(shown));
    }
    out
}

/// A command line that cannot be split, masked word by word.
fn masked_line(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let before = std::iter::once(&"").chain(&words);
    words
        .iter()
        .zip(before)
        .map(|(word, before)| masked(before, word))
        .collect::<Vec<_>>()
        .join(" ")
}

fn masked(before: &str, arg: &str) -> String {
    let is_secret = |flag: &str| {
        let flag = flag.to_ascii_lowercase().replace('_', "-");
        let name = flag.trim_start_matches('-');
        SECRET_FLAGS.iter().any(|word| name == *word || name.ends_with(&format!("-{word}")))
    };
    // A reference hides itself, and tells more than asterisks.
    let hide = |value: &str| if value.contains("${") { value.to_owned() } else { MASK.to_owned() };
    if before.starts_with('-') && !before.contains('=') && !arg.starts_with('-') {
        if is_secret(before) {
            return hide(arg);
        }
        let separator = match before {
            "--header" | "-H" => Some(':'),
            "--env" | "-e" => Some('='),
            _ => None,
        };
        if let Some((name, value)) = separator.and_then(|it| arg.split_once(it)) {
            return format!("{name}{}{}", separator.unwrap_or(' '), hide(value));
        }
    }
    match arg.split_once('=') {
        Some((flag, value)) if is_secret(flag) => format!("{flag}={}", hide(value)),
        Some((flag, value)) if flag.starts_with('-') => format!("{flag}={}", url::mask(value)),
        _ => url::mask(arg),
    }
}

/// What to call a server that was given as a command alone.
pub(crate) fn name(stdio: &Stdio) -> String {
    let program = base(stdio.program.expose());
    if !LAUNCHERS.contains(&program) {
        return names::sanitize(strip(program));
    }
    let mut args = stdio.args.iter().map(Text::expose);
    while let Some(arg) = args.next() {
        if VALUED.contains(&arg) {
            args.next();
        } else if !arg.starts_with('-') && !STEPS.contains(&arg) {
            return names::sanitize(strip(base(arg)));
        }
    }
    names::sanitize(program)
}

fn base(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// `mcp-server-fetch@2025.4.7` → `fetch`.
fn strip(name: &str) -> &str {
    let name = name.split(['@', '=', ':']).find(|part| !part.is_empty()).unwrap_or(name);
    let mut name = name;
    for ending in [".exe", ".cmd", ".js", ".mjs", ".cjs", ".ts", ".py", ".sh"] {
        name = name.strip_suffix(ending).unwrap_or(name);
    }
    let mut bare = name;
    for beginning in ["mcp-server-", "mcp_server_", "server-", "mcp-"] {
        bare = bare.strip_prefix(beginning).unwrap_or(bare);
    }
    for ending in ["-mcp-server", "-server", "-mcp", "_mcp"] {
        bare = bare.strip_suffix(ending).unwrap_or(bare);
    }
    if bare.is_empty() { name } else { bare }
}

#[cfg(test)]
mod tests;
