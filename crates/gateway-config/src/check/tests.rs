//! Who could come in, and how that is said.

use crate::{Config, FixedEnv, Listen};

#[track_caller]
fn check(listen: &str, token: &str, server: &str, expect: &str) {
    let text = format!(
        r#"{{"gateway": {{"listen": {listen}, "tokens": {{{token}}}}}, "mcpServers": {{
            "a": {{"type": "demo", {server}}}, "off": {{"type": "demo", "tokens": "open", "disabled": true}}}}}}"#
    );
    let config =
        Config::parse(&text, &FixedEnv::default()).unwrap_or_else(|error| panic!("{error}"));
    let shown =
        config.check_exposure().map_or_else(|error| error.to_string(), |()| "ok".to_owned());
    assert!(shown.starts_with(expect), "{shown}");
}

#[test]
fn exposure() {
    let token = r#""me": "0123456789abcdefgh""#;
    check(r#""127.0.0.1:1""#, "", "", "ok");
    check(r#""127.9.9.9:1""#, "", "", "ok");
    check(r#""[::1]:1""#, "", "", "ok");
    check(r#""[::ffff:127.0.0.1]:1""#, "", "", "ok");
    check(r#""localhost:1""#, "", "", "ok");
    check(r#""unix:/x""#, "", "", "ok");
    check(r#"":1""#, token, "", "ok");
    let begin = "listening at :1 would let everybody who reaches it use a without a token";
    check(r#"":1""#, "", "", begin);
    check(r#"":1""#, token, r#""tokens": "open""#, begin);
    check(r#"["127.0.0.1:2", ":1"]"#, "", "", begin);
    check(r#""0.0.0.0:1""#, "", "", "listening at 0.0.0.0:1 would");
    check(r#""h.example:1""#, "", "", "listening at h.example:1 would");
    check(r#""[::]:1""#, "", "", "listening at [::]:1 would");
}

#[test]
fn the_way_out_is_said() {
    let mut config = Config::demo();
    config.listen = vec![Listen::Any(8080)];
    assert_eq!(
        config.check_exposure().unwrap_err().to_string(),
        "listening at :8080 would let everybody who reaches it use demo without a token; either give it \
         tokens (\"tokens\": {\"me\": \"${MCP_TOKEN}\"} in `gateway`, \"authTokens\" in TBXark's files), \
         or listen at 127.0.0.1:8080, or say that it is meant: --insecure",
    );
    config.insecure = true;
    assert_eq!(config.check_exposure(), Ok(()));
}
