//! Configurations: any text is one or is refused, and what is shown of it shows no secret.

use gateway_config::{Config, FixedEnv};

const SECRET: &str = "correct-horse-battery-staple";

/// Reads any text as a configuration.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if text.contains(SECRET) {
        return;
    }
    let mut env = FixedEnv::default();
    env.vars.insert("SECRET".to_owned(), SECRET.to_owned());
    env.vars.insert("PORT".to_owned(), "8080".to_owned());
    env.files.insert("/secret".into(), SECRET.to_owned());
    let shown = match Config::parse(text, &env) {
        Ok(config) => {
            let exposed = config.check_exposure().err().map(|error| error.to_string());
            format!("{config:?}{}{}{exposed:?}", config.render_masked(), config.render_json())
        }
        Err(error) => error.to_string(),
    };
    assert!(!shown.is_empty());
    assert!(!shown.contains(SECRET), "{shown}");
}
