//! Every load, and what is measured beside each other in it.

use super::{Extra, Leg, Workload};
use crate::{client::Wire, load::Manner, relay::Kind, rpc::Ask};

const HTTP: &[Leg] = &[
    Leg::Direct,
    Leg::Relay(Kind::HyperStream),
    Leg::Relay(Kind::HyperPair),
    Leg::Relay(Kind::HyperCollect),
    Leg::Gateway,
];
const STREAM: &[Leg] =
    &[Leg::Direct, Leg::Relay(Kind::HyperStream), Leg::Relay(Kind::HyperPair), Leg::Gateway];
const CHILD: &[Leg] = &[Leg::Direct, Leg::Relay(Kind::StdioShared), Leg::Gateway];

const ERAS: &[Leg] = &[Leg::Direct, Leg::Relay(Kind::HyperStream), Leg::Legacy, Leg::Gateway];
const ERAS_CHILD: &[Leg] = &[Leg::Direct, Leg::Relay(Kind::StdioShared), Leg::Legacy, Leg::Gateway];

const CHURN: &[Leg] = &[Leg::Direct, Leg::Relay(Kind::HyperStream), Leg::Gateway];
const CHURN_CHILD: &[Leg] = &[Leg::Relay(Kind::StdioShared), Leg::Gateway];
const PRICES: &[Leg] = &[
    Leg::Gateway,
    Leg::Priced(Extra::Tokens),
    Leg::Priced(Extra::Metrics),
    Leg::Priced(Extra::Audit),
];

/// Every workload that is calls in a closed loop.  All but W1, W3, W4 and W5 are measured only when
/// asked for by name.
pub(crate) const WORKLOADS: [Workload; 21] = [
    workload(
        "W1",
        "Streamable → Streamable, echo of 100 B",
        ASK,
        (Wire::Streamable, Wire::Streamable),
        HTTP,
    ),
    workload(
        "W2-64K",
        "Streamable → Streamable, echo of 64 KiB",
        Ask::Echo(64 << 10),
        (Wire::Streamable, Wire::Streamable),
        HTTP,
    ),
    workload(
        "W2-1M",
        "Streamable → Streamable, echo of 1 MiB",
        Ask::Echo(1 << 20),
        (Wire::Streamable, Wire::Streamable),
        HTTP,
    ),
    workload("W3", "SSE → SSE, echo of 100 B", ASK, (Wire::Sse, Wire::Sse), STREAM),
    workload(
        "W4",
        "Streamable → stdio, echo of 100 B",
        ASK,
        (Wire::Streamable, Wire::Stdio),
        CHILD,
    ),
    workload("W5", "SSE → stdio, echo of 100 B", ASK, (Wire::Sse, Wire::Stdio), CHILD),
    churn(
        "W7",
        "Streamable → Streamable: a session is opened, used once and closed",
        Wire::Streamable,
        CHURN,
    ),
    churn(
        "W7-stdio",
        "Streamable → stdio: a session is opened, used once and closed",
        Wire::Stdio,
        CHURN_CHILD,
    ),
    workload(
        "W12",
        "Streamable → Streamable, echo of 100 B, by what is switched on",
        ASK,
        (Wire::Streamable, Wire::Streamable),
        PRICES,
    ),
    workload(
        "P1",
        "Streamable → Streamable, 20 progress notifications",
        Ask::Progress(20),
        (Wire::Streamable, Wire::Streamable),
        STREAM,
    ),
    workload(
        "P3",
        "SSE → SSE, 20 progress notifications",
        Ask::Progress(20),
        (Wire::Sse, Wire::Sse),
        STREAM,
    ),
    workload("E1", "2026-07-28 → 2026-07-28", ASK, (Wire::Modern, Wire::Modern), ERAS),
    workload(
        "E2",
        "2026-07-28 → 2026-07-28 over stdio",
        ASK,
        (Wire::Modern, Wire::ModernStdio),
        ERAS_CHILD,
    ),
    workload("E3", "2026-07-28 → stdio", ASK, (Wire::Modern, Wire::Stdio), ERAS_CHILD),
    workload("E4", "2026-07-28 → Streamable", ASK, (Wire::Modern, Wire::Streamable), ERAS),
    workload("E5", "2026-07-28 → SSE", ASK, (Wire::Modern, Wire::Sse), ERAS),
    workload("E6", "Streamable → 2026-07-28", ASK, (Wire::Streamable, Wire::Modern), ERAS),
    workload(
        "E7",
        "Streamable → 2026-07-28 over stdio",
        ASK,
        (Wire::Streamable, Wire::ModernStdio),
        ERAS_CHILD,
    ),
    workload(
        "E1-64K",
        "2026-07-28 → 2026-07-28, echo of 64 KiB",
        Ask::Echo(64 << 10),
        (Wire::Modern, Wire::Modern),
        ERAS,
    ),
    workload(
        "E4-64K",
        "2026-07-28 → Streamable, echo of 64 KiB",
        Ask::Echo(64 << 10),
        (Wire::Modern, Wire::Streamable),
        ERAS,
    ),
    workload(
        "E6-64K",
        "Streamable → 2026-07-28, echo of 64 KiB",
        Ask::Echo(64 << 10),
        (Wire::Streamable, Wire::Modern),
        ERAS,
    ),
];
const ASK: Ask = Ask::Echo(100);

const fn workload(
    name: &'static str,
    what: &'static str,
    ask: Ask,
    (front, behind): (Wire, Wire),
    legs: &'static [Leg],
) -> Workload {
    Workload { name, what, front, behind, ask, legs, manner: Manner::Steady }
}

const fn churn(
    name: &'static str,
    what: &'static str,
    behind: Wire,
    legs: &'static [Leg],
) -> Workload {
    let manner = Manner::Churn;
    Workload { name, what, front: Wire::Streamable, behind, ask: ASK, legs, manner }
}
