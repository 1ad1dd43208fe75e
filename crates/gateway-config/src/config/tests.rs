//! Addresses, and configurations without a file.

use super::*;

#[track_caller]
fn listen(text: &str, expect: &str) {
    let shown = Listen::parse(text).map_or_else(|_| "no".to_owned(), |it| format!("{it:?}"));
    assert_eq!(shown, expect, "{text}");
}

#[test]
fn addresses() {
    listen("127.0.0.1:9090", "Tcp(127.0.0.1:9090)");
    listen("[::]:0", "Tcp([::]:0)");
    listen(":9090", "Any(9090)");
    listen("*:9090", "Any(9090)");
    listen("localhost:9090", "Name { host: \"localhost\", port: 9090 }");
    listen("unix:/run/x.sock", "Unix(\"/run/x.sock\")");
    listen("unix:///run/x.sock", "Unix(\"/run/x.sock\")");
    for bad in ["", "9090", "localhost", "h:65536", "http://h:1", "::1:80", "unix:", "a b:1"] {
        listen(bad, "no");
    }
}

#[test]
fn the_files_that_matter_are_noted() {
    let folder = std::env::temp_dir().join(format!("gateway-config-noted-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("gateway.json");
    let noted = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let (read, files) = Config::load_noting(&file);
        let names = files.iter().map(|it| it.file_name().unwrap().to_str().unwrap().to_owned());
        (read.is_ok(), names.collect::<Vec<_>>())
    };
    std::fs::write(folder.join("secret"), "some-long-token\n").unwrap();
    let whole = r#"{"gateway":{"tls":{"cert":"c.pem","key":"k.pem"},"tokens":{"me":"${file:secret}"}},
        "mcpServers":{"a":{"url":"https://h/sse","ca":"ca.pem"}, "b":{"command":"x","envFile":"e.env"}}}"#;
    // What could not be read is noted too: it may come.
    assert_eq!(
        noted(whole),
        (false, ["e.env", "gateway.json", "secret"].map(String::from).to_vec())
    );
    std::fs::write(folder.join("e.env"), "A=b\n").unwrap();
    let all = ["c.pem", "ca.pem", "e.env", "gateway.json", "k.pem", "secret"].map(String::from);
    assert_eq!(noted(whole), (true, all.to_vec()));
    assert_eq!(noted("{"), (false, vec!["gateway.json".to_owned()]));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn where_it_is_told_what_to_do() {
    let control = |text: &str| {
        let env = crate::FixedEnv { base: "/base".into(), ..Default::default() };
        let text = format!(r#"{{"gateway":{{{text}}},"mcpServers":{{}}}}"#);
        Config::parse(&text, &env).unwrap().control
    };
    assert_eq!(control(""), Control::Auto);
    assert_eq!(control(r#""control":"off""#), Control::Off);
    assert_eq!(control(r#""control":"c.sock""#), Control::At("/base/c.sock".into()));
}

#[test]
fn where_sessions_are_kept() {
    let state_dir = |text: &str| {
        let env = crate::FixedEnv { base: "/base".into(), ..Default::default() };
        let text = format!(r#"{{"gateway":{{{text}}},"mcpServers":{{}}}}"#);
        Config::parse(&text, &env).unwrap().state_dir
    };
    assert_eq!(state_dir(""), StateDir::Usual);
    assert_eq!(state_dir(r#""stateDir":"none""#), StateDir::None);
    assert_eq!(state_dir(r#""stateDir":"state""#), StateDir::At("/base/state".into()));
    assert_eq!(state_dir(r#""stateDir":"/s""#), StateDir::At("/s".into()));
}

#[test]
fn without_a_file() {
    let args = ["-y", "@modelcontextprotocol/server-filesystem@2026.1", "/tmp"].map(String::from);
    let config = Config::for_command("npx", &args).unwrap();
    let server = &config.servers["filesystem"];
    assert!(matches!(&server.upstream, Upstream::Stdio(stdio) if stdio.args.len() == 3));
    assert_eq!(config.check_exposure(), Ok(()));
    let config = Config::for_command("uvx mcp-server-time", &[]).unwrap();
    assert_eq!(config.servers.keys().collect::<Vec<_>>(), ["time"]);
    assert_eq!(config.notes.len(), 1);
    let error = Config::for_command("a | b", &[]).unwrap_err().to_string();
    assert!(error.starts_with("only a shell understands this\n    help: "), "{error}");
    assert_eq!(Config::demo().servers["demo"].upstream, Upstream::Demo);
}

#[test]
fn files_say_their_name() {
    let folder = std::env::temp_dir().join(format!("gateway-config-load-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("config.json");
    let error = |text: &[u8]| {
        std::fs::write(&path, text).unwrap();
        Config::load(&path).unwrap_err().to_string().replace(&*path.to_string_lossy(), "FILE")
    };
    assert_eq!(
        error(b"{\"mcpServers\": 1}"),
        "FILE:1:16: mcpServers: want an object, not a number"
    );
    let utf8 = "FILE: is not UTF-8: invalid utf-8 sequence of 1 bytes from index 0";
    assert_eq!(error(b"\xff"), utf8);
    std::fs::write(folder.join("t"), "0123456789abcdef\n").unwrap();
    let text =
        r#"{"gateway": {"tokens": {"a": "${file:t}"}}, "mcpServers": {"a": {"type": "demo"}}}"#;
    std::fs::write(&path, text).unwrap();
    let config = Config::load(&path).unwrap();
    assert_eq!(config.tokens[0].secret, TokenSecret::Plain(Secret::new("0123456789abcdef")));
    std::fs::remove_dir_all(&folder).unwrap();
    let gone = Config::load(&path).unwrap_err().to_string();
    assert!(gone.contains("cannot be read: No such file"), "{gone}");
}
