//! What a gateway, its keeper and a supervisor say to each other.
//!
//! To the keeper goes one byte for each child, and with it the supervisor's end of a socket and the
//! child's ends of three pipes.  Over that socket the order goes down, and lines come up: what
//! became of the child.  When it ends, whichever way, the child's time is up: the kernel closes it
//! even for a process that gets SIGKILL.

use std::{
    io::{self, IoSlice, IoSliceMut, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::Exit;

/// The file descriptors of a [`HandOver`], as a control message.
const CONTROL_LEN: usize = rustix::cmsg_space!(ScmRights(4));

/// What a supervisor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// The child runs, and so does its supervisor, under these ids.
    Started { child: u32, supervisor: u32 },
    /// The child could not be started: the error of the system.
    Failed(i32),
    /// There is no supervisor: the error of the system.
    Unsupervised(i32),
    /// The child is gone.
    Exited(Exit),
    /// All that is to be done is done.
    Over,
}

/// What a supervisor has of its gateway.
#[derive(Debug)]
pub(crate) struct HandOver {
    /// Its end of the socket.
    pub(crate) control: UnixStream,
    /// What the child is given as its streams; the last one is the supervisor's too.
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// What came of a [`HandOver`].
#[derive(Debug)]
pub(super) enum Taken {
    Whole(HandOver),
    /// There were no more descriptors to be had.
    Part,
    /// Whoever was to send one is gone.
    Nothing,
}

impl HandOver {
    /// Hands it over.  It waits in the socket until somebody takes it.
    pub(super) fn send(&self, socket: &UnixStream) -> io::Result<()> {
        let fds =
            [self.control.as_fd(), self.stdin.as_fd(), self.stdout.as_fd(), self.stderr.as_fd()];
        let mut space = [MaybeUninit::uninit(); CONTROL_LEN];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        // A byte has to go along.
        sendmsg(socket, &[IoSlice::new(b"\n")], &mut control, SendFlags::empty())?;
        Ok(())
    }

    /// Waits for one.
    pub(super) fn receive(socket: &UnixStream) -> io::Result<Taken> {
        let mut space = [MaybeUninit::uninit(); CONTROL_LEN];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let iov = &mut [IoSliceMut::new(&mut byte)];
        #[cfg(target_os = "linux")]
        let flags = RecvFlags::CMSG_CLOEXEC;
        #[cfg(not(target_os = "linux"))]
        let flags = RecvFlags::empty();
        let message = rustix::io::retry_on_intr(|| recvmsg(socket, iov, &mut control, flags))?;
        let fds = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        });
        let mut fds: Vec<OwnedFd> = fds.flatten().collect();
        #[cfg(not(target_os = "linux"))]
        for fd in &fds {
            rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC)?;
        }
        let mut next = || (!fds.is_empty()).then(|| fds.remove(0));
        Ok(match (next(), next(), next(), next()) {
            (Some(control), Some(stdin), Some(stdout), Some(stderr)) => {
                Taken::Whole(Self { control: control.into(), stdin, stdout, stderr })
            }
            _ if message.bytes == 0 => Taken::Nothing,
            _ => Taken::Part,
        })
    }
}

impl Report {
    /// The line that says so.
    pub(crate) fn to_line(self) -> String {
        match self {
            Self::Started { child, supervisor } => format!("started {child} {supervisor}\n"),
            Self::Failed(errno) => format!("failed {errno}\n"),
            Self::Unsupervised(errno) => format!("unsupervised {errno}\n"),
            Self::Exited(Exit::Code(code)) => format!("exited {code}\n"),
            Self::Exited(Exit::Signal(signal)) => format!("killed {signal}\n"),
            Self::Exited(Exit::Unknown) => "lost\n".to_owned(),
            Self::Over => "over\n".to_owned(),
        }
    }

    /// Reads such a line.
    pub(crate) fn read(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let word = words.next()?;
        let mut number = || words.next()?.parse::<i32>().ok();
        let id = |number: i32| u32::try_from(number).ok();
        match word {
            "started" => {
                let (child, supervisor) = (number().and_then(id)?, number().and_then(id)?);
                Some(Self::Started { child, supervisor })
            }
            "failed" => number().map(Self::Failed),
            "unsupervised" => number().map(Self::Unsupervised),
            "exited" => number().map(|code| Self::Exited(Exit::Code(code))),
            "killed" => number().map(|signal| Self::Exited(Exit::Signal(signal))),
            "lost" => Some(Self::Exited(Exit::Unknown)),
            "over" => Some(Self::Over),
            _ => None,
        }
    }
}

/// Says it to whoever has the other end.
pub(super) fn report(socket: &mut UnixStream, report: Report) {
    // Whoever would have wanted to know is gone, and that ends the watch.
    socket.write_all(report.to_line().as_bytes()).ok();
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn reports_come_back() {
        let exits = [Exit::Code(3), Exit::Signal(9), Exit::Unknown].map(Report::Exited);
        let started = Report::Started { child: 7, supervisor: 6 };
        let others = [started, Report::Failed(2), Report::Unsupervised(11), Report::Over];
        for report in others.into_iter().chain(exits) {
            assert_eq!(Report::read(&report.to_line()), Some(report));
        }
        for nonsense in ["", "nonsense", "started 7", "failed x"] {
            assert_eq!(Report::read(nonsense), None);
        }
    }

    #[test]
    fn streams_are_handed_over() {
        let (here, there) = UnixStream::pair().unwrap();
        let (mut up, control) = UnixStream::pair().unwrap();
        let (stdin, mut to_stdin) = io::pipe().unwrap();
        let (mut from_stdout, stdout) = io::pipe().unwrap();
        let (mut from_stderr, stderr) = io::pipe().unwrap();
        let (stdin, stdout, stderr) = (stdin.into(), stdout.into(), stderr.into());
        HandOver { control, stdin, stdout, stderr }.send(&here).unwrap();
        let Taken::Whole(mut taken) = HandOver::receive(&there).unwrap() else { panic!() };

        to_stdin.write_all(b"in").unwrap();
        drop(to_stdin);
        let mut text = String::new();
        io::PipeReader::from(taken.stdin).read_to_string(&mut text).unwrap();
        io::PipeWriter::from(taken.stdout).write_all(b"out").unwrap();
        from_stdout.read_to_string(&mut text).unwrap();
        io::PipeWriter::from(taken.stderr).write_all(b"err").unwrap();
        from_stderr.read_to_string(&mut text).unwrap();
        report(&mut taken.control, Report::Over);
        drop(taken.control);
        up.read_to_string(&mut text).unwrap();
        assert_eq!(text, "inouterrover\n");

        (&here).write_all(b"\n").unwrap();
        assert!(matches!(HandOver::receive(&there).unwrap(), Taken::Part));
        drop(here);
        assert!(matches!(HandOver::receive(&there).unwrap(), Taken::Nothing));
    }
}
