//! What becomes of counts when the configuration changes.

use serde_json::{Value, json};

use super::Changing;
use crate::{
    metrics::{Samples, counted},
    rig::servers,
};

const OF_DEMO: &str = r#"mcp_gateway_http_requests_total{server="demo",code="200"}"#;
const OF_NOBODY: &str = r#"mcp_gateway_http_requests_total{code="404"}"#;

fn config(others: &[&str], timeout: &str) -> Value {
    let mut all = json!({ "demo": { "type": "demo", "requestTimeout": timeout } });
    for other in others {
        all[other] = json!({ "type": "demo" });
    }
    counted(servers(all))
}

#[test]
fn counts_go_on_with_servers_that_stay_and_end_with_the_others() {
    let it = Changing::start(&config(&["other"], "1h"));
    it.gateway.begin("/demo/mcp");
    it.gateway.begin("/other/mcp");
    assert_eq!(it.gateway.get("/nowhere").status, 404);
    // Adjusted: its rooms in front are others.
    it.change(&config(&["other", "new"], "2h"));
    it.gateway.begin("/demo/mcp");
    let seen = Samples::of(&it.gateway);
    seen.check(OF_DEMO, 2.0);
    seen.check(OF_NOBODY, 1.0);
    assert!(seen.mentions("other") && seen.mentions("new"));
    // One that comes back under the same name begins anew.
    it.change(&config(&[], "2h"));
    assert!(!Samples::of(&it.gateway).mentions("other"));
    it.change(&config(&["other"], "2h"));
    let seen = Samples::of(&it.gateway);
    seen.check(OF_DEMO, 2.0);
    assert_eq!(seen.get(&OF_DEMO.replace("demo", "other")), None);
}

#[test]
fn whether_anything_is_counted_stays_as_it_was() {
    let it = Changing::start(&config(&[], "1h"));
    let mut off = config(&[], "1h");
    off["gateway"]["metrics"] = json!(false);
    let report = it.change(&off);
    assert_eq!(report["needsRestart"], json!(["gateway.metrics"]), "{report}");
    Samples::of(&it.gateway).check(r#"mcp_gateway_backend_up{server="demo"}"#, 1.0);
}
