//! What login guards note for the next process, until the writer has it: of each counter only how it stands last.
//!
//! Imports as the parent. However many failures come, at most one step of theirs waits for the writer, so they keep no cut
//! waiting. What could not be written goes back onto the pad.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::store::journal::guards;
use crate::store::login_guard::{Counted, CounterName, Noted};
use crate::store::sqlite::{StoreFault, Writer};

/// How many counters may be on the pad: more than any step writes in a tenth of a second.
const PAD: usize = 4_096;

type Notes = HashMap<(Arc<str>, CounterName), Option<Counted>>;

/// The pad.
#[derive(Debug, Default)]
pub(super) struct Pad(Mutex<Page>);

#[derive(Debug, Default)]
struct Page {
    notes: Notes,
    /// Who waits until what is on the page is written.
    waiting: Vec<oneshot::Sender<()>>,
    /// Whether a step that will take the page is on its way to the writer.
    queued: bool,
}

/// A page on its way to the disk; unless it arrives, its notes go back.
struct Taken {
    pad: Arc<Pad>,
    notes: Notes,
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut page = self.pad.page();
        for (name, counted) in self.notes.drain() {
            let has_room = page.notes.len() < PAD;
            if let (Entry::Vacant(vacant), true) = (page.notes.entry(name), has_room) {
                vacant.insert(counted);
            }
        }
    }
}

impl Pad {
    /// Takes notes. Those without room are lost, which gives back as many guesses after a restart.
    pub(super) fn note(self: &Arc<Self>, writer: &Writer, guard: &Arc<str>, counters: Vec<Noted>) {
        let mut page = self.page();
        for (name, counted) in counters {
            let key = (Arc::clone(guard), name);
            if page.notes.len() < PAD || page.notes.contains_key(&key) {
                page.notes.insert(key, counted);
            }
        }
        drop(page);
        // What does not fit the writer's queue is tried again with the next.
        let _ = self.queue(writer);
    }

    /// Whoever is told when all that was noted until now is written; dropped if it is not.
    pub(super) fn written(self: &Arc<Self>, writer: &Writer) -> Result<oneshot::Receiver<()>, StoreFault> {
        let (tell, told) = oneshot::channel();
        self.page().waiting.push(tell);
        self.queue(writer).inspect_err(|_| self.page().waiting.clear())?;
        Ok(told)
    }

    /// Sees to it that somebody comes for the page.
    pub(super) fn queue(self: &Arc<Self>, writer: &Writer) -> Result<(), StoreFault> {
        let mut page = self.page();
        if page.queued || (page.notes.is_empty() && page.waiting.is_empty()) {
            return Ok(());
        }
        let pad = Arc::clone(self);
        writer.post(move |db| {
            let (taken, waiting) = pad.take();
            for ((guard, name), counted) in &taken.notes {
                guards::keep(db, guard, name, counted.as_ref())?;
            }
            Ok(move || {
                taken.arrived();
                for tell in waiting {
                    // Whoever waited may have gone.
                    let _ = tell.send(());
                }
            })
        })?;
        page.queued = true;
        Ok(())
    }

    fn take(self: &Arc<Self>) -> (Taken, Vec<oneshot::Sender<()>>) {
        let mut page = self.page();
        page.queued = false;
        let (notes, waiting) = (std::mem::take(&mut page.notes), std::mem::take(&mut page.waiting));
        (Taken { pad: Arc::clone(self), notes }, waiting)
    }

    fn page(&self) -> MutexGuard<'_, Page> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn arrived(mut self) {
        self.notes.clear();
    }
}
