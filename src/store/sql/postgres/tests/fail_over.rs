//! Servers that are left by the name that led to them while connections to them live on.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Heard, contents, fixture, insert, of, open, until};
use crate::plan::Postgres;
use crate::store::sql::Db;
use crate::store::sql::postgres::Listener;
use crate::store::sqlite::StoreFault;

/// A name that leads to one server, and then to another: a link to the folder of its socket.
struct Name(PathBuf);

impl Name {
    fn leading_to(database: &Postgres) -> Self {
        let folder = std::env::temp_dir().join(format!("portcullis-name-{}-{}", std::process::id(), database.schema));
        std::fs::create_dir_all(&folder).unwrap();
        let name = Self(folder);
        name.leads_to(Path::new(&*database.host));
        name
    }

    fn link(&self) -> PathBuf {
        self.0.join("primary")
    }

    fn leads_to(&self, server: &Path) {
        let next = self.0.join("next");
        symlink(server, &next).unwrap();
        std::fs::rename(next, self.link()).unwrap();
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn at(host: &Path, database: &Postgres) -> Postgres {
    Postgres { host: host.to_str().unwrap().into(), ..database.clone() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_somebody_listens_at_the_new_server_nothing_is_asked_of_the_old_one_though_it_lives() {
    let Some(old) = fixture::database() else { return };
    let Some(server) = fixture::another() else { return };
    let new = at(&server.folder, &old);
    open(&of(&new)).1.step(insert(2)).await.unwrap();
    let name = Name::leading_to(&old);
    let terms = of(&at(&name.link(), &old));
    let (readers, writer) = open(&terms);
    writer.step(insert(1)).await.unwrap();
    let heard = Heard::default();
    let _listener = Listener::start(&terms, "test-listener", heard.clone()).unwrap();
    assert_eq!(contents(&readers).await, [1]);

    name.leads_to(&server.folder);
    assert_eq!(contents(&readers).await, [1], "the old one lives, and nobody has noticed");
    fixture::query(&old, &format!("SELECT pg_terminate_backend({})", heard.backend()));
    until(async || heard.sessions() == 2).await;
    for _ in 0..2 * old.readers {
        assert_eq!(contents(&readers).await, [2]);
    }
    writer.step(insert(3)).await.unwrap();
    assert_eq!(contents(&readers).await, [2, 3]);
    assert_eq!(fixture::query(&old, "SELECT count(*) FROM t").as_deref(), Some("1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_begun_at_the_old_server_is_not_committed_there_once_somebody_listens_at_the_new_one() {
    let Some(old) = fixture::database() else { return };
    let Some(server) = fixture::another() else { return };
    open(&of(&at(&server.folder, &old))).1.step(insert(2)).await.unwrap();
    let name = Name::leading_to(&old);
    let terms = of(&at(&name.link(), &old));
    let (readers, writer) = open(&terms);
    let heard = Heard::default();
    let _listener = Listener::start(&terms, "test-listener", heard.clone()).unwrap();
    let (started, start) = tokio::sync::oneshot::channel();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let slow = move |db: &Db<'_>| {
        insert(1)(db)?;
        let _ = started.send(());
        assert!(wait.recv().is_err());
        Ok(())
    };
    let meanwhile = async {
        start.await.unwrap();
        name.leads_to(&server.folder);
        fixture::query(&old, &format!("SELECT pg_terminate_backend({})", heard.backend()));
        until(async || heard.sessions() == 2).await;
        drop(go);
    };
    let (answer, ()) = tokio::join!(writer.step(slow), meanwhile);
    assert_eq!(answer, Err(StoreFault::Failed), "what is kept there is lost");
    assert_eq!(fixture::query(&old, "SELECT count(*) FROM t").as_deref(), Some("0"));
    writer.step(insert(3)).await.unwrap();
    assert_eq!(contents(&readers).await, [2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_finds_the_new_server_first_has_the_listener_leave_the_old_one() {
    let Some(old) = fixture::database() else { return };
    let Some(server) = fixture::another() else { return };
    open(&of(&at(&server.folder, &old))).1.step(insert(2)).await.unwrap();
    let name = Name::leading_to(&old);
    let terms = of(&at(&name.link(), &Postgres { readers: 1, ..old.clone() }));
    let (readers, _writer) = open(&terms);
    let heard = Heard::default();
    let _listener = Listener::start(&terms, "test-listener", heard.clone()).unwrap();
    let reader = readers.read(super::backend).await.unwrap();
    name.leads_to(&server.folder);
    fixture::query(&old, &format!("SELECT pg_terminate_backend({reader})"));
    until(async || heard.sessions() == 2).await;
    until(async || readers.read(super::backend).await.is_ok()).await;
    assert_eq!(contents(&readers).await, [2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_the_name_leads_elsewhere_is_seen_though_no_connection_breaks() {
    let Some(old) = fixture::database() else { return };
    let Some(server) = fixture::another() else { return };
    open(&of(&at(&server.folder, &old))).1.step(insert(2)).await.unwrap();
    let name = Name::leading_to(&old);
    // Which is looked at after five times as long; a look that is late is no concern of this test.
    let terms = of(&at(&name.link(), &Postgres { max_silence: Duration::from_secs(1), ..old.clone() }));
    let (readers, _writer) = open(&terms);
    let heard = Heard::default();
    let _listener = Listener::start(&terms, "test-listener", heard.clone()).unwrap();
    let sessions = heard.sessions();
    name.leads_to(&server.folder);
    until(async || heard.sessions() > sessions).await;
    assert_eq!(contents(&readers).await, [2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_told_to_take_no_writes_is_not_listened_to() {
    let Some(database) = fixture::database() else { return };
    let Some(server) = fixture::another() else { return };
    let database = at(&server.folder, &database);
    let terms = of(&database);
    let (_readers, writer) = open(&terms);
    let heard = Heard::default();
    let _listener = Listener::start(&terms, "test-listener", heard.clone()).unwrap();
    let client = fixture::client(&database).await;
    client.execute("ALTER SYSTEM SET default_transaction_read_only = on", &[]).await.unwrap();
    client.execute("SELECT pg_reload_conf()", &[]).await.unwrap();
    let listening = format!("SELECT 1 FROM pg_stat_activity WHERE pid = {}", heard.backend());
    until(async || client.query(&listening, &[]).await.unwrap().is_empty()).await;
    let write = |db: &Db<'_>| db.execute("INSERT INTO n VALUES (1)", ()).map(|_| ());
    until(async || writer.step(write).await.is_err()).await;
    client.batch_execute("SET default_transaction_read_only = off").await.unwrap();
    client.execute("ALTER SYSTEM RESET default_transaction_read_only", &[]).await.unwrap();
    client.execute("SELECT pg_reload_conf()", &[]).await.unwrap();
    until(async || heard.sessions() == 2).await;
    until(async || writer.step(insert(2)).await.is_ok()).await;
}
