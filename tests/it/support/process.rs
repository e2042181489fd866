//! The binary as a process, or another program beside it: what it prints is collected, and it never outlives the test.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::support::{PATIENCE, comes_to_be, until};

/// The variable in which every process finds the secret that the tests' configurations name, and the secret.
pub(crate) const SECRET: (&str, &str) = ("PORTCULLIS_TEST_SECRET", "s3cret: with / special & characters");

/// The same for a secret that fits a header as it is.
pub(crate) const TOKEN: (&str, &str) = ("PORTCULLIS_TEST_TOKEN", "the-gateways-own-token");

/// The admin token of the gateways that tests start.
pub(crate) const ADMIN_TOKEN: &str = TOKEN.1;

/// What a process that has ended left.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    /// Its standard output.
    pub(crate) output: String,
    /// Its standard error.
    pub(crate) errors: String,
}

/// Runs the binary to its end.
pub(crate) fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Finished {
    Process::start(arguments).finish()
}

/// The running program; killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    output: Collected,
    errors: Collected,
}

#[derive(Debug)]
struct Collected {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts the binary with these arguments.
    pub(crate) fn start<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.args(arguments);
        Self::spawn(command)
    }

    /// Starts somebody else's program.
    pub(crate) fn spawn(mut command: Command) -> Self {
        command.env(SECRET.0, SECRET.1).env(TOKEN.0, TOKEN.1);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program can be started");
        let output = Collected::start(child.stdout.take().unwrap());
        let errors = Collected::start(child.stderr.take().unwrap());
        Self { child, output, errors }
    }

    /// The rest of the first line of standard output that begins with `prefix`, once it is there.
    #[track_caller]
    pub(crate) fn announced(&mut self, prefix: &str) -> String {
        let mut found = None;
        until(&format!("a line `{prefix}…` on standard output"), || {
            let ended = self.child.try_wait().unwrap();
            // Looked at after asking whether the process has ended: then nothing is still to come.
            let text = self.output.text.lock().unwrap();
            found = text
                .split_inclusive('\n')
                .filter(|line| line.ends_with('\n'))
                .find_map(|line| line.trim_end().strip_prefix(prefix).map(str::to_owned));
            drop(text);
            if let (None, Some(status)) = (&found, ended) {
                panic!("ended with {status} before it printed `{prefix}…`\n{}", self.printed());
            }
            found.is_some()
        });
        found.unwrap()
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    pub(crate) fn finish(self) -> Finished {
        self.finish_within(PATIENCE).expect("the process ends")
    }

    /// Waits for its end, but no longer than this; then it is killed, and nothing is told of it.
    pub(crate) fn finish_within(mut self, patience: Duration) -> Option<Finished> {
        if !comes_to_be(patience, || !self.runs()) {
            return None;
        }
        let code = self.child.wait().unwrap().code();
        let errors = self.errors.finish();
        Some(Finished { code, output: self.output.finish(), errors })
    }

    /// What it has printed so far.
    pub(crate) fn printed(&self) -> String {
        let (output, errors) = (self.output.text.lock().unwrap(), self.errors.text.lock().unwrap());
        format!("--- standard output\n{output}--- standard error\n{errors}---")
    }
}

impl Collected {
    fn start(from: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let into = Arc::clone(&text);
        let reader = thread::spawn(move || {
            let mut lines = BufReader::new(from);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                into.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Self { text, reader: Some(reader) }
    }

    fn finish(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.text.lock().unwrap().clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            #[expect(clippy::print_stderr, reason = "what the program printed explains why the test failed")]
            {
                eprintln!("{}", self.printed());
            }
        }
    }
}
