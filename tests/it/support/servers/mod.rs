//! Real servers that the gateway keeps things in: Valkey (or Redis 7) and PostgreSQL, on loopback, gone when the test is.
//!
//! Each has a directory below the system's for temporary files, because PostgreSQL refuses to run as root and whoever runs it
//! then may not be let into the directory of the build. Who ends them when the test process dies, however it dies, is a shell
//! beside each, which waits for the end of its input. Where a server is missing its tests are skipped, and say so where it is
//! seen; with `CI=true` they fail. Imports nothing of the other parts of `support`, so that other test crates can include it.

mod ports;
mod postgres;
mod valkey;

pub(crate) use ports::unused_address;
pub(crate) use postgres::PostgreSql;
pub(crate) use valkey::{Valkey, ValkeyCluster, ValkeyWithSentinel};

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// How often something is asked for that takes its time, with a pause of [`PAUSE`] between: for a minute.
const TRIES: usize = 3000;
const PAUSE: Duration = Duration::from_millis(20);

/// Ends a server and removes its directory at the end of the input, whose latest line is its process; none if it is empty.
const WATCH: &str = r#"
    while read -r line; do pid=$line; done
    if [ -n "$pid" ]; then
        kill "-$1" "$pid"
        for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$pid" && sleep 0.2; done
    fi
    rm -rf -- "$2" || { sleep 1; rm -rf -- "$2"; }
"#;

/// A server program with its directory; ended when dropped.
#[derive(Debug)]
struct Server {
    program: PathBuf,
    arguments: Vec<OsString>,
    /// As whom it runs; `None` for whoever runs the tests.
    user: Option<User>,
    dir: PathBuf,
    /// The signal that ends it for good.
    end: &'static str,
    running: Option<Child>,
    watch: Child,
}

/// A user of this machine.
#[derive(Clone, Copy, Debug)]
struct User {
    uid: u32,
    gid: u32,
}

impl Server {
    /// A program in a new, empty directory; not running yet. `end` is the signal that ends it for good.
    fn new(program: &Path, user: Option<User>, end: &'static str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("portcullis-test-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        // A process of the same number may have been killed together with its shells.
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        if let Some(user) = user {
            chown(&dir, Some(user.uid), Some(user.gid)).unwrap();
        }
        let mut watch = Command::new("sh");
        watch.args(["-c", WATCH, "sh", end]).arg(&dir);
        watch.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // A group of its own, so that what a terminal sends to the tests does not end it before them.
        let watch = watch.process_group(0).spawn().expect("a shell");
        Self { program: program.to_owned(), arguments: Vec::new(), user, dir, end, running: None, watch }
    }

    /// A command run as the server's user in its directory, what it prints added to the log.
    fn command(&self, program: &Path) -> Command {
        let log = File::options().create(true).append(true).open(self.dir.join("log")).unwrap();
        let mut command = Command::new(program);
        command.current_dir(&self.dir).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        if let Some(user) = self.user {
            command.uid(user.uid).gid(user.gid);
        }
        command
    }

    /// Runs a command to its end.
    fn run(&mut self, mut command: Command) {
        let mut running = command.process_group(0).spawn().expect("the program starts");
        self.watch(&running.id().to_string());
        let ended = running.wait().unwrap();
        self.watch("");
        assert!(ended.success(), "{command:?} failed:\n{}", self.log());
    }

    /// Starts it, and waits until it answers. One that ends instead is started again, for the rest of a killed one may be in
    /// the way for a moment.
    fn start(&mut self, answers: impl Fn() -> bool) {
        assert!(self.running.is_none(), "it runs already");
        for _ in 0..TRIES {
            let running = match &mut self.running {
                Some(running) => running,
                None => self.spawn(),
            };
            if running.try_wait().unwrap().is_some() {
                self.running = None;
            } else if answers() {
                return;
            }
            thread::sleep(PAUSE);
        }
        panic!("{} does not answer:\n{}", self.program.display(), self.log());
    }

    fn spawn(&mut self) -> &mut Child {
        let running = self.command(&self.program).args(&self.arguments).process_group(0).spawn().expect("the server starts");
        self.watch(&running.id().to_string());
        self.running.insert(running)
    }

    /// Sends it a signal.
    fn signal(&self, signal: &str) {
        let running = self.running.as_ref().expect("it runs");
        let sent = Command::new("kill").args([signal, &running.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Ends it as a power cut would (SIGKILL).
    fn kill(&mut self) {
        let mut running = self.running.take().expect("it runs");
        running.kill().unwrap();
        running.wait().unwrap();
        self.watch("");
    }

    fn watch(&mut self, line: &str) {
        writeln!(self.watch.stdin.as_mut().expect("the shell reads"), "{line}").unwrap();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Writes a file into its directory, which nobody but its user may read.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::OpenOptionsExt;
        let path = self.dir.join(name);
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        if let Some(user) = self.user {
            chown(&path, Some(user.uid), Some(user.gid)).unwrap();
        }
        path
    }

    /// Writes a certificate for 127.0.0.1 that vouches for itself, and its key; tells where they are, and the certificate.
    fn certificate(&self) -> (PathBuf, PathBuf, String) {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        let chain = made.cert.pem();
        (self.write("chain.pem", &chain), self.write("key.pem", &made.signing_key.serialize_pem()), chain)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            // One that was frozen hears nothing else.
            let _ = Command::new("kill").args(["-CONT", &running.id().to_string()]).status();
            let _ = Command::new("kill").args([&format!("-{}", self.end), &running.id().to_string()]).status();
            let _ = running.wait();
            self.watch("");
        }
        if thread::panicking() {
            #[expect(clippy::print_stderr, reason = "what the server printed may explain why the test failed")]
            {
                eprintln!("--- {}\n{}---", self.program.display(), self.log());
            }
        }
        drop(self.watch.stdin.take());
        let _ = self.watch.wait();
    }
}

impl User {
    /// The first of these users that there is, if the tests are run by root; `None` if whoever runs them can be the user.
    fn unless_root_may(names: &[&str]) -> Option<Self> {
        if fs::metadata("/proc/self").unwrap().uid() != 0 {
            return None;
        }
        let id = |which: &str, name: &str| {
            let told = Command::new("id").args([which, name]).output().ok().filter(|told| told.status.success())?;
            String::from_utf8(told.stdout).ok()?.trim().parse().ok()
        };
        let user = names.iter().find_map(|name| Some(Self { uid: id("-u", name)?, gid: id("-g", name)? }));
        Some(user.expect("there is a user who is not root"))
    }
}

/// Where a program is.
fn in_path(program: &str) -> Option<PathBuf> {
    let told = Command::new("sh").args(["-c", "command -v \"$1\"", "sh", program]).output().ok()?;
    let path = String::from_utf8(told.stdout).ok()?;
    told.status.success().then(|| PathBuf::from(path.trim()))
}

/// The first number of what a program says of its version.
fn major_version(program: &Path) -> Option<u32> {
    let told = Command::new(program).arg("--version").output().ok()?;
    let told = String::from_utf8(told.stdout).ok()?;
    let digits = told.split(|letter: char| !letter.is_ascii_digit()).find(|digits| !digits.is_empty())?;
    digits.parse().ok()
}

/// Says once that the tests of a server are skipped, past the test harness, which shows what a test prints only if it fails.
fn skip(server: &'static str) {
    static SAID: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    assert!(!in_ci(), "{server} is missing here, and with CI=true no test is skipped for that");
    if SAID.lock().unwrap().insert(server) {
        let _ = writeln!(io::stderr(), "\nSKIPPED: the tests that need {server}, which is missing here\n");
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's excuses depend on where it runs")]
fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}
