//! `portcullis locks`: asks the gateway that runs for its locks, and to clear them, through its admin listener.

use serde_json::Value;
use tokio::runtime::Builder;

use crate::app::{Called, Calling, call_admin};
use crate::cli::accounts::failed;
use crate::cli::arguments::{AdminListener, LockedOne, LocksCommand};
use crate::cli::revoke::{refusal, whom_to_call};
use crate::cli::{Failure, output};
use crate::model::Secret;

/// Pages of one listing at most: a table of counters has no more.
const PAGES: usize = 100_000;

/// Does what is asked about locks.
pub(super) fn locks(at: AdminListener, command: &LocksCommand) -> Result<(), Failure> {
    let (admin, token) = whom_to_call(&at.config, at.admin)?;
    let caller = Caller { admin, token };
    match command {
        LocksCommand::List { guard } => list(&caller, guard.as_deref()),
        LocksCommand::Show(one) => {
            let answer = caller.call(Calling::Get(&query(one)))?;
            output::say(&lines(&answer, "until"))
        }
        LocksCommand::Clear(one) => {
            let answer = caller.call(Calling::Delete(&query(one)))?;
            let count = answer.get("cleared").and_then(Value::as_u64).unwrap_or_default();
            output::say(&format!("{}\ncleared: {count}", lines(&answer, "was until")))
        }
    }
}

fn list(caller: &Caller, guard: Option<&str>) -> Result<(), Failure> {
    let mut after: Option<String> = None;
    for _ in 0..PAGES {
        let guard = guard.map(|guard| ("guard", guard));
        let query: Vec<_> = guard.into_iter().chain(after.as_deref().map(|after| ("after", after))).collect();
        let page = caller.call(Calling::Get(&query))?;
        let text = lines(&page, "until");
        if !text.is_empty() {
            output::say(&text)?;
        }
        after = page.get("next").and_then(Value::as_str).map(str::to_owned);
        if after.is_none() {
            break;
        }
    }
    Ok(())
}

/// Whom to call.
struct Caller {
    admin: String,
    token: Secret,
}

impl Caller {
    fn call(&self, calling: Calling<'_>) -> Result<Value, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| failed(&error))?;
        let called = runtime.block_on(call_admin(&self.admin, "/admin/locks", &self.token, calling));
        let called: Called = called.map_err(|error| failed(&error))?;
        if called.status != 200 {
            return Err(refusal(&called));
        }
        serde_json::from_str(&called.body).map_err(|_| failed(&"the gateway answered something that cannot be read"))
    }
}

fn query(one: &LockedOne) -> Vec<(&str, &str)> {
    let who = &one.who;
    let named = [("account", &who.account), ("mark", &who.mark), ("source", &who.source), ("client", &who.client)];
    let all = std::iter::once(("guard", &one.guard)).chain(named);
    all.filter_map(|(name, value)| Some((name, value.as_deref()?))).collect()
}

/// One line for each lock.
fn lines(answer: &Value, until: &str) -> String {
    let locks = answer.get("locks").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let lines: Vec<String> = locks.iter().map(|lock| line(lock, until)).collect();
    lines.join("\n")
}

fn line(lock: &Value, until: &str) -> String {
    let text = |name: &str| lock.get(name).and_then(Value::as_str).unwrap_or("-");
    let failures = lock.get("failures").and_then(Value::as_u64).unwrap_or_default();
    let identifier = lock.get("identifier").and_then(Value::as_str).map(|name| format!(" ({name})")).unwrap_or_default();
    let reason = match text("reason") {
        "pause" => "a pause after too many tries".to_owned(),
        "window" => format!("{failures} in the window"),
        _ => format!("{failures} failures in a row"),
    };
    format!(
        "{}  account {}{identifier}  source {}  client {}  {reason}  since {}  {until} {}",
        text("guard"),
        text("mark"),
        text("source"),
        text("client"),
        text("since"),
        text("until"),
    )
}
