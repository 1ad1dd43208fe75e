//! `gateway key`: the keys that session ids are sealed with.

use std::process::ExitCode;

use gateway_config::Config;
use seal::Clock;

use crate::{
    cli::{Key, KeyAction, KeyPlace},
    run, state,
};

pub(super) fn run(key: &Key) -> ExitCode {
    match act(&key.action) {
        Ok(text) => {
            run::say(&text);
            ExitCode::SUCCESS
        }
        Err((words, code)) => run::fail(&words, code),
    }
}

fn act(action: &KeyAction) -> Result<String, (String, u8)> {
    let (place, revoke) = match action {
        KeyAction::List(place) => (place, None),
        KeyAction::Rotate { place, revoke } => (place, Some(*revoke)),
    };
    let config = configuration(place).map_err(|words| (words, 2))?;
    let file = state::key_file(&config).map_err(|words| (words, 1))?;
    let keys = match revoke {
        None => file.load(),
        Some(revoke) => file.rotate(config.timeouts.session_age_max, revoke),
    };
    let keys = keys.map_err(|error| (error.to_string(), 1))?;
    let now = Clock::system().now();
    let mut text = format!("{}\n", file.path().display());
    let mut seals = false;
    for key in keys {
        let what = match key.from().checked_sub(now) {
            Some(wait @ 1..) => format!("seals from {wait} s from now on"),
            _ if !seals => {
                seals = true;
                "seals, and opens".to_owned()
            }
            _ => "opens".to_owned(),
        };
        text.push_str(&format!("{}  {what}\n", key.id()));
    }
    if revoke == Some(true) {
        text.push_str("Gateways that run take this over within a minute; sessions that are not open then have to begin anew.\n");
    }
    Ok(text)
}

fn configuration(place: &KeyPlace) -> Result<Config, String> {
    let mut config = match &place.config {
        Some(path) => Config::load(path).map_err(|error| error.to_string())?,
        None => Config::default(),
    };
    if let Some(dir) = &place.state_dir {
        config.state_dir = state::named(dir);
    }
    Ok(config)
}
