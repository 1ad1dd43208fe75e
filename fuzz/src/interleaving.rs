//! Sessions: whatever clients, servers and time do to them, in any order, each request is answered
//! once, no call is executed twice, nobody hears what is another's, and in the end nothing is left.
//!
//! Two bytes are one step; the bytes of an input are what happens.  Time stands still but for the
//! steps that let it pass, so an input always does the same.

#[path = "interleaving/clients.rs"]
mod clients;
#[path = "interleaving/model.rs"]
mod model;
#[path = "interleaving/server.rs"]
mod server;

use std::{sync::Arc, time::Duration};

use router::{
    keep::Keeping,
    server::{Isolation, Options, Server, Startup, Wire},
};
use seal::{Clock, Keyring};
use store::Memory;
use tokio::runtime::Handle;

use self::{
    clients::{CLIENTS, World},
    server::{Script, Way},
};

/// What is done of longer inputs.
const STEPS_MAX: usize = 400;

/// What a step is, by its first byte; the second says to whom, or how long.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Others have a turn.
    Turn,
    Open,
    Ask,
    AskKept,
    Lose,
    Resume,
    Cancel,
    Close,
    Listen,
    Unlisten,
    Relisten,
    Reply,
    ReplyTwice,
    Answer,
    Refuse,
    Progress,
    Say,
    Announce,
    Question,
    QuestionWithin,
    Kill,
    Forget,
    Break,
    Slow,
    Reload,
    Wait,
}

const STEPS: [Step; 32] = [
    Step::Turn,
    Step::Open,
    Step::Ask,
    Step::AskKept,
    Step::Answer,
    Step::Progress,
    Step::Listen,
    Step::Say,
    Step::Lose,
    Step::Resume,
    Step::Wait,
    Step::Question,
    Step::Reply,
    Step::Kill,
    Step::Close,
    Step::Cancel,
    Step::Forget,
    Step::Reload,
    Step::Relisten,
    Step::Unlisten,
    Step::QuestionWithin,
    Step::ReplyTwice,
    Step::Refuse,
    Step::Announce,
    Step::Break,
    Step::Slow,
    // What there has to be much of.
    Step::Open,
    Step::Ask,
    Step::AskKept,
    Step::Answer,
    Step::Progress,
    Step::Say,
];

/// How long a wait is, by the byte that says so.
const WAITS_S: [u64; 8] = [0, 1, 5, 20, 40, 130, 400, 2400];

/// Does what these bytes say.
pub fn check(input: &[u8]) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(run(input));
}

async fn run(input: &[u8]) {
    let Some((first, steps)) = input.split_first() else { return };
    let isolation = match first % 8 {
        0..=2 => (Isolation::Auto, Wire::Child),
        3 => (Isolation::Auto, Wire::Http),
        4 => (Isolation::Shared, Wire::Child),
        5 => (Isolation::Session, Wire::Child),
        6 => (Isolation::Caller, Wire::Child),
        _ => (Isolation::Request, Wire::Child),
    };
    let (isolation, wire) = isolation;
    let options = Options { startup: Startup::Lazy, isolation, wire, ..Options::default() };
    let script = Arc::<Script>::default();
    let way = Arc::new(Way(Arc::clone(&script)));
    let server = Server::new("script", way, options.clone());
    let (clock, keeps) = (Clock::still(1_000_000), first & 8 == 0);
    if keeps {
        let store = Arc::new(Memory::new(clock.clone(), 1 << 20));
        let keyring = Keyring::fresh(clock).expect("randomness");
        server.keep(Keeping { keyring, store, age_max: Duration::from_secs(30 * 24 * 3600) });
    }
    server.start();
    let world = World::new(script, server, options, keeps);
    for step in steps.chunks_exact(2).take(STEPS_MAX) {
        let (what, whom) = (STEPS[usize::from(step[0]) % STEPS.len()], usize::from(step[1]));
        #[cfg(test)] // What a test shows that fails.
        println!("{what:?} {whom}");
        take(&world, what, whom).await;
        // Everybody else has a turn, or a few, or none.
        for _ in 0..step[0] >> 5 {
            tokio::task::yield_now().await;
        }
        check_faults(&world);
    }
    end(&world).await;
}

async fn take(world: &Arc<World>, step: Step, n: usize) {
    let slot = n % CLIENTS.len();
    match step {
        Step::Turn => tokio::task::yield_now().await,
        Step::Open => world.open(slot),
        Step::Ask => world.ask(slot, n & 0x80 != 0, false),
        Step::AskKept => world.ask(slot, n & 0x80 != 0, true),
        Step::Lose => world.lose(n),
        Step::Resume => world.resume(n),
        Step::Cancel => world.cancel(n),
        Step::Close => world.close(slot),
        Step::Listen => world.listen(slot),
        Step::Unlisten => world.unlisten(n, false),
        Step::Relisten => world.unlisten(n, true),
        Step::Reply => world.reply(n, false),
        Step::ReplyTwice => world.reply(n, true),
        Step::Answer => _ = world.answer(n, false),
        Step::Refuse => _ = world.answer(n, true),
        Step::Progress => world.script.state().progress(n),
        Step::Say => world.script.state().say(n),
        Step::Announce => world.script.state().announce(n),
        Step::Question => world.script.state().ask(n, false),
        Step::QuestionWithin => world.script.state().ask(n, true),
        Step::Kill => world.script.state().kill(n, false),
        Step::Forget => world.script.state().kill(n, true),
        Step::Break => world.script.state().broken ^= true,
        Step::Slow => world.script.state().slow ^= true,
        Step::Reload => world.reload(),
        Step::Wait => tokio::time::sleep(Duration::from_secs(WAITS_S[n % WAITS_S.len()])).await,
    }
}

/// All that runs comes to its end: servers answer, clients fetch what they lost, and all go.
async fn end(world: &Arc<World>) {
    (world.script.state().broken, world.script.state().slow) = (false, false);
    tokio::time::sleep(Duration::from_secs(10)).await;
    world.resume_all();
    // A server that could not be started is tried again after a pause of at most 30 s or so, and
    // what nobody answers ends by itself after minutes.
    for _ in 0..200 {
        while world.answer(0, false) {}
        tokio::time::sleep(Duration::from_secs(5)).await;
        if !world.model().is_waiting() && world.script.state().pending.is_empty() {
            break;
        }
    }
    world.model().check();
    check_faults(world);
    world.leave();
    // The longest of all waits is a session's, 30 min; then that of a link, 5 min.
    tokio::time::sleep(Duration::from_secs(45 * 60)).await;
    let status = world.server.status();
    let counts = (status.sessions, status.links, status.in_flight, status.waiting);
    assert_eq!(counts, (0, 0, 0, 0), "sessions, links, in flight, waiting: {status:?}");
    assert_eq!(world.tasks.len(), 0, "of the clients");
    assert_eq!(world.script.state().running(), 0, "servers that run");
    assert_eq!(
        Handle::current().metrics().num_alive_tasks(),
        1,
        "only the one that looks after it"
    );
    world.server.shut_down(Duration::from_secs(1), "the end").await;
    check_faults(world);
}

fn check_faults(world: &World) {
    let faults = &world.model().faults;
    assert!(faults.is_empty(), "{faults:#?}");
    let faults = &world.script.state().faults;
    assert!(faults.is_empty(), "{faults:#?}");
}
