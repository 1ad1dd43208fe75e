//! A session with a child of its own: what a client without a gateway does.

use std::{path::Path, process::Stdio, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout},
};

use super::is_answer;
use crate::{
    error::{Failure, Result},
    fleet,
    http::BODY_BYTES_MAX,
    modern::{self, Era},
    rpc,
};

/// A child that was told to end may take this long.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// An open session; dropped, its child is killed.
pub(crate) struct Session {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Session {
    pub(super) async fn open(era: Era, program: &Path, args: &[String]) -> Result<Self> {
        let mut command = fleet::command(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child =
            command.spawn().map_err(Failure::io(format!("starting {}", program.display())))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::Process("a child without pipes".to_owned()));
        };
        let output = BufReader::with_capacity(64 * 1024, output);
        let mut session = Self { child, input, output };
        if era == Era::Modern {
            let (answer, _) = session.ask(&modern::request(0, "server/discover")).await?;
            modern::check_discovered(&answer, 0)?;
            return Ok(session);
        }
        let (answer, _) = session.ask(&rpc::initialize(0)).await?;
        rpc::check_initialize(&answer, 0)?;
        session.write(&rpc::initialized()).await?;
        Ok(session)
    }

    pub(super) async fn ask(&mut self, body: &[u8]) -> Result<(Bytes, u32)> {
        self.write(body).await?;
        let mut notes = 0;
        loop {
            let line = self.line().await?;
            if is_answer(&line)? {
                return Ok((line.into(), notes));
            }
            notes += 1;
        }
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    pub(super) async fn close(mut self) -> Result<()> {
        drop(self.input);
        match tokio::time::timeout(END_TIMEOUT, self.child.wait()).await {
            Ok(ended) => ended.map(drop).map_err(Failure::io("waiting for a child")),
            Err(_) => self.child.kill().await.map_err(Failure::io("killing a child")),
        }
    }

    async fn write(&mut self, body: &[u8]) -> Result<()> {
        let mut line = Vec::with_capacity(body.len() + 1);
        line.extend_from_slice(body);
        line.push(b'\n');
        self.input.write_all(&line).await.map_err(Failure::io("writing to a child"))
    }

    async fn line(&mut self) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        let mut bounded = (&mut self.output).take(BODY_BYTES_MAX as u64);
        let read = bounded.read_until(b'\n', &mut line).await;
        if read.map_err(Failure::io("reading from a child"))? == 0 {
            return Err(Failure::Process("the child has ended".to_owned()));
        }
        if line.pop() != Some(b'\n') {
            return Err(Failure::Peer("a line without an end".to_owned()));
        }
        Ok(line)
    }
}
