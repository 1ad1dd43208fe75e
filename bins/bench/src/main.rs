//! `gateway-bench`: measures the gateway beside the direct connection and beside bare relays.
//!
//! One program with three roles: `run` is the harness with its load generator; `upstream` and
//! `relay` are the servers that it starts.  Not part of the product, and uses nothing of it: what
//! measures must not share the faults of what is measured.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line talks")]

mod adverse;
mod aggregate;
mod apart;
mod args;
mod client;
mod cold;
mod error;
mod fleet;
mod growth;
mod guard;
mod http;
mod idle;
mod load;
mod machine;
mod modern;
mod open;
mod parked;
mod peers;
mod plan;
mod procfs;
mod recovery;
mod relay;
mod report;
mod rounds;
mod rpc;
mod slope;
mod sse;
mod stack;
mod stats;
mod streams;
mod upstream;

use std::{path::Path, process::ExitCode, time::Duration};

use args::Args;
use client::Wire;
use error::{Failure, Result};
use plan::Plan;
use relay::{Behind, Kind};
use report::Report;
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "\
usage: gateway-bench [run] [OPTIONS]       measure, and print a report
         --quick                           one short round with 8 sessions
         --workload W1,W2,W3,W4,W5,P1,P3,W6 (idle, 10,000),W7,W8 (cold),W9 (eras),
                                           W10 (aggregate),W11 (adverse),W12,open,growth,idle,slope,recovery,parked
                                           (default: W1, W3, W4, W5, idle and cold)
         --sessions 1,8,64  --seconds 2  --rounds 3  --threads 2
         --idle-sessions 1000  --slope-sessions 100000  --cold-servers 1,10,50  --aggregate-servers 1,10,50
         --growth-sessions 8,1000,10000  --growth-servers 1,100,1000
         --rate N                          (open; default: half of what the gateway answers at most)
         --parked-calls 10000  --call-timeout 30
         --peers all|nginx,sparfenyuk,punkpeye,supergateway,fastmcp,joshrotenberg,mcpo
                                           programs of others, beside the gateway in W, P and E (default: none)
         --peer-parts FILE                 where they are; `cargo xtask bench` installs them and gives this
         --gateway PATH                    (default: `gateway` beside this program)
         --require-gateway                 a gateway that does not start is a failure, not a `no`
         --legs direct,hyper-stream,hyper-pair,hyper-collect,stdio-shared,
                gateway-legacy,gateway,gateway-tokens
         --json FILE  --markdown FILE
         --lie id|content                  self-test: the upstream lies, the run must fail
       gateway-bench upstream --transport stdio|sse|streamable|modern|modern-stdio [--port N] [--lie …] [--until-eof]
                           [--start-delay MS] [--pid-dir DIR]        (stdio)
       gateway-bench relay --kind hyper-stream|hyper-pair|hyper-collect --to HOST:PORT
                           [--strip /PREFIX] [--port N] [--until-eof]
       gateway-bench relay --kind stdio-shared [--child modern-stdio] [--lie …] [--port N] [--until-eof]
       gateway-bench guard --gateway PATH --figures FILE --toolchain TEXT [--libc TEXT]
                           [--only W1,W3,W4,W5,E4,aggregate] [--with metrics|audit] [--bless]
                                           count instructions under valgrind, beside those that were kept";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).peekable();
    if std::env::args().skip(1).any(|it| it == "--help") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    // Options alone are those of `run`: that is what `cargo xtask bench` passes on.
    let role = words.next_if(|word| !word.starts_with('-')).unwrap_or_else(|| "run".to_owned());
    let done = match role.as_str() {
        "run" => run(words),
        "upstream" => upstream(words),
        "relay" => relay(words),
        "guard" => guard(words),
        _ => Err(Failure::Usage(format!("no role {role:?}"))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(text)) => {
            eprintln!("{text}\n{USAGE}");
            ExitCode::from(2)
        }
        Err(failure) => {
            eprintln!("gateway-bench {role}: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// A line of the run's log.
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

fn run(words: impl Iterator<Item = String>) -> Result<()> {
    let plan = Plan::read(&Args::read(words, &plan::VALUED, &plan::FLAGS)?)?;
    let runtime = runtime()?;
    runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate()).map_err(Failure::io("signals"))?;
        // Dropping the measurement kills whatever it has started.
        tokio::select! {
            done = measure(&plan) => done,
            _ = tokio::signal::ctrl_c() => Err(Failure::Process("interrupted".to_owned())),
            _ = terminated.recv() => Err(Failure::Process("terminated".to_owned())),
        }
    })
}

async fn measure(plan: &Plan) -> Result<()> {
    let folder = tempfile::tempdir().map_err(Failure::io("a temporary folder"))?;
    let mut report = Report::new(plan, machine::Machine::here());
    for workload in &plan.workloads {
        for sessions in &plan.sessions {
            let load = rounds::measure(plan, workload, *sessions, folder.path()).await?;
            report.loads.push(load);
        }
    }
    if plan.open {
        report.open = Box::pin(open::measure(plan, folder.path())).await?;
    }
    if plan.growth {
        report.growth = growth::measure(plan, folder.path()).await?;
    }
    if plan.adverse {
        report.adverse = adverse::measure(plan, folder.path()).await?;
    }
    if plan.idle {
        report.idle = idle::measure(plan, folder.path()).await?;
    }
    if plan.cold {
        report.cold = cold::measure(plan, folder.path()).await?;
    }
    if plan.slope {
        report.slopes = slope::measure(plan, folder.path()).await?;
    }
    if plan.recovery {
        report.recovery = recovery::measure(plan, folder.path()).await?;
    }
    if plan.parked {
        report.parked = parked::measure(plan, folder.path()).await?;
    }
    if plan.aggregate {
        report.aggregate = aggregate::measure(plan, folder.path()).await?;
    }
    report.finish();
    let text = report.to_string();
    println!("{text}");
    if let Some(file) = &plan.markdown {
        write(file, text)?;
    }
    if let Some(file) = &plan.json {
        let json = serde_json::to_string_pretty(&report);
        write(file, json.map_err(|cause| Failure::Process(format!("the report: {cause}")))?)?;
    }
    report.failure().map_or(Ok(()), |what| Err(Failure::Process(what)))
}

fn write(file: &Path, text: String) -> Result<()> {
    std::fs::write(file, text).map_err(Failure::io(file.display().to_string()))
}

fn guard(words: impl Iterator<Item = String>) -> Result<()> {
    let args = Args::read(words, &guard::VALUED, &guard::FLAGS)?;
    runtime()?.block_on(async {
        tokio::select! {
            done = guard::run(&args) => done,
            _ = tokio::signal::ctrl_c() => Err(Failure::Process("interrupted".to_owned())),
        }
    })
}

fn upstream(words: impl Iterator<Item = String>) -> Result<()> {
    let valued = ["--transport", "--port", "--lie", "--start-delay", "--pid-dir"];
    let args = Args::read(words, &valued, &["--until-eof"])?;
    let lie = args.text("--lie").map(plan::parse_lie).transpose()?;
    let wire = args.text("--transport").unwrap_or_default().parse::<Wire>();
    match wire {
        Ok(wire) if wire.is_child() => {
            let delay = Duration::from_millis(args.value("--start-delay", 0)?);
            upstream::serve_pipe(wire.era(), lie, delay, args.text("--pid-dir").map(Path::new))
        }
        Ok(wire) => listen(&args, |listener| async move {
            upstream::serve(listener, wire, lie).await;
            Ok(())
        }),
        Err(()) => Err(Failure::Usage(
            "--transport: stdio, sse, streamable, modern or modern-stdio".to_owned(),
        )),
    }
}

fn relay(words: impl Iterator<Item = String>) -> Result<()> {
    let valued = ["--kind", "--to", "--strip", "--port", "--lie", "--child"];
    let args = Args::read(words, &valued, &["--until-eof"])?;
    let kind = args.text("--kind").unwrap_or_default().parse::<Kind>();
    let kind = kind.map_err(|()| Failure::Usage("--kind: which relay?".to_owned()))?;
    if kind == Kind::StdioShared {
        let program = std::env::current_exe().map_err(Failure::io("this program's path"))?;
        let speaks = args.text("--child").unwrap_or("stdio");
        let wire = speaks.parse::<Wire>().ok().filter(|it| it.is_child());
        let wire =
            wire.ok_or_else(|| Failure::Usage("--child: stdio or modern-stdio".to_owned()))?;
        let mut child = vec!["upstream".to_owned(), format!("--transport={}", wire.text())];
        child.extend(args.text("--lie").map(|it| format!("--lie={it}")));
        return listen(&args, |listener| async move {
            relay::serve_child(listener, wire.era(), program, &child).await
        });
    }
    let to = args.text("--to").and_then(|it| it.parse().ok());
    let addr = to.ok_or_else(|| Failure::Usage("--to: HOST:PORT".to_owned()))?;
    let (collect, pool) = (kind == Kind::HyperCollect, kind != Kind::HyperPair);
    let strip = args.text("--strip").unwrap_or_default().to_owned();
    let behind = Behind { addr, collect, pool, strip };
    listen(&args, |listener| async move {
        relay::serve_wires(listener, behind).await;
        Ok(())
    })
}

/// Binds, says where, and serves until it is told to end.
fn listen<F: Future<Output = Result<()>>>(
    args: &Args,
    serve: impl FnOnce(tokio::net::TcpListener) -> F,
) -> Result<()> {
    let port = args.value("--port", 0)?;
    let until_eof = args.flag("--until-eof");
    let runtime = runtime()?;
    let done = runtime.block_on(async {
        let listener = http::bind(port).await?;
        let addr = listener.local_addr().map_err(Failure::io("the port"))?;
        println!("listening {addr}");
        let mut terminated = signal(SignalKind::terminate()).map_err(Failure::io("signals"))?;
        tokio::select! {
            done = serve(listener) => done,
            () = http::input_ended(), if until_eof => Ok(()),
            _ = terminated.recv() => Ok(()),
        }
    });
    // A thread may be reading from standard input: it is not waited for.
    runtime.shutdown_background();
    done
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(Failure::io("a runtime"))
}
