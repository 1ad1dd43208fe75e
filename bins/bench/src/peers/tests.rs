//! Command lines of programs that need not be there, and what they stand between.

use super::*;

const ADDR: &str = "127.0.0.1:20001";

fn start(peer: Peer, front: Wire, behind: &Behind<'_>) -> (Start, tempfile::TempDir) {
    let parts = Parts::parse(&Peer::ALL.map(|it| format!("{0}=1.0 /p/{0}\n", it.text())).concat());
    let folder = tempfile::tempdir().unwrap();
    let addr = ADDR.parse().unwrap();
    (peer.start(&parts.unwrap(), (front, behind), addr, folder.path()).unwrap(), folder)
}

#[test]
fn the_list_of_what_is_installed_is_read() {
    let parts = Parts::parse("nginx=1.22.1 /usr/sbin/nginx\nmcpo=0.0.20 /a b/mcpo\n").unwrap();
    assert_eq!(parts.version(Peer::Nginx), Some("1.22.1"));
    assert_eq!(parts.0[&Peer::Mcpo].1, Path::new("/a b/mcpo"));
    assert_eq!(parts.version(Peer::FastMcp), None);
    for wrong in ["somebody=1 /x", "nginx", "nginx=/usr/sbin/nginx"] {
        assert_eq!(Parts::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn each_is_told_where_to_listen_and_what_is_behind() {
    let args = ["upstream".to_owned(), "--transport=stdio".to_owned()];
    let child = Behind::Child(Path::new("/b/bench"), &args);
    let http = Behind::Http(Wire::Streamable, "127.0.0.1:20002".parse().unwrap());
    for peer in Peer::ALL {
        for (behind, told) in [(&child, "/b/bench"), (&http, "127.0.0.1:20002")] {
            let wire =
                if matches!(behind, Behind::Child(..)) { Wire::Stdio } else { Wire::Streamable };
            if peer.cannot(Wire::Streamable, wire).is_some() {
                continue;
            }
            let (start, folder) = start(peer, Wire::Streamable, behind);
            assert_eq!(start.program, Path::new(&format!("/p/{}", peer.text())));
            let files = std::fs::read_dir(folder.path())
                .unwrap()
                .filter_map(|it| std::fs::read_to_string(it.unwrap().path()).ok());
            let all = files.chain([start.args.join(" ")]).collect::<String>();
            assert!(all.contains(told) && all.contains("20001"), "{peer:?}: {all}");
        }
    }
    let (sse, _) = start(Peer::Supergateway, Wire::Sse, &child);
    assert!(sse.args.ends_with(&["--outputTransport".to_owned(), "sse".to_owned()]), "{sse:?}");
}

#[test]
fn who_cannot_says_why_and_who_is_not_there_too() {
    use Wire::{Modern, Sse, Stdio, Streamable};
    for (peer, front, behind, can) in [
        (Peer::Nginx, Streamable, Streamable, true),
        (Peer::Nginx, Modern, Modern, true),
        (Peer::Nginx, Sse, Streamable, false),
        (Peer::Nginx, Streamable, Stdio, false),
        (Peer::Sparfenyuk, Sse, Stdio, true),
        (Peer::Sparfenyuk, Sse, Sse, false),
        (Peer::Supergateway, Streamable, Streamable, false),
        (Peer::FastMcp, Sse, Sse, true),
        (Peer::FastMcp, Modern, Streamable, false),
        (Peer::Joshrotenberg, Streamable, Stdio, true),
        (Peer::Joshrotenberg, Sse, Stdio, false),
        (Peer::Mcpo, Streamable, Stdio, true),
    ] {
        assert_eq!(peer.cannot(front, behind).is_none(), can, "{peer:?} {front:?} {behind:?}");
    }
    assert_eq!(Peer::Mcpo.front(Streamable), Wire::OpenApi);
    let http = Behind::Http(Streamable, ADDR.parse().unwrap());
    let none = Peer::Nginx.start(
        &Parts::default(),
        (Streamable, &http),
        ADDR.parse().unwrap(),
        Path::new("/"),
    );
    assert!(matches!(none, Err(Failure::Process(text)) if text.contains("not installed")));
}
