//! `gateway tools`: which tools there are, whose they are, and under which names.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use aggregate::{Missing, Shown};
use catalogue::{List, Lost};
use gateway_config::{Config, Log};
use mcp_jsonrpc::transport::Caller;
use serde::Serialize;

use crate::{assemble, cli::Tools, log, run};

/// What there is.
#[derive(Debug, Default, Serialize)]
struct Survey {
    tools: Vec<Row>,
    prompts: Vec<Row>,
    /// Names that several servers have, and whose they are.
    collisions: BTreeMap<String, Vec<String>>,
    missing: Vec<Missing>,
    /// What does not fit in the configuration, or was left out.
    notes: Vec<Note>,
}

#[derive(Debug, Serialize)]
struct Row {
    /// By which it is called; none if it is hidden, or has no name of its own.
    name: Option<String>,
    server: String,
    /// What its server calls it.
    original: String,
    /// The configuration hides it.
    hidden: bool,
}

#[derive(Debug, Serialize)]
struct Note {
    server: String,
    what: String,
}

pub(super) async fn run(tools: &Tools) -> ExitCode {
    let mut settings = Log::default();
    settings.level = tools.log_level.into();
    let log = match log::start(&settings) {
        Ok(log) => log,
        Err(error) => return run::fail(&error.to_string(), 1),
    };
    let code = match survey(tools).await {
        Ok(survey) => {
            let text = match tools.json {
                true => serde_json::to_string_pretty(&survey).unwrap_or_default() + "\n",
                false => survey.to_string(),
            };
            run::say(&text);
            ExitCode::from(u8::from(!survey.missing.is_empty()))
        }
        Err(words) => run::fail(&words, 2),
    };
    log.flush();
    code
}

async fn survey(tools: &Tools) -> Result<Survey, String> {
    let mut config = Config::load(&tools.config).map_err(|error| error.to_string())?;
    if let Some(server) = &tools.server
        && !config.servers.contains_key(server)
    {
        let names: Vec<&str> = config.servers.keys().map(String::as_str).collect();
        return Err(format!("there is no server `{server}`; there is {}", names.join(", ")));
    }
    // Nobody asks anything of a server here.
    config.audit = None;
    config.aggregate.member_wait_timeout = Duration::from_secs(tools.wait.max(1));
    let (door, name) = assemble::opened(config, tools.group.as_deref())?;
    let joint = door.joint(&name).ok_or("there is no server to ask")?;
    let shown = joint.aggregate.look(&Caller::anonymous()).await;
    let survey = shown.map(|shown| Survey::of(&shown, tools.server.as_deref()));
    door.shut_down(Duration::ZERO).await;
    survey.map_err(|error| error.to_string())
}

impl Survey {
    fn of(shown: &Arc<Shown>, server: Option<&str>) -> Self {
        let view = shown.view();
        let is_meant = |name: &str| server.is_none_or(|it| it == name);
        let mut survey = Self {
            tools: rows(shown, List::Tools),
            prompts: rows(shown, List::Prompts),
            missing: shown.missing().iter().filter(|it| is_meant(&it.server)).cloned().collect(),
            ..Self::default()
        };
        for rows in [&mut survey.tools, &mut survey.prompts] {
            rows.retain(|row| is_meant(&row.server));
        }
        for row in &survey.tools {
            if let Err(Lost::Contested { by, .. }) = view.find(List::Tools, &row.original) {
                let servers = by.into_iter().map(|it| it.server).collect();
                survey.collisions.insert(row.original.clone(), servers);
            }
        }
        let note = |server: &str, what: String| Note { server: server.to_owned(), what };
        let misfits = view.misfits().map(|(server, it)| note(server, it.to_string()));
        let shortfalls = view.shortfalls().map(|(server, it)| note(server, it.to_string()));
        survey.notes = misfits.chain(shortfalls).filter(|it| is_meant(&it.server)).collect();
        survey
    }
}

/// Everything of one kind, hidden or not.
fn rows(shown: &Shown, list: List) -> Vec<Row> {
    let view = shown.view();
    let mut rows: Vec<Row> = view
        .all(list)
        .map(|it| Row {
            name: it.exposed.map(str::to_owned),
            server: it.member.server.to_string(),
            original: it.original.to_owned(),
            hidden: false,
        })
        .collect();
    let there: BTreeSet<(String, String)> =
        rows.iter().map(|it| (it.server.clone(), it.original.clone())).collect();
    for member in view.members() {
        for entry in member.catalogue.list(list) {
            let (server, original) = (member.server.to_string(), entry.key().to_owned());
            if !there.contains(&(server.clone(), original.clone())) {
                rows.push(Row { name: None, server, original, hidden: true });
            }
        }
    }
    rows.sort_by(|a, b| (&a.server, &a.original).cmp(&(&b.server, &b.original)));
    rows
}

impl std::fmt::Display for Survey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = String::new();
        table(&mut out, "tool", &self.tools)?;
        if !self.prompts.is_empty() {
            out.push('\n');
            table(&mut out, "prompt", &self.prompts)?;
        }
        if !self.collisions.is_empty() {
            out.push_str("\nnames that several servers have\n");
            for (name, servers) in &self.collisions {
                writeln!(out, "  {name}: {}", servers.join(", "))?;
            }
        }
        if !self.missing.is_empty() {
            out.push_str("\nmissing\n");
            for it in &self.missing {
                writeln!(out, "  {}: {}", it.server, it.reason)?;
            }
        }
        if !self.notes.is_empty() {
            out.push_str("\nnotes\n");
            for it in &self.notes {
                writeln!(out, "  {}: {}", it.server, it.what)?;
            }
        }
        f.write_str(&out)
    }
}

fn table(out: &mut String, what: &str, rows: &[Row]) -> std::fmt::Result {
    let name = |row: &Row| match (&row.name, row.hidden) {
        (Some(name), _) => name.clone(),
        (None, true) => "(hidden)".to_owned(),
        (None, false) => "(no name)".to_owned(),
    };
    let width = |of: &dyn Fn(&Row) -> usize, head: usize| {
        rows.iter().map(of).max().unwrap_or_default().max(head)
    };
    let (first, second) =
        (width(&|row| name(row).chars().count(), what.len()), width(&|row| row.server.len(), 6));
    writeln!(out, "{what:first$}  {:second$}  of the server", "server")?;
    for row in rows {
        let original = if row.name.as_deref() == Some(&row.original) { "=" } else { &row.original };
        writeln!(out, "{:first$}  {:second$}  {original}", name(row), row.server)?;
    }
    Ok(())
}
