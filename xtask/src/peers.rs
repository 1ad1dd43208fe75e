//! Programs of others that the benchmark measures beside the gateway: installed under
//! `target/peers` from the pins in `fixtures/peers`, once for each state of the pins.
//!
//! What there is is written to `target/peers/parts`, a line `name=version path` each.  A program
//! that cannot be had here is left out, loudly; its figures are then `no`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    real::{self, Place, RealError},
    run::Task,
};

/// All of them, in the order in which they are installed: the one that is built comes last.
const NAMES: [&str; 7] =
    ["nginx", "sparfenyuk", "fastmcp", "mcpo", "punkpeye", "supergateway", "joshrotenberg"];
/// Of crates.io: what is built.
const CRATE: (&str, &str) = ("mcp-proxy", "0.6.0");
/// How long building that may take.
const BUILD_TIMEOUT: Duration = Duration::from_mins(40);
/// How long a program may take to tell its version.
const ASK_TIMEOUT: Duration = Duration::from_secs(30);

/// A program, and which version.
type Found = Result<(String, PathBuf), String>;

/// Installs what `--peers` names among the arguments of `bench`, and returns the arguments that
/// tell the harness where it is; none where no peer was asked for.
pub(crate) fn prepare(root: &Path, arguments: &[String]) -> Result<Vec<String>, RealError> {
    let wanted = wanted(arguments);
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let dir = root.join("target/peers");
    fs::create_dir_all(&dir).map_err(|error| RealError::File(dir.clone(), error))?;
    let dir = dir.canonicalize().map_err(|error| RealError::File(dir, error))?;
    let place = Place::new(root.join("fixtures/peers"), dir);
    let mut text = String::new();
    for name in wanted {
        match install(root, &place, name) {
            Ok((version, path)) => text += &format!("{name}={version} {}\n", path.display()),
            Err(why) => println!("MISSING: {name}: {why}"),
        }
    }
    let file = place.dir.join("parts");
    fs::write(&file, text).map_err(|error| RealError::File(file.clone(), error))?;
    Ok(vec!["--peer-parts".to_owned(), file.to_string_lossy().into_owned()])
}

/// Those among the arguments of `bench`; what is unknown the harness refuses.
fn wanted(arguments: &[String]) -> Vec<&'static str> {
    let mut words = arguments.iter();
    let text = words.find_map(|word| match word.strip_prefix("--peers") {
        Some("") => Some(""),
        Some(rest) => rest.strip_prefix('='),
        None => None,
    });
    let text = match text {
        Some("") => words.next().map_or("", String::as_str),
        Some(text) => text,
        None => return Vec::new(),
    };
    let named = |name: &&&str| text == "all" || text.split(',').any(|it| it.trim() == **name);
    NAMES.iter().filter(named).copied().collect()
}

fn install(root: &Path, place: &Place, name: &'static str) -> Found {
    match name {
        "nginx" => nginx(place),
        "joshrotenberg" => built(root, place),
        "punkpeye" | "supergateway" => {
            let (node, version) = real::node(root)?;
            place.install_node("node", "node", &node, &version).map_err(|it| it.to_string())?;
            let (package, program) = match name {
                "punkpeye" => ("mcp-proxy", "mcp-proxy"),
                other => (other, other),
            };
            let program = place.dir.join("node/node_modules/.bin").join(program);
            Ok((node_pin(place, package)?, program))
        }
        _ => {
            let (python, version) = real::python(root)?;
            let (package, import) = match name {
                "sparfenyuk" => ("mcp-proxy", "import mcp_proxy"),
                "mcpo" => ("mcpo", "import mcpo"),
                other => (other, "import fastmcp.server"),
            };
            let done = place.install_python(name, import, &python, &version);
            done.map_err(|it| it.to_string())?;
            let program = place.dir.join(name).join("bin").join(package);
            Ok((python_pin(place, name, package)?, program))
        }
    }
}

/// The system's, else Debian's package, unpacked: nothing is set up and nothing started.
fn nginx(place: &Place) -> Found {
    let path = env::var_os("PATH").unwrap_or_default();
    let places = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let mut found = places.map(|it| it.join("nginx")).find(|it| it.is_file());
    if found.is_none() {
        let dir = place.dir.join("nginx");
        let done = place.once("nginx", "Debian's", || {
            let fetch = || Task::new(&dir, "apt-get").args(&["download", "-qq", "nginx"]).output();
            real::tried("nginx", fetch)?;
            let packages = fs::read_dir(&dir).map_err(|it| RealError::File(dir.clone(), it))?;
            for package in packages.flatten().map(|it| it.path()) {
                let package = package.to_string_lossy();
                let unpack = Task::new(&dir, "dpkg-deb").args(&["-x", &package, "."]);
                unpack.output().map_err(|it| RealError::Install("nginx".to_owned(), it))?;
            }
            Ok(())
        });
        done.map_err(|it| it.to_string())?;
        found = Some(dir.join("usr/sbin/nginx"));
    }
    let program = found.ok_or("not installed")?;
    // It says so on standard error; that it runs at all is what counts here.
    let script = "\"$0\" -v 2>&1";
    let told = Task::new(&place.dir, "sh").args(&["-c", script, &program.to_string_lossy()]);
    let told = told.timeout(ASK_TIMEOUT).output().map_err(|it| it.to_string())?;
    let version = told.rsplit('/').next().unwrap_or_default();
    Ok((version.split_whitespace().next().unwrap_or("?").to_owned(), program))
}

fn built(root: &Path, place: &Place) -> Found {
    let (name, version) = CRATE;
    let dir = place.dir.join("joshrotenberg");
    let done = place.once("joshrotenberg", version, || {
        let (to, objects) = (dir.to_string_lossy(), dir.join("objects"));
        let at = objects.to_string_lossy();
        let words = ["install", "--locked", "--quiet", "--version", version, "--root", &to];
        let words = [&words[..], &["--target-dir", &at, name]].concat();
        real::tried(name, || Task::cargo(root, &words).timeout(BUILD_TIMEOUT).output())?;
        fs::remove_dir_all(&objects).map_err(|error| RealError::File(objects, error))
    });
    done.map_err(|it| it.to_string())?;
    Ok((version.to_owned(), place.dir.join("joshrotenberg/bin").join(name)))
}

fn node_pin(place: &Place, package: &str) -> Result<String, String> {
    let text = place.pin("node/package.json").map_err(|it| it.to_string())?;
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|it| it.to_string())?;
    let pin = json.pointer(&format!("/dependencies/{package}")).and_then(|it| it.as_str());
    pin.map(str::to_owned).ok_or_else(|| format!("{package} is not pinned"))
}

fn python_pin(place: &Place, set: &str, package: &str) -> Result<String, String> {
    let text = place.pin(&format!("requirements-{set}.txt")).map_err(|it| it.to_string())?;
    let pin = text.lines().find_map(|it| it.strip_prefix(package)?.strip_prefix("=="));
    pin.map(str::to_owned).ok_or_else(|| format!("{package} is not pinned"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_found_among_the_arguments() {
        let wanted =
            |line: &str| wanted(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        assert!(wanted("--quick").is_empty());
        assert!(wanted("--peers none").is_empty());
        assert!(wanted("--peers").is_empty());
        assert_eq!(wanted("--quick --peers all --json x"), NAMES);
        assert_eq!(wanted("--peers=mcpo,nginx"), ["nginx", "mcpo"]);
        assert!(wanted("--peer-parts FILE").is_empty());
    }

    #[test]
    fn every_package_is_pinned() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let place = Place::new(root.join("fixtures/peers"), root.join("target/peers"));
        for package in ["mcp-proxy", "supergateway"] {
            assert!(node_pin(&place, package).unwrap().contains('.'), "{package}");
        }
        for (set, package) in
            [("sparfenyuk", "mcp-proxy"), ("fastmcp", "fastmcp"), ("mcpo", "mcpo")]
        {
            assert!(python_pin(&place, set, package).unwrap().contains('.'), "{package}");
        }
    }
}
