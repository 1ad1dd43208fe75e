//! The rules of TBXark's files that a golden text would not make plain.

use gateway_config::{
    Compat, Config, Guard, Listen, Origin, ServerConfig, Startup, TokenScope, Upstream,
};

use crate::golden::{env, files};

fn parse(text: &str) -> Config {
    Config::parse(text, &env()).unwrap_or_else(|error| panic!("{error}"))
}

fn guard<'c>(config: &'c Config, server: &str) -> &'c Guard {
    &config.servers[server].guard
}

/// The household's file runs as it is.
#[test]
fn one_door() {
    let (_, text) =
        files("good").into_iter().find(|(path, _)| path.ends_with("tbxark-one-door.json")).unwrap();
    let config = parse(&text);
    assert_eq!(config.listen, [Listen::Any(9090)]);
    assert_eq!(config.compat, Compat::Tbxark);
    assert_eq!(config.tokens.len(), 1);
    assert_eq!(config.check_exposure(), Ok(()));
    assert!(
        matches!(&config.servers["postgres"].upstream, Upstream::Sse(it) if it.url.path() == "/sse")
    );
    let Upstream::Stdio(files) = &config.servers["filesystem"].upstream else { panic!() };
    assert!(files.inherit_env);
    assert_eq!(config.servers["time"].routes(), ["/time/mcp", "/time/sse"]);
    let Origin::File { key, place, variables } = config.origin("gateway.tokens.token-1") else {
        panic!()
    };
    assert_eq!(key, "mcpProxy.options.authTokens[0]");
    assert_eq!((place.line, variables), (11, vec!["${MCP_PROXY_TOKEN}".to_owned()]));
}

/// Tokens are inherited only where the key is absent or null.
#[test]
fn tokens() {
    let config = parse(
        r#"{
        "mcpProxy": {"options": {"authTokens": ["global-token-global", "second-token-second"]}},
        "mcpServers": {
            "absent": {"url": "http://h/"},
            "null": {"url": "http://h/", "options": {"authTokens": null}},
            "open": {"url": "http://h/", "options": {"authTokens": []}},
            "own": {"url": "http://h/", "options": {"authTokens": ["own-token-own-token"]}},
            "same": {"url": "http://h/", "options": {"authTokens": ["own-token-own-token"]}},
            "global": {"url": "http://h/", "options": {"authTokens": ["global-token-global"]}}
        }}"#,
    );
    assert_eq!(*guard(&config, "absent"), Guard::Inherit);
    assert_eq!(*guard(&config, "null"), Guard::Inherit);
    assert_eq!(*guard(&config, "open"), Guard::Open);
    assert_eq!(*guard(&config, "own"), Guard::Tokens(vec!["own-1".to_owned()]));
    assert_eq!(*guard(&config, "same"), Guard::Tokens(vec!["own-1".to_owned()]));
    assert_eq!(*guard(&config, "global"), Guard::Tokens(vec!["token-1".to_owned()]));
    let scopes: Vec<_> = config.tokens.iter().map(|it| (it.name.as_str(), &it.servers)).collect();
    let both = TokenScope::Only(vec!["own".to_owned(), "same".to_owned()]);
    assert_eq!(
        scopes,
        [("token-1", &TokenScope::All), ("token-2", &TokenScope::All), ("own-1", &both)]
    );
    // `[]` opens this server to the network: that is refused, with the way out.
    let error = config.check_exposure().unwrap_err();
    assert_eq!(error.servers, ["open"]);
}

/// A server without a token stays open when another one has its own.
#[test]
fn no_global_tokens() {
    let config = parse(
        r#"{
        "mcpProxy": {"addr": "127.0.0.1:1"},
        "mcpServers": {
            "a": {"url": "http://h/"},
            "b": {"url": "http://h/", "options": {"authTokens": ["own-token-own-token"]}}
        }}"#,
    );
    assert_eq!(*guard(&config, "a"), Guard::Open);
    assert_eq!(config.check_exposure(), Ok(()));
}

#[test]
fn options_are_inherited() {
    let config = parse(
        r#"{
        "mcpProxy": {"options": {"panicIfInvalid": true, "logEnabled": false, "disabled": true}},
        "mcpServers": {
            "a": {"url": "http://h/"},
            "b": {"url": "http://h/", "options": {"panicIfInvalid": false, "logEnabled": true}},
            "c": {"url": "http://h/x", "transportType": "http", "isolation": "session"}
        }}"#,
    );
    let of = |server: &ServerConfig| (server.startup, server.log_enabled, server.disabled);
    assert_eq!(of(&config.servers["a"]), (Startup::Required, false, false));
    assert_eq!(of(&config.servers["b"]), (Startup::Eager, true, false));
    assert!(matches!(config.servers["a"].upstream, Upstream::Sse(_)));
    assert!(matches!(config.servers["c"].upstream, Upstream::Http(_)));
    assert_eq!(config.servers["c"].isolation.as_str(), "session");
    // Nothing said means port 80 of everything, as there.
    assert_eq!(config.listen, [Listen::Any(80)]);
}

#[test]
fn base_url() {
    let read = |url: &str| {
        let config =
            parse(&format!(r#"{{"mcpProxy": {{"baseURL": "{url}"}}, "mcpServers": {{}}}}"#));
        (config.public_url.map(|url| url.to_string()), config.base_path, config.notes.len() - 1)
    };
    assert_eq!(read(""), (None, String::new(), 0));
    assert_eq!(read("http://h:1/a/b/"), (Some("http://h:1/a/b/".to_owned()), "/a/b".to_owned(), 0));
    assert_eq!(read("/proxy"), (None, "/proxy".to_owned(), 0));
    assert_eq!(read("localhost:9090"), (None, String::new(), 1));
}
