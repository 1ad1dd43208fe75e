//! Splitting, refusing, masking and naming.

use super::*;
use crate::env::FixedEnv;

fn env() -> FixedEnv {
    FixedEnv { files: [("/opt/my tool".into(), String::new())].into(), ..FixedEnv::default() }
}

#[track_caller]
fn check(command: &str, args: &[&str], expect: &str) {
    let args = args.iter().map(|arg| Text::new(*arg)).collect();
    let shown = match read(Text::new(command), args, &env()) {
        Ok((stdio, note)) => {
            format!(
                "{} {:?}{}",
                stdio.program,
                stdio.args,
                if note.is_some() { " (note)" } else { "" }
            )
        }
        Err(fault) => fault.what,
    };
    assert_eq!(shown, expect, "{command}");
}

#[test]
fn commands() {
    check("npx", &["-y", "x"], r#"npx ["-y", "x"]"#);
    check("npx -y 'a b'", &[], r#"npx ["-y", "a b"] (note)"#);
    check("/opt/my tool", &[], "/opt/my tool []");
    check("npx -y", &["x"], r#"npx -y ["x"] (note)"#);
    check("x 'a && b' \"c | d\" \\; e", &[], r#"x ["a && b", "c | d", ";", "e"] (note)"#);
    for shell in ["a && b", "a | b", "a > b", "a \"$(b)\"", "a `b`", "a; b", "a & b", "a\nb"] {
        check(shell, &[], "only a shell understands this");
    }
    check("a 'b", &[], "a quote in this command line is not closed");
    check("", &[], "the command is empty");
    check("~/x y", &[], "not a path");
}

#[test]
fn what_a_variable_brought_in_is_not_shown() {
    let line = Text::apart("x --key a b", "x --key ${K}", vec!["${K}".to_owned()]);
    let (stdio, note) = read(line, Vec::new(), &env()).unwrap();
    let args: Vec<_> = stdio.args.iter().map(Text::expose).collect();
    assert_eq!(args, ["--key", "a", "b"]);
    assert_eq!(format!("{:?}", stdio.args), "[***, ***, ***]".replace("***", "\"***\""));
    assert!(!note.unwrap().contains('a'.to_string().repeat(2).as_str()));
}

#[test]
fn masks() {
    let show = |args: &[&str]| {
        let args = mask(args.iter().map(|arg| Text::new(*arg)).collect());
        args.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(show(&["--token", "abc", "-v", "x"]), "--token *** -v x");
    assert_eq!(
        show(&["--api_key=abc", "--url=http://u:p@h/"]),
        "--api_key=*** --url=http://***@h/"
    );
    assert_eq!(show(&["--github-token", "${T}"]), "--github-token ${T}");
    assert_eq!(show(&["-H", "X-Key: abc", "-e", "A=b"]), "-H X-Key:*** -e A=***");
    assert_eq!(
        show(&["postgresql://u:p@db/x", "--keyboard", "de"]),
        "postgresql://***@db/x --keyboard de"
    );
}

#[test]
fn names() {
    let named = |line: &[&str]| {
        let (program, args) = line.split_first().unwrap();
        name(&Stdio::new(Text::new(*program), args.iter().map(|arg| Text::new(*arg)).collect()))
    };
    let cases: &[(&[&str], &str)] = &[
        (&["npx", "-y", "@modelcontextprotocol/server-filesystem", "/tmp"], "filesystem"),
        (&["uvx", "mcp-server-fetch@2025.4.7"], "fetch"),
        (&["uvx", "--from", "git+https://h/x", "postgres-mcp"], "postgres"),
        (&["docker", "run", "--rm", "-i", "-v", "/a:/b", "mcp/time:latest"], "time"),
        (&["python3", "-m", "mcp_server_git"], "git"),
        (&["/opt/bin/my-server.exe"], "my"),
        (&["node", "build/index.js"], "index"),
        (&["npx", "@org/status"], "status-server"),
        (&["mcp-server"], "server"),
        (&["npx"], "npx"),
    ];
    for (line, expect) in cases {
        assert_eq!(named(line), *expect, "{line:?}");
    }
}
