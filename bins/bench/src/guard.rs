//! The guard: how many instructions a call takes in the gateway, beside how many it took before.
//!
//! The gateway runs under callgrind with one worker, twice for each kind of call: once with some
//! calls, once with more.  The difference is what those calls take; the start is in neither.  What
//! is compared is counted in the gateway's own code, so that another libc changes nothing; what
//! the libraries take on top is compared too where they are those of the kept figures.

mod callgrind;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use callgrind::Counted;
use serde::{Deserialize, Serialize};

use crate::{
    args::Args,
    client::{Session, Target, Wire},
    error::{Failure, Result},
    plan::{Extra, Leg, Plan},
    rpc::{Ask, REVISION_BEFORE},
    stack::{Stack, Wanted},
};

/// Calls of the shorter run: after so many nothing is done for the first time any more.
const FEW: u64 = 300;
/// Calls of the longer run.
const MANY: u64 = 2300;
/// A figure may differ by so much.  Runs of one program differed by 1.4 % at most, on a machine with
/// seven times as much to do as it could.
const TOLERANCE_PERCENT: f64 = 5.0;

/// The options that take a value.
pub(crate) const VALUED: [&str; 6] =
    ["--gateway", "--figures", "--toolchain", "--libc", "--only", "--with"];
/// The options that take none.
pub(crate) const FLAGS: [&str; 1] = ["--bless"];

/// A kind of call.
struct Kind {
    name: &'static str,
    front: Wire,
    behind: Wire,
    /// Whether it goes by the route of all servers.
    all: bool,
}

const KINDS: [Kind; 6] = [
    kind("W1", Wire::Streamable, Wire::Streamable, false),
    kind("W3", Wire::Sse, Wire::Sse, false),
    kind("W4", Wire::Streamable, Wire::Stdio, false),
    kind("W5", Wire::Sse, Wire::Stdio, false),
    kind("E4", Wire::Modern, Wire::Streamable, false),
    kind("aggregate", Wire::Streamable, Wire::Streamable, true),
];

const fn kind(name: &'static str, front: Wire, behind: Wire, all: bool) -> Kind {
    Kind { name, front, behind, all }
}

/// What is kept in the file.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
struct Kept {
    /// Which compiler made the program that was counted.
    toolchain: String,
    /// Which libraries and which kind of processor ran it.
    machine: String,
    /// For each kind of call.
    instructions: BTreeMap<String, Instructions>,
}

/// Of one call.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
struct Instructions {
    /// In the gateway's own code.
    own: u64,
    /// With the libraries of the system.
    all: u64,
}

/// How a figure stands to the kept one.
#[derive(Debug, PartialEq)]
enum Verdict {
    Same,
    /// Beyond the tolerance: by so many per cent, and of what.
    Other(f64, &'static str),
    /// Nothing was kept.
    New,
}

/// Counts, and compares with what was kept or, with `--bless`, keeps it.
///
/// # Errors
/// [`Failure::Wrong`] when a figure is another; otherwise what broke.
pub(crate) async fn run(args: &Args) -> Result<()> {
    let missing = |name: &str| Failure::Usage(format!("{name} is needed"));
    let file = PathBuf::from(args.text("--figures").ok_or_else(|| missing("--figures"))?);
    let toolchain = args.text("--toolchain").ok_or_else(|| missing("--toolchain"))?;
    let gateway = PathBuf::from(args.text("--gateway").ok_or_else(|| missing("--gateway"))?);
    let only = args.list::<String>("--only")?;
    let leg = match args.text("--with") {
        None => Leg::Gateway,
        Some("metrics") => Leg::Priced(Extra::Metrics),
        Some("audit") => Leg::Priced(Extra::Audit),
        Some(_) => return Err(Failure::Usage("--with takes metrics or audit".to_owned())),
    };
    let machine = machine(args.text("--libc").unwrap_or("a libc that is not known"));
    let mut found = BTreeMap::new();
    for kind in &KINDS {
        if only.as_ref().is_none_or(|names| names.iter().any(|it| it == kind.name)) {
            let one = count((kind, leg), &gateway).await?;
            crate::say(&format!(
                "{}: {} instructions a call, {} of them its own",
                kind.name, one.all, one.own
            ));
            found.insert(kind.name.to_owned(), one);
        }
    }
    if leg != Leg::Gateway {
        // What is kept is of a gateway with nothing switched on.
        return Ok(());
    }
    let found = Kept { toolchain: toolchain.to_owned(), machine, instructions: found };
    if args.flag("--bless") {
        return bless(&file, found);
    }
    judge(&read(&file)?, &found)
}

/// Keeps what was counted; what was not stays as it was.
fn bless(file: &Path, mut found: Kept) -> Result<()> {
    if file.exists() {
        for (name, kept) in read(file)?.instructions {
            found.instructions.entry(name).or_insert(kept);
        }
    }
    let text = serde_json::to_string_pretty(&found)
        .map_err(|cause| Failure::Process(format!("the figures: {cause}")))?;
    let what = format!("{}", file.display());
    std::fs::write(file, text + "\n").map_err(Failure::io(what.as_str()))?;
    crate::say(&format!("kept in {what}"));
    Ok(())
}

fn read(file: &Path) -> Result<Kept> {
    let what = format!("{}", file.display());
    let text = std::fs::read_to_string(file).map_err(Failure::io(what.as_str()))?;
    serde_json::from_str(&text).map_err(|cause| Failure::Process(format!("{what}: {cause}")))
}

/// Says how every figure stands, and fails where one is another and that can be told.
fn judge(kept: &Kept, found: &Kept) -> Result<()> {
    let comparable = kept.toolchain == found.toolchain;
    let whole = kept.machine == found.machine;
    println!("| call | instructions, own | kept | all | kept | |\n|---|--:|--:|--:|--:|---|");
    let mut others = Vec::new();
    for (name, now) in &found.instructions {
        let before = kept.instructions.get(name);
        let verdict = verdict(before, now, whole);
        let was = |of: fn(&Instructions) -> u64| {
            before.map_or_else(|| "–".to_owned(), |it| of(it).to_string())
        };
        let (own, all) = (was(|it| it.own), was(|it| it.all));
        println!("| {name} | {} | {own} | {} | {all} | {verdict} |", now.own, now.all);
        if verdict != Verdict::Same {
            others.push(format!("{name}: {verdict}"));
        }
    }
    if !whole {
        println!(
            "\nNOT COMPARED: what the libraries take. Kept on {}; this is {}.",
            kept.machine, found.machine
        );
    }
    if others.is_empty() {
        return Ok(());
    }
    let others = others.join("; ");
    if !comparable {
        println!(
            "\nNOT COMPARED: kept for {}, and this is {}: {others}",
            kept.toolchain, found.toolchain
        );
        return Ok(());
    }
    Err(Failure::Wrong(format!(
        "a call takes another number of instructions than before: {others}. If that is meant, say why in the commit and keep it: `cargo xtask guard --bless`"
    )))
}

fn verdict(before: Option<&Instructions>, now: &Instructions, whole: bool) -> Verdict {
    let Some(before) = before else { return Verdict::New };
    let percent = |now: u64, before: u64| (now as f64 / before.max(1) as f64 - 1.0) * 100.0;
    let own = percent(now.own, before.own);
    let all = percent(now.all, before.all);
    if TOLERANCE_PERCENT < own.abs() {
        Verdict::Other(own, "in its own code")
    } else if whole && TOLERANCE_PERCENT < all.abs() {
        Verdict::Other(all, "with what the libraries do for it")
    } else {
        Verdict::Same
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => write!(out, "same"),
            Self::Other(percent, what) => write!(out, "{percent:+.1} % {what}"),
            Self::New => write!(out, "nothing is kept"),
        }
    }
}

async fn count(of: (&Kind, Leg), gateway: &Path) -> Result<Instructions> {
    let few = once(of, gateway, FEW).await?;
    let many = once(of, gateway, MANY).await?;
    let each = |many: u64, few: u64| many.saturating_sub(few) / (MANY - FEW);
    Ok(Instructions { own: each(many.own, few.own), all: each(many.all, few.all) })
}

/// Counts one whole run of the gateway with so many calls.
async fn once((kind, leg): (&Kind, Leg), gateway: &Path, calls: u64) -> Result<Counted> {
    let folder = tempfile::tempdir().map_err(Failure::io("a temporary folder"))?;
    let (counts, script) = (folder.path().join("counts"), folder.path().join("gateway"));
    callgrind::wrap(gateway, &counts, &script)?;
    let plan = Plan::patient(script)?;
    let servers = if kind.all { 2 } else { 1 };
    let wanted = Wanted { servers, ..Wanted::of(leg, kind.front, kind.behind) };
    let mut stack = Stack::start(&plan, wanted, folder.path()).await?;
    if let Err(cause) = ask(kind, &plan, &stack, calls).await {
        return Err(stack.explain(cause));
    }
    stack.end().await?;
    let program = gateway.canonicalize().map_err(Failure::io("the gateway"))?;
    callgrind::read(&counts, &program)
}

/// One after the other, in one session: nothing depends on who is faster.
async fn ask(kind: &Kind, plan: &Plan, stack: &Stack, calls: u64) -> Result<()> {
    let door = match stack.doors.first() {
        Some(Target::Http { wire, addr, .. }) if kind.all => {
            let path = wire.path().to_owned();
            Target::Http { wire: *wire, addr: *addr, path, prefix: "up1__", token: None }
        }
        Some(door) => door.clone(),
        None => return Err(Failure::Process("no door".to_owned())),
    };
    // Of 2025-11-25 it would get a stream wherever the machine has other things to do for a while.
    let mut session = Session::open_in(REVISION_BEFORE, &door, plan.call_timeout).await?;
    for id in 1..=calls {
        let call = session.write(&Ask::Echo(100), 1, id);
        session.call(&call).await?;
    }
    session.close().await
}

/// What libraries and processor bring along that counts: other code runs where they are others.
fn machine(libc: &str) -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let wide = if cpu.split_whitespace().any(|it| it == "avx2") { "avx2" } else { "no avx2" };
    format!("{} with {wide}, {libc}", std::env::consts::ARCH)
}

#[cfg(test)]
mod tests;
