//! Files of MCP clients, of VS Code, of sparfenyuk's named servers and of mcpo: servers only.

use crate::{
    config::Config,
    dialect::{Dialect, entry},
    file::Node,
    reader::Cx,
    schema::Scope,
};

pub(crate) fn read(cx: &mut Cx<'_>, root: &Node, config: &mut Config) {
    let Some(mut top) = cx.object(root, "") else { return };
    top.ignore(&["$schema"]);
    let servers = match cx.dialect {
        Dialect::VsCode => "servers",
        _ => "mcpServers",
    };
    if let Some((node, path)) = top.take(servers) {
        entry::servers(cx, node, &path, config, &mut |cx, object, _| {
            // What clients keep about a server for themselves.
            object.ignore(&["description", "gallery", "dev", "icon", "displayName", "version"]);
            if object.has("client_header_forwarding") {
                object.ignore(&["client_header_forwarding"]);
                let path = object.path.clone();
                cx.note(&path, "`client_header_forwarding` is not done: set `headers` instead");
            }
            if object.has("oauth") {
                object.ignore(&["oauth"]);
                let path = object.path.clone();
                cx.note(&path, entry::NO_OAUTH);
            }
        });
    }
    if cx.dialect == Dialect::VsCode && top.has("inputs") {
        top.ignore(&["inputs"]);
        cx.note("inputs", "there is nobody to ask here: `${input:…}` has to become `${VAR}`");
    }
    cx.finish(top, Scope::Foreign);
}
