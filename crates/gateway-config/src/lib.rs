//! The gateway's configuration: from a file's text to checked, typed values.
//!
//! One JSON file, comments and trailing commas allowed, in our own schema or in that of a product
//! people come from ([`Dialect`]). [`Config::parse`] replaces references to variables and files,
//! fills in every default, and complains of everything that is wrong at once, each with its line,
//! its column and its path of keys. What was understood can be shown with every secret masked:
//! [`Config::render_masked`], [`Config::render_json`].
//!
//! This crate starts nothing, listens nowhere, and asks its surroundings only through [`Env`].
//!
//! ```
//! use gateway_config::{Config, FixedEnv, Upstream};
//!
//! let text = r#"{
//!     "gateway": {"listen": ":9090", "tokens": {"me": "${TOKEN}"}},
//!     "mcpServers": {
//!         "fetch": {"command": "uvx", "args": ["mcp-server-fetch"]}, // a comment
//!     },
//! }"#;
//! let mut env = FixedEnv::default();
//! env.vars.insert("TOKEN".to_owned(), "correct-horse-battery".to_owned());
//! let config = Config::parse(text, &env)?;
//! config.check_exposure().expect("a token is wanted");
//! assert!(matches!(&config.servers["fetch"].upstream, Upstream::Stdio(it) if it.program.expose() == "uvx"));
//! assert!(!config.render_masked().contains("horse"));
//!
//! let error = Config::parse(&text.replace("args", "arg"), &env).unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "4:37: mcpServers.fetch.arg: unknown key\n    help: did you mean `args`?",
//! );
//! # Ok::<(), gateway_config::ConfigError>(())
//! ```

mod check;
mod command;
mod config;
mod dialect;
mod env;
mod file;
mod group;
mod names;
mod problem;
mod quantity;
mod reader;
mod reference;
mod render;
mod schema;
mod secret;
mod server;
mod settings;
mod shaping;
mod substitute;
mod tokens;
mod url;
mod words;

pub use crate::{
    check::ExposureError,
    config::{
        Audit, Config, Control, Given, Listen, ListenError, Log, PORT, StateDir, Tls, TokenEntry,
        TokenScope, TokenSecret,
    },
    dialect::Dialect,
    env::{Env, FixedEnv, SystemEnv, VALUE_LEN_MAX},
    file::FILE_LEN_MAX,
    group::{AggregateConfig, GroupConfig, GroupServer, Naming},
    names::{NAME_LEN_MAX, RESERVED},
    problem::{ConfigError, Note, Origin, PROBLEM_COUNT_MAX, Place, Problem},
    reference::reference,
    secret::{Secret, Text},
    server::{Guard, Protocol, Remote, ServerConfig, Stdio, Upstream},
    settings::{Limits, Restart, Timeouts},
    shaping::{Argument, Filter, Override, Rule, Shaping},
    url::Url,
    words::{
        Accept, Compat, EndpointStyle, Isolation, LogFormat, LogLevel, Prefix, Stale, Startup,
    },
};
