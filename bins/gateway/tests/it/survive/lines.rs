//! The server over stdin and stdout: a message a line.

use std::{
    fs::OpenOptions,
    io::{BufRead, Write},
    sync::Arc,
};

use serde_json::Value;

use super::server::{Says, Server};

/// Serves until stdin ends.  What is stdout outside is descriptor 3 in here.
pub(super) fn serve(server: &Arc<Server>) {
    let mut out = OpenOptions::new().write(true).open("/proc/self/fd/3").unwrap();
    for line in std::io::stdin().lock().lines() {
        let message: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let said = match server.hear(&message) {
            Some(Says::Answer(answer) | Says::AnswerAndForget(answer)) => vec![answer],
            Some(Says::Messages(messages)) => messages,
            Some(Says::Nothing | Says::Primer) | None => continue,
        };
        for message in said {
            out.write_all(format!("{message}\n").as_bytes()).unwrap();
        }
    }
}
