//! A PostgreSQL server for the tests of this library: one for the process, with a schema for each test.
//!
//! A shell holds it on a leash: it reads what the test process would write, and stops the server when that ends, however it
//! ends. Without the server's programs there is none, which is said aloud; where `CI` is set it is a failure.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_postgres::SimpleQueryMessage;

use crate::plan;

/// Makes a cluster, starts the server on a socket in its folder, and waits until nobody holds the other end of the input.
const LEASH: &str = r#"
    set -eu
    PATH="$1:$PATH"
    folder=$(mktemp -d "${TMPDIR:-/tmp}/portcullis-postgres-XXXXXX")
    trap 'rm -rf "$folder"' EXIT
    initdb -D "$folder/data" -A trust -U portcullis --no-sync -E UTF8 --locale=C >/dev/null
    [ -n "${PORTCULLIS_FSYNC:-}" ] || echo "fsync = off" >>"$folder/data/postgresql.conf"
    postgres -D "$folder/data" -k "$folder" -c listen_addresses= -c max_connections=400 \
        >"$folder/log" 2>&1 </dev/null &
    server=$!
    echo "$folder"
    cat >/dev/null
    kill -QUIT "$server"
    wait "$server" || true
"#;

#[derive(Debug)]
pub(crate) struct Server {
    /// Where its socket is.
    pub(crate) folder: PathBuf,
    /// Its leash; the other end of its input is held until this process ends.
    _leash: Child,
}

/// A server of the test's own. Making it takes seconds.
pub(crate) fn another() -> Option<Server> {
    start()
}

/// A database of its own for one test: an empty schema. `None` if this machine has no server.
pub(crate) fn database() -> Option<plan::Postgres> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let server = SERVER.get_or_init(start).as_ref()?;
    Some(plan::Postgres {
        host: server.folder.to_str()?.into(),
        port: 5432,
        database: "postgres".into(),
        user: "portcullis".into(),
        password: None,
        schema: format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed)).into(),
        tls: None,
        readers: 2,
        connect_timeout: Duration::from_secs(10),
        statement_timeout: Duration::from_secs(10),
        // Tests move the clock by hand, and hours are no silence then.
        max_silence: Duration::from_hours(24 * 3650),
    })
}

#[expect(clippy::disallowed_methods, reason = "a test's excuses depend on where it runs")]
fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

#[expect(clippy::zombie_processes, reason = "it ends when this process does")]
fn start() -> Option<Server> {
    let Some(programs) = programs() else {
        assert!(!in_ci(), "PostgreSQL is missing here, and with CI=true no test is skipped for that");
        let said = writeln!(std::io::stderr(), "\nSKIPPED: the tests that need PostgreSQL, which is missing here\n");
        return said.ok().and(None);
    };
    let mut leash =
        shell().args(["-c", LEASH, "sh"]).arg(programs).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(leash.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let folder = PathBuf::from(line.trim());
    assert!(folder.is_absolute(), "no server was started");
    for _ in 0..3000 {
        if std::os::unix::net::UnixStream::connect(folder.join(".s.PGSQL.5432")).is_ok() && probe(&folder) {
            return Some(Server { folder, _leash: leash });
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the server did not start: {}", std::fs::read_to_string(folder.join("log")).unwrap_or_default());
}

/// The server refuses to run as root.
fn shell() -> Command {
    let root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !root {
        return Command::new("sh");
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh"]).current_dir("/");
    command
}

/// The folder of the server's programs.
#[expect(clippy::disallowed_methods, reason = "where programs are is for the environment to say")]
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    folders.extend(versions.map(|version| version.path().join("bin")));
    folders.into_iter().find(|folder| ["initdb", "postgres"].iter().all(|program| folder.join(program).is_file()))
}

fn probe(folder: &Path) -> bool {
    let mut config = tokio_postgres::Config::new();
    config.host_path(folder).user("portcullis").dbname("postgres");
    ask(&config, "SELECT 1").is_ok()
}

/// The first column of the first row, as text.
pub(crate) fn query(database: &plan::Postgres, sql: &str) -> Option<String> {
    let mut config = tokio_postgres::Config::new();
    config.host(&*database.host).user(&*database.user).dbname(&*database.database);
    ask(&config, &format!("SET search_path TO {}; {sql}", database.schema)).unwrap()
}

/// A session of the test's own, on the runtime that it is awaited on.
pub(crate) async fn client(database: &plan::Postgres) -> tokio_postgres::Client {
    let mut config = tokio_postgres::Config::new();
    config.host(&*database.host).user(&*database.user).dbname(&*database.database);
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(&format!("SET search_path TO {}", database.schema)).await.unwrap();
    client
}

/// On a thread of its own: who asks may be on a runtime.
fn ask(config: &tokio_postgres::Config, sql: &str) -> Result<Option<String>, tokio_postgres::Error> {
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
            tokio::spawn(connection);
            let messages = client.simple_query(sql).await?;
            Ok(messages.iter().find_map(|message| {
                let SimpleQueryMessage::Row(row) = message else { return None };
                row.get(0).map(str::to_owned)
            }))
        })
    };
    std::thread::scope(|scope| scope.spawn(work).join().unwrap())
}
