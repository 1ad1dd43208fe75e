//! Starts an MCP server as a supervised child and prints the names of its tools:
//! `cargo run -p transport-stdio --example tools -- npx -y @modelcontextprotocol/server-memory`.

use std::{
    error::Error,
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use mcp_jsonrpc::{
    Id, Message,
    transport::{Caller, Exchange, Reply, Session},
};
use serde_json::{Value, json};
use transport_stdio::{
    client::{Process, Spawn},
    supervise::{self, Supervisor},
};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1).peekable();
    // First of all: this program is its own supervisor.
    if args.next_if(|arg| arg == "__supervise").is_some() {
        return supervise::main();
    }
    let Some(program) = args.next() else {
        complain("want a server: its program and its arguments");
        return ExitCode::from(64);
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.map(|runtime| runtime.block_on(run(program, args.collect()))) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

async fn run(program: OsString, args: Vec<OsString>) -> Result<(), Box<dyn Error>> {
    let mut spawn = Spawn::new("server", program);
    spawn.args = args;
    spawn.supervisor = Some(Supervisor::this_program("__supervise")?);
    let server = spawn.start().await?;

    let client = json!({ "name": "tools", "version": "1" });
    let hello =
        json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client });
    ask(&server, "initialize", &hello).await?;
    let ready = Message::notification("notifications/initialized", &json!({}))?;
    server.send(Exchange::new(ready, Caller::anonymous())).await?;
    let tools: Value = serde_json::from_str(&ask(&server, "tools/list", &json!({})).await?)?;
    for tool in tools.get("tools").and_then(Value::as_array).into_iter().flatten() {
        let name = tool.get("name").and_then(Value::as_str);
        writeln!(io::stdout(), "{}", name.unwrap_or("(without a name)"))?;
    }
    server.close().await;
    Ok(())
}

async fn ask(server: &Process, method: &str, params: &Value) -> Result<String, Box<dyn Error>> {
    let request = Message::request(&Id::from(method), method, params)?;
    match server.send(Exchange::new(request, Caller::anonymous())).await? {
        Reply::Single(answer) if answer.is_answer() => {
            Ok(answer.body().unwrap_or_default().to_owned())
        }
        other => Err(format!("{method}: {other:?}").into()),
    }
}

fn complain(what: &str) {
    // Where not even this can be said, the exit code has to do.
    writeln!(io::stderr(), "tools: {what}").ok();
}
