//! Children that end with the test that started them: by their process id, never by name. It starts processes and keeps their output.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, getrlimit, kill_process, kill_process_group, setrlimit,
};

use crate::wait;

/// How long a child may take to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// A child process. When it goes out of scope the child is asked to end, then killed, then waited for.
#[derive(Debug)]
pub struct Child {
    name: String,
    inner: std::process::Child,
    pid: Pid,
    group: bool,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Child {
    /// Starts `command`, both its outputs going to `FOLDER/NAME.log`.
    pub fn start(name: &str, command: Command, folder: &Path) -> Result<Self> {
        Self::launch(name, command, folder, false)
    }

    /// Starts `command` as the head of a process group of its own; the group ends with it. For daemons that fork workers.
    pub fn start_group(name: &str, mut command: Command, folder: &Path) -> Result<Self> {
        command.process_group(0);
        Self::launch(name, command, folder, true)
    }

    /// Starts `command`, which makes a process group of its own (`setsid`); the group ends with it.
    pub fn start_session(name: &str, command: Command, folder: &Path) -> Result<Self> {
        Self::launch(name, command, folder, true)
    }

    fn launch(name: &str, mut command: Command, folder: &Path, group: bool) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log)?;
        let inner = command
            .stdout(output.try_clone()?)
            .stderr(output)
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {name}: {}", command.get_program().display()))?;
        let pid = Pid::from_raw(i32::try_from(inner.id())?).context("a child has an id")?;
        Ok(Self { name: name.to_owned(), inner, pid, group, log, ended: None })
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.inner.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.inner.try_wait()?;
        }
        Ok(self.ended)
    }

    /// Sends `signal` to the process itself (not to its group).
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid, signal).with_context(|| format!("signalling {}", self.name))
    }

    /// SIGKILL, and waits until it is gone: the crash of the durability tests.
    pub fn kill(&mut self) -> Result<()> {
        if self.ended()?.is_none() {
            self.inner.kill()?;
            self.ended = Some(self.inner.wait()?);
        }
        Ok(())
    }

    /// SIGTERM, and waits for the end within `bound`.
    pub fn terminate(&mut self, bound: Duration) -> Result<ExitStatus> {
        if self.ended()?.is_none() {
            self.signal(Signal::TERM)?;
        }
        self.wait(bound)
    }

    /// Waits for the end within `bound`; the error carries the end of its log.
    pub fn wait(&mut self, bound: Duration) -> Result<ExitStatus> {
        let what = format!("{} (process {}) to end", self.name, self.pid());
        wait::until(&what, bound, || self.ended()).map_err(|error| error.context(self.log_tail()))
    }

    /// Waits until `condition` holds; fails at once, with the log, if the child ends before.
    pub fn until<T>(
        &mut self,
        what: &str,
        bound: Duration,
        mut condition: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let outcome = wait::until(what, bound, || {
            if let Some(value) = condition()? {
                return Ok(Some(value));
            }
            match self.ended()? {
                Some(status) => anyhow::bail!("{} ended with {status} before {what}", self.name),
                None => Ok(None),
            }
        });
        outcome.map_err(|error| error.context(self.log_tail()))
    }

    /// All it has written so far.
    pub fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(&self.log)?).into_owned())
    }

    /// The end of what it has written so far, at most this many octets: for a log that is looked at often.
    pub fn log_end(&self, octets: u64) -> Result<String> {
        let mut file = File::open(&self.log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(octets)))?;
        let mut end = Vec::new();
        file.read_to_end(&mut end)?;
        Ok(String::from_utf8_lossy(&end).into_owned())
    }

    /// The last lines it wrote, to go with an error.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = self.log().unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let mut tail = format!("the end of {}'s log:", self.name);
        for line in lines.iter().skip(lines.len().saturating_sub(40)) {
            let _ = write!(tail, "\n    {line}");
        }
        tail
    }

    /// The most memory it has held, in KiB (`VmHWM`). Only while it runs.
    pub fn peak_memory_kib(&self) -> Result<u64> {
        memory_kib(&self.pid().to_string(), "VmHWM")
    }

    /// Bytes it has had written to storage (`write_bytes` of `/proc/PID/io`). Only while it runs.
    pub fn bytes_written(&self) -> Result<u64> {
        bytes_written(&self.pid().to_string())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // What is gone already, or cannot be reached any more, needs no ending: errors here have nobody to tell.
        if self.ended().is_ok_and(|ended| ended.is_none()) && self.terminate(GRACE).is_err() {
            let _ = self.kill();
        }
        if self.group {
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
    }
}

/// A line of a process's (`self` or an id) status that is in KiB: `VmRSS` is what it holds, `VmHWM` the most it has held.
pub fn memory_kib(process: &str, field: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let value = line.with_context(|| format!("no {field} in the status"))?;
    Ok(value.trim().trim_end_matches("kB").trim().parse()?)
}

/// Sets the soft limit of open files of this process; none is as many as the hard limit allows. What it starts inherits that.
pub fn limit_files(soft: Option<u64>) -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit { current: soft.or(maximum), maximum };
    setrlimit(Resource::Nofile, limit).context("setting the limit of files")
}

/// `write_bytes` of a process (`self` or an id): what it caused to be sent to the storage layer.
pub fn bytes_written(process: &str) -> Result<u64> {
    let io = std::fs::read_to_string(format!("/proc/{process}/io"))?;
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes:")).context("no write_bytes")?;
    Ok(line.trim().parse()?)
}

/// A loopback address whose port was free a moment ago: for programs that cannot choose one themselves and say which.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_child_ends_with_its_scope() {
        let folder = tempfile::tempdir().unwrap();
        let child = Child::start("reader", sh("exec tail -f /dev/null"), folder.path()).unwrap();
        let process = format!("/proc/{}", child.pid());
        assert!(Path::new(&process).exists());
        drop(child);
        assert!(!Path::new(&process).exists());
    }

    #[test]
    fn a_child_that_dies_early_shows_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut child =
            Child::start("talker", sh("echo the roof is on fire; exit 3"), folder.path()).unwrap();
        let error = child.until("it listens", wait::SOON, || Ok(None::<()>)).unwrap_err();
        assert!(format!("{error:#}").contains("the roof is on fire"), "{error:#}");
    }

    #[test]
    fn a_group_takes_its_workers_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let script = "tail -f /dev/null & echo $!; wait";
        let mut child = Child::start_group("daemon", sh(script), folder.path()).unwrap();
        let log = folder.path().join("daemon.log");
        let worker = child
            .until("the worker's id", wait::SOON, || {
                let text = std::fs::read_to_string(&log)?;
                Ok(text.strip_suffix('\n').map(str::to_owned))
            })
            .unwrap();
        drop(child);
        // A killed orphan is reaped by init, which may take a moment; a zombie has no command line.
        wait::until("the worker to be gone", wait::SOON, || {
            let line = std::fs::read(format!("/proc/{worker}/cmdline")).unwrap_or_default();
            Ok(line.is_empty().then_some(()))
        })
        .unwrap();
    }
}
