//! What a supervisor and whoever started it say to each other, over a socket that is the
//! supervisor's stdin.
//!
//! One message goes down: the two ends of pipes that become the child's stdin and stdout.  Lines
//! come up: what became of the child.  When the socket ends, whichever way, the child's time is up:
//! the kernel closes it even for a process that gets SIGKILL.

use std::{
    io::{self, IoSlice, IoSliceMut},
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

/// Two file descriptors, as a control message.
const CONTROL_LEN: usize = rustix::cmsg_space!(ScmRights(2));

/// What a supervisor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// The child runs, under this id.
    Started(u32),
    /// The child could not be started: the error of the system.
    Failed(i32),
    /// The child is gone.
    Exited(Exit),
}

/// What a child is given as its stdin and stdout.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
}

impl Streams {
    /// Hands them over.  They wait in the socket until somebody takes them.
    pub(crate) fn send(&self, socket: &UnixStream) -> io::Result<()> {
        let streams = [self.stdin.as_fd(), self.stdout.as_fd()];
        let mut space = [MaybeUninit::uninit(); CONTROL_LEN];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&streams)) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        // A byte has to go along.
        sendmsg(socket, &[IoSlice::new(b"\n")], &mut control, SendFlags::empty())?;
        Ok(())
    }

    /// Waits for them; none if whoever was to send them is gone.
    pub(crate) fn receive(socket: &UnixStream) -> io::Result<Option<Self>> {
        let mut space = [MaybeUninit::uninit(); CONTROL_LEN];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let iov = &mut [IoSliceMut::new(&mut byte)];
        #[cfg(target_os = "linux")]
        let flags = RecvFlags::CMSG_CLOEXEC;
        #[cfg(not(target_os = "linux"))]
        let flags = RecvFlags::empty();
        rustix::io::retry_on_intr(|| recvmsg(socket, iov, &mut control, flags))?;
        let mut streams = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(streams) => Some(streams),
            _ => None,
        });
        let mut streams = streams.next().into_iter().flatten();
        match (streams.next(), streams.next()) {
            (Some(stdin), Some(stdout)) => Ok(Some(Self { stdin, stdout })),
            _ => Ok(None),
        }
    }
}

impl Report {
    /// The line that says so.
    pub(crate) fn to_line(self) -> String {
        match self {
            Self::Started(pid) => format!("started {pid}\n"),
            Self::Failed(errno) => format!("failed {errno}\n"),
            Self::Exited(Exit::Code(code)) => format!("exited {code}\n"),
            Self::Exited(Exit::Signal(signal)) => format!("killed {signal}\n"),
            Self::Exited(Exit::Unknown) => "lost 0\n".to_owned(),
        }
    }

    /// Reads such a line.
    pub(crate) fn read(line: &str) -> Option<Self> {
        let (word, number) = line.trim_end().split_once(' ')?;
        match word {
            "started" => number.parse().ok().map(Self::Started),
            "failed" => number.parse().ok().map(Self::Failed),
            "exited" => number.parse().ok().map(|code| Self::Exited(Exit::Code(code))),
            "killed" => number.parse().ok().map(|signal| Self::Exited(Exit::Signal(signal))),
            "lost" => Some(Self::Exited(Exit::Unknown)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn reports_come_back() {
        let exits = [Exit::Code(3), Exit::Signal(9), Exit::Unknown].map(Report::Exited);
        for report in [Report::Started(7), Report::Failed(2)].into_iter().chain(exits) {
            assert_eq!(Report::read(&report.to_line()), Some(report));
        }
        assert_eq!(Report::read("nonsense"), None);
    }

    #[test]
    fn streams_are_handed_over() {
        let (here, there) = UnixStream::pair().unwrap();
        let (stdin, mut to_stdin) = io::pipe().unwrap();
        let (mut from_stdout, stdout) = io::pipe().unwrap();
        Streams { stdin: stdin.into(), stdout: stdout.into() }.send(&here).unwrap();
        let streams = Streams::receive(&there).unwrap().unwrap();

        to_stdin.write_all(b"in").unwrap();
        drop(to_stdin);
        let mut text = String::new();
        io::PipeReader::from(streams.stdin).read_to_string(&mut text).unwrap();
        io::PipeWriter::from(streams.stdout).write_all(b"out").unwrap();
        from_stdout.read_to_string(&mut text).unwrap();
        assert_eq!(text, "inout");

        drop(here);
        assert!(Streams::receive(&there).unwrap().is_none());
    }
}
