//! Real MCP servers and clients for the tests: installed under `target/real` from the pins in
//! `fixtures/real`, once for each state of the pins; and a client and a server on the Rust SDK,
//! built there.
//!
//! What was found is written to `target/real/parts`, a line `name=value` each. A test reads that
//! file (`bins/gateway/tests/real/parts.rs`); a part that is not in it cannot be had here.

use std::{
    env, fmt, fs, io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use crate::run::{RunError, Task, pause};

/// How often an installation is tried: registries have bad moments.
const ATTEMPTS_MAX: u32 = 3;
/// How long one attempt may take.
const INSTALL_TIMEOUT: Duration = Duration::from_mins(10);
/// How long a program may take to tell its version.
const ASK_TIMEOUT: Duration = Duration::from_secs(30);
/// The oldest Node.js and Python that the pinned packages run on.
const NODE_MAJOR_MIN: u32 = 20;
const PYTHON_MINOR_MIN: u32 = 10;

/// The npm sets, each in a folder of its own, and where its pins are.
const NODE_SETS: [(&str, &str); 3] =
    [("node", ""), ("third-party", "third-party"), ("typescript-2", "typescript-2")];

/// The Python sets, each in an environment of its own, and what each must be able to import.
const PYTHON_SETS: [(&str, &str); 6] = [
    ("clients", "import mcp.client.streamable_http"),
    ("old", "import mcp.client.sse, mcp.server.fastmcp"),
    ("fastmcp", "import fastmcp.client"),
    ("servers", "import mcp_server_fetch, mcp_server_git, mcp_server_time"),
    ("postgres", "import postgres_mcp"),
    ("prometheus", "import prometheus_client.openmetrics.parser"),
];

/// A workspace of its own: what it depends on is none of the product's.
const RUST: &str = "fixtures/rmcp/Cargo.toml";

/// What the tests can use.
#[derive(Debug)]
pub(crate) struct Parts {
    /// The file that tells the tests.
    pub(crate) file: PathBuf,
    /// What cannot be had on this machine, and how it could.
    pub(crate) missing: Vec<String>,
}

/// Why the parts are not ready.
#[derive(Debug)]
pub(crate) enum RealError {
    /// A file could not be read or written.
    File(PathBuf, io::Error),
    /// An installation failed as often as it was tried.
    Install(String, RunError),
    /// An installation ended in the middle of nowhere.
    Died(&'static str),
}

impl fmt::Display for RealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Install(what, error) => {
                write!(f, "{what} was not installed after {ATTEMPTS_MAX} attempts: {error}")
            }
            Self::Died(what) => write!(f, "the installation of {what} died"),
        }
    }
}

/// Installs what is not installed yet and writes down what there is.
pub(crate) fn prepare(root: &Path) -> Result<Parts, RealError> {
    let place = Place { pins: root.join("fixtures/real"), dir: root.join("target/real") };
    fs::create_dir_all(&place.dir).map_err(|error| RealError::File(place.dir.clone(), error))?;
    // Several checkouts may share one installation through a link: it has one name.
    let dir = place.dir.canonicalize().map_err(|error| RealError::File(place.dir, error))?;
    let place = Place { pins: place.pins, dir };
    let (node, python, postgres) = (node(root), python(root), postgres());
    thread::scope(|scope| {
        let mut jobs = Vec::new();
        if let Ok((program, version)) = &node {
            for (set, pins) in NODE_SETS {
                let job = || place.install_node(set, pins, program, version);
                jobs.push((set, scope.spawn(job)));
            }
        }
        if let Ok((program, version)) = &python {
            for (set, import) in PYTHON_SETS {
                let job = || place.install_python(set, import, program, version);
                jobs.push((set, scope.spawn(job)));
            }
        }
        jobs.push(("rmcp", scope.spawn(|| place.build_rust(root))));
        jobs.into_iter()
            .try_for_each(|(what, job)| job.join().unwrap_or(Err(RealError::Died(what))))
    })?;
    let mut lines = vec![("dir", place.dir.to_string_lossy().into_owned())];
    let mut missing = Vec::new();
    for (name, found) in [
        ("node", node.map(|it| it.0)),
        ("python", python.map(|it| it.0)),
        ("postgres_bin", postgres),
    ] {
        match found {
            Ok(value) => lines.push((name, value)),
            Err(why) => missing.push(why),
        }
    }
    let file = place.dir.join("parts");
    let text: String = lines.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    fs::write(&file, text).map_err(|error| RealError::File(file.clone(), error))?;
    Ok(Parts { file, missing })
}

/// Installs the packages that `package-lock.json` in `pins` names into `dir`, unless they are
/// there, and returns the folder they are in.
pub(crate) fn npm(
    pins: PathBuf,
    dir: PathBuf,
    node: &str,
    version: &str,
) -> Result<PathBuf, RealError> {
    fs::create_dir_all(&dir).map_err(|error| RealError::File(dir.clone(), error))?;
    let place = Place { pins, dir };
    place.install_node("node", "", node, version)?;
    Ok(place.dir.join("node/node_modules"))
}

/// Where pins are, and where what they name is installed.
#[derive(Debug)]
pub(crate) struct Place {
    pins: PathBuf,
    /// In a folder for each set.
    pub(crate) dir: PathBuf,
}

impl Place {
    pub(crate) const fn new(pins: PathBuf, dir: PathBuf) -> Self {
        Self { pins, dir }
    }

    pub(crate) fn install_node(
        &self,
        set: &'static str,
        pins: &str,
        program: &str,
        version: &str,
    ) -> Result<(), RealError> {
        let pin = |name: &str| self.pin(&Path::new(pins).join(name).to_string_lossy());
        let (json, lock) = (pin("package.json")?, pin("package-lock.json")?);
        let dir = self.dir.join(set);
        let stamp = format!("{program} {version}\n{json}{lock}");
        self.once(set, &stamp, || {
            write(&dir.join("package.json"), &json)?;
            write(&dir.join("package-lock.json"), &lock)?;
            let words = ["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"];
            tried(set, || Task::new(&dir, "npm").args(&words).timeout(INSTALL_TIMEOUT).output())
        })
    }

    pub(crate) fn install_python(
        &self,
        set: &'static str,
        import: &str,
        program: &str,
        version: &str,
    ) -> Result<(), RealError> {
        let name = format!("requirements-{set}.txt");
        // Part of every stamp where there is one.
        let shim = match self.pin("override.pth") {
            Err(RealError::File(_, error)) if error.kind() == io::ErrorKind::NotFound => {
                String::new()
            }
            shim => shim?,
        };
        let stamp =
            format!("{program} {version} {}\n{shim}{}", self.dir.display(), self.pin(&name)?);
        let (dir, pins) = (self.dir.join(set), self.pins.join(&name));
        self.once(set, &stamp, || {
            let made = Task::new(&self.dir, program).args(&["-m", "venv", "--clear", set]);
            let made = made.timeout(INSTALL_TIMEOUT).output();
            made.map_err(|error| RealError::Install(format!("{set} (python3-venv?)"), error))?;
            let python = dir.join("bin/python");
            let pins = pins.to_string_lossy();
            let words = [
                &["-m", "pip", "install", "--quiet", "--disable-pip-version-check"][..],
                // Nothing is resolved and nothing is built: the pins are complete.
                &["--no-deps", "--only-binary=:all:", "--ignore-requires-python", "-r", &pins],
            ]
            .concat();
            tried(set, || Task::new(&dir, &python).args(&words).timeout(INSTALL_TIMEOUT).output())?;
            if set == "postgres" {
                let where_to = "import sysconfig; print(sysconfig.get_path('purelib'))";
                let site = Task::new(&dir, &python).args(&["-c", where_to]).output();
                let site = site.map_err(|error| RealError::Install(set.to_owned(), error))?;
                write(&Path::new(site.trim()).join("override.pth"), &shim)?;
            }
            let works = Task::new(&dir, &python).args(&["-c", import]).output();
            works.map(drop).map_err(|error| RealError::Install(set.to_owned(), error))
        })
    }

    /// Builds the client and the server on the Rust SDK.  Cargo knows what has been done.
    fn build_rust(&self, root: &Path) -> Result<(), RealError> {
        let (manifest, dir) = (root.join(RUST), self.dir.join("rmcp"));
        let (manifest, dir) = (manifest.to_string_lossy(), dir.to_string_lossy());
        let words =
            ["build", "--locked", "--quiet", "--manifest-path", &manifest, "--target-dir", &dir];
        tried("rmcp", || Task::cargo(root, &words).timeout(INSTALL_TIMEOUT).output())
    }

    /// Does what has not been done under this stamp, in an empty folder.
    pub(crate) fn once(
        &self,
        name: &str,
        stamp: &str,
        install: impl FnOnce() -> Result<(), RealError>,
    ) -> Result<(), RealError> {
        let (dir, done) = (self.dir.join(name), self.dir.join(format!("{name}.stamp")));
        if fs::read_to_string(&done).is_ok_and(|it| it == stamp) && dir.is_dir() {
            return Ok(());
        }
        println!("installing {name} in {}", self.dir.display());
        for stale in [fs::remove_file(&done), fs::remove_dir_all(&dir), fs::create_dir_all(&dir)] {
            match stale {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(RealError::File(dir, error));
                }
                _ => {}
            }
        }
        install()?;
        write(&done, stamp)?;
        println!("{name} is ready");
        Ok(())
    }

    pub(crate) fn pin(&self, name: &str) -> Result<String, RealError> {
        let path = self.pins.join(name);
        fs::read_to_string(&path).map_err(|error| RealError::File(path, error))
    }
}

fn write(path: &Path, text: &str) -> Result<(), RealError> {
    fs::write(path, text).map_err(|error| RealError::File(path.to_owned(), error))
}

/// Repeats an installation that fails, each time after a longer pause.
pub(crate) fn tried(
    what: &str,
    mut attempt: impl FnMut() -> Result<String, RunError>,
) -> Result<(), RealError> {
    let mut number = 1;
    loop {
        match attempt() {
            Ok(_) => return Ok(()),
            Err(error) if number < ATTEMPTS_MAX => {
                println!("{what}, attempt {number} of {ATTEMPTS_MAX}: {error}");
                pause(Duration::from_secs(u64::from(number) * 3));
                number += 1;
            }
            Err(error) => return Err(RealError::Install(what.to_owned(), error)),
        }
    }
}

/// The program and its version, or what is missing.
pub(crate) fn node(root: &Path) -> Result<(String, String), String> {
    let ask = |program: &str| Task::new(root, program).args(&["--version"]).timeout(ASK_TIMEOUT);
    let version = ask("node").output().map_err(|_| "node: not installed".to_owned())?;
    let major = version.trim().trim_start_matches('v').split('.').next();
    if major.and_then(|it| it.parse::<u32>().ok()).is_none_or(|it| it < NODE_MAJOR_MIN) {
        return Err(format!("node: {} is older than {NODE_MAJOR_MIN}", version.trim()));
    }
    ask("npm").output().map_err(|_| "node: npm is not installed".to_owned())?;
    Ok(("node".to_owned(), version.trim().to_owned()))
}

pub(crate) fn python(root: &Path) -> Result<(String, String), String> {
    let ask = "import sys, venv, ensurepip; print(sys.version_info.minor, sys.executable)";
    let told = Task::new(root, "python3").args(&["-c", ask]).timeout(ASK_TIMEOUT).output();
    let told = told.map_err(|_| "python: python3 with venv is not installed".to_owned())?;
    let (minor, program) = told.trim().split_once(' ').unwrap_or_default();
    if minor.parse::<u32>().is_ok_and(|it| PYTHON_MINOR_MIN <= it) {
        return Ok((program.to_owned(), format!("3.{minor}")));
    }
    Err(format!("python: 3.{minor} is older than 3.{PYTHON_MINOR_MIN}"))
}

/// The folder of PostgreSQL's programs: that of the one on the path, else Debian's newest.
fn postgres() -> Result<String, String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|dir| dir.join("postgres"));
    let mut debian: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|it| it.path().join("bin/postgres"))
        .collect();
    debian.sort();
    let real = on_path.chain(debian.into_iter().rev()).find_map(|it| it.canonicalize().ok());
    let dir = real.as_deref().and_then(Path::parent).filter(|it| it.join("initdb").is_file());
    let dir = dir.ok_or_else(|| "postgres: PostgreSQL's server is not installed".to_owned())?;
    Ok(dir.to_string_lossy().into_owned())
}
