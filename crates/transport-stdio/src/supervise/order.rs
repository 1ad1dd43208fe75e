//! What a supervisor is told to start, and how long it may take to end.

use std::{
    ffi::{OsStr, OsString},
    io::{self, Read},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::Timeouts;

/// How long an order may be, in bytes: more than any system takes for the arguments and the
/// environment of a program, so that it is the system that says what is too much.
const ORDER_LEN_MAX: u32 = 16 << 20;

/// What to start, where and with what, as a supervisor reads it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(super) exit_timeout: Duration,
    pub(super) term_timeout: Duration,
    pub(super) kill_timeout: Duration,
    pub(super) program: OsString,
    pub(super) dir: Option<PathBuf>,
    pub(super) args: Vec<OsString>,
    pub(super) env: Vec<(OsString, OsString)>,
}

impl Order {
    /// The bytes that [`Order::read`] reads: the length of what follows, then texts that end with
    /// NUL, which none of them can contain.
    ///
    /// # Errors
    ///
    /// `InvalidInput` where one of them does, as the standard library has it; `ArgumentListTooLong`.
    pub(crate) fn to_bytes(
        timeouts: &Timeouts,
        (program, args): (&OsStr, &[OsString]),
        dir: Option<&Path>,
        env: &[(OsString, OsString)],
    ) -> io::Result<Vec<u8>> {
        let waits = [timeouts.exit_timeout, timeouts.term_timeout, timeouts.kill_timeout];
        let waits = waits.map(|it| OsString::from(it.as_millis().to_string()));
        let count = OsString::from(args.len().to_string());
        let dir = dir.map(Path::as_os_str).unwrap_or_default();
        let head = waits.iter().map(OsString::as_os_str).chain([program, dir, &count]);
        let args = args.iter().map(OsString::as_os_str);
        let env = env.iter().flat_map(|(name, value)| [name.as_os_str(), value.as_os_str()]);
        let mut bytes = vec![0; size_of::<u32>()];
        for text in head.chain(args).chain(env) {
            if text.as_bytes().contains(&0) {
                let what = "nul byte found in provided data";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
            }
            bytes.extend_from_slice(text.as_bytes());
            bytes.push(0);
        }
        let len = u32::try_from(bytes.len() - size_of::<u32>()).unwrap_or(u32::MAX);
        if ORDER_LEN_MAX < len {
            return Err(rustix::io::Errno::TOOBIG.into());
        }
        bytes.splice(..size_of::<u32>(), len.to_ne_bytes());
        Ok(bytes)
    }

    /// Reads an order, and no byte behind it.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` where whoever wanted it is gone; `InvalidData`.
    pub(super) fn read(mut from: impl Read) -> io::Result<Self> {
        let mut len = [0; size_of::<u32>()];
        from.read_exact(&mut len)?;
        let len = u32::from_ne_bytes(len);
        if ORDER_LEN_MAX < len {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut bytes = Vec::new();
        from.by_ref().take(len.into()).read_to_end(&mut bytes)?;
        if bytes.len() < len as usize {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Self::parse(&bytes).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut texts = bytes.strip_suffix(&[0])?.split(|it| *it == 0);
        let mut text = || texts.next().map(|it| OsString::from_vec(it.to_vec()));
        let mut wait = || text()?.to_str()?.parse().ok().map(Duration::from_millis);
        let (exit_timeout, term_timeout, kill_timeout) = (wait()?, wait()?, wait()?);
        let program = text()?;
        let dir = text().map(PathBuf::from)?;
        let count: usize = text()?.to_str()?.parse().ok()?;
        let mut args = Vec::new();
        for _ in 0..count {
            args.push(text()?);
        }
        let mut env = Vec::new();
        while let Some(name) = text() {
            env.push((name, text()?));
        }
        let dir = Some(dir).filter(|it| !it.as_os_str().is_empty());
        Some(Self { exit_timeout, term_timeout, kill_timeout, program, dir, args, env })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_come_back() {
        let timeouts = Timeouts::default();
        let args = ["-y", "", "a b\n"].map(OsString::from);
        let env = [("A".into(), "1=2".into()), ("EMPTY".into(), OsString::new())];
        for dir in [None, Some(Path::new("/some place"))] {
            let bytes = Order::to_bytes(&timeouts, (OsStr::new("npx"), &args), dir, &env).unwrap();
            let mut rest = [&*bytes, b"more"].concat();
            let mut from = &*rest;
            let order = Order::read(&mut from).unwrap();
            assert_eq!(from, b"more");
            assert_eq!((order.program, order.args), ("npx".into(), args.to_vec()));
            assert_eq!((order.dir.as_deref(), order.env), (dir, env.to_vec()));
            assert_eq!(order.exit_timeout, timeouts.exit_timeout);
            assert_eq!(order.kill_timeout, timeouts.kill_timeout);
            rest.truncate(bytes.len() - 1);
            assert_eq!(Order::read(&*rest).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn nonsense_is_no_order() {
        let of = |text: &[u8]| {
            let len = u32::try_from(text.len()).unwrap().to_ne_bytes();
            Order::read(&*[&len, text].concat()).map_err(|it| it.kind())
        };
        assert!(of(b"1\x002\x003\0sh\0\x000\0").is_ok());
        for wrong in [
            &b""[..],
            b"1\x002\x00x\0sh\0\x000\0",
            b"1\x002\x003\0sh\0\x002\0one\0",
            b"1\x002\x003\0sh\0\x000\0NAME\0",
            b"1\x002\x003\0sh\0\x000",
        ] {
            assert_eq!(of(wrong), Err(io::ErrorKind::InvalidData), "{}", wrong.escape_ascii());
        }
        let long = (ORDER_LEN_MAX + 1).to_ne_bytes();
        assert_eq!(Order::read(&*long.to_vec()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn what_no_program_can_be_given_is_not_ordered() {
        let order = |args: &[OsString]| {
            Order::to_bytes(&Timeouts::default(), (OsStr::new("sh"), args), None, &[])
                .map_err(|it| it.kind())
        };
        assert_eq!(order(&["a\0b".into()]), Err(io::ErrorKind::InvalidInput));
        let long = OsString::from("x".repeat(ORDER_LEN_MAX as usize));
        assert_eq!(order(&[long]), Err(io::ErrorKind::ArgumentListTooLong));
    }
}
