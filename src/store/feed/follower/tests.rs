use proptest::prelude::*;

use super::*;

const fn id(millis: u64) -> EntryId {
    EntryId { millis, number: 0 }
}

fn entry(millis: u64, before: u64) -> Entry {
    Entry { id: id(millis), before: id(before), body: Box::default() }
}

fn standing(server: &str, last: u64) -> Standing {
    Standing { server: server.into(), last: id(last) }
}

fn follower(server: &str, last: u64) -> Follower {
    Follower { server: Some(server.into()), last: id(last) }
}

#[test]
fn a_look_tells_another_server_and_what_it_has_lost() {
    let table = [
        // Who reads has not looked before.
        (Follower::default(), standing("a", 0), None, 0),
        (Follower::default(), standing("a", 9), None, 0),
        // The same server, with nothing new, something new, less than was read, and nothing at all.
        (follower("a", 5), standing("a", 5), None, 5),
        (follower("a", 5), standing("a", 9), None, 5),
        (follower("a", 5), standing("a", 4), Some(Gap::Lost), 0),
        (follower("a", 5), standing("a", 0), Some(Gap::Lost), 0),
        // Another, which has everything that was read, more than that, and less.
        (follower("a", 5), standing("b", 5), Some(Gap::Server), 5),
        (follower("a", 5), standing("b", 9), Some(Gap::Server), 5),
        (follower("a", 5), standing("b", 4), Some(Gap::Lost), 0),
        // Nothing was read at the one before.
        (follower("a", 0), standing("b", 0), Some(Gap::Server), 0),
    ];
    for (mut follower, seen, gap, last) in table {
        let before = follower.clone();
        assert_eq!(follower.look(&seen), gap, "{before:?} {seen:?}");
        assert_eq!(follower.last(), id(last), "{before:?} {seen:?}");
        assert_eq!(follower.server(), Some(&*seen.server));
    }
}

#[test]
fn an_entry_tells_what_stood_before_it() {
    let table = [
        // From the beginning: of a whole stream, and of a trimmed one.
        (0, entry(3, 0), None, 3),
        (0, entry(3, 2), Some(Gap::Beginning(id(2))), 3),
        // The next, one too far, and one that follows something older than what was read.
        (3, entry(4, 3), None, 4),
        (3, entry(9, 5), Some(Gap::Trimmed(id(5))), 9),
        (3, entry(9, 2), Some(Gap::Lost), 0),
        (3, entry(9, 0), Some(Gap::Lost), 0),
    ];
    for (last, read, gap, after) in table {
        let mut follower = follower("a", last);
        assert_eq!(follower.take(&read), gap, "{last} {read:?}");
        assert_eq!(follower.last(), id(after), "{last} {read:?}");
    }
}

/// What can happen to a stream, to its server, and to who reads it.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// An event is appended.
    Append,
    /// The oldest entries are trimmed.
    Trim(usize),
    /// The server ends, and is started again or replaced, with this many of the youngest entries lost. Its clock may be behind.
    Restart { lost: usize, back: u64 },
    /// The reader reads so many.
    Read(usize),
    /// The reader looks at the server.
    Look,
    /// The reader reads all there is, then looks: it has heard the server if neither tells a gap.
    Hear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Append),
        1 => (1_usize..4).prop_map(Step::Trim),
        1 => (0_usize..4, 0_u64..3).prop_map(|(lost, back)| Step::Restart { lost, back }),
        2 => (1_usize..4).prop_map(Step::Read),
        1 => Just(Step::Look),
        3 => Just(Step::Hear),
    ];
    proptest::collection::vec(step, 1..60)
}

/// A server, one reader, and what that reader may not believe any more.
#[derive(Debug, Default)]
struct World {
    entries: Vec<Entry>,
    starts: u32,
    /// The youngest that the server has ever had since it lost anything.
    last: u64,
    clock: u64,
    follower: Follower,
    /// Every event that was ever appended, by the order of appending: whether the reader has cut what it says since, by reading
    /// it or by cutting everything.
    answered: Vec<bool>,
    /// Of each entry in the stream, which event it is.
    events: Vec<usize>,
}

impl World {
    fn append(&mut self) {
        self.clock = (self.clock + 1).max(self.last + 1);
        self.entries.push(entry(self.clock, self.last));
        self.events.push(self.answered.len());
        self.answered.push(false);
        self.last = self.clock;
    }

    fn trim(&mut self, count: usize) {
        // Who appends trims, so the youngest is never trimmed.
        let count = count.min(self.entries.len().saturating_sub(1));
        self.entries.drain(..count);
        self.events.drain(..count);
    }

    fn restart(&mut self, lost: usize, back: u64) {
        let kept = self.entries.len().saturating_sub(lost);
        self.entries.truncate(kept);
        self.events.truncate(kept);
        if lost > 0 {
            self.last = self.entries.last().map_or(0, |entry| entry.id.millis);
        }
        self.clock = self.clock.saturating_sub(back);
        self.starts += 1;
    }

    fn everything(&mut self) {
        self.answered.fill(true);
    }

    /// False if a gap means that it must begin anew.
    fn read(&mut self, most: usize) -> bool {
        let after = self.follower.last();
        let found = self.entries.iter().cloned().zip(self.events.clone()).filter(|(entry, _)| entry.id > after);
        for (entry, event) in found.take(most).collect::<Vec<_>>() {
            match self.follower.take(&entry) {
                None => {}
                Some(Gap::Beginning(_) | Gap::Trimmed(_) | Gap::Server) => self.everything(),
                Some(Gap::Lost) => {
                    self.everything();
                    return false;
                }
            }
            self.answered[event] = true;
        }
        true
    }

    fn look(&mut self) -> bool {
        let gap = self.follower.look(&standing(&self.starts.to_string(), self.last));
        if gap.is_some() {
            self.everything();
        }
        gap.is_none()
    }

    fn hear(&mut self) {
        let whole = self.read(usize::MAX);
        if self.look() && whole {
            assert!(self.answered.iter().all(|answered| *answered), "heard, but {self:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn whoever_has_heard_the_server_has_cut_all_that_was_told_before(steps in steps()) {
        let mut world = World::default();
        // The reader begins: what it reads first is all there is, and it has remembered nothing before.
        world.look();
        for step in steps {
            match step {
                Step::Append => world.append(),
                Step::Trim(count) => world.trim(count),
                Step::Restart { lost, back } => world.restart(lost, back),
                Step::Read(most) => _ = world.read(most),
                Step::Look => _ = world.look(),
                Step::Hear => world.hear(),
            }
        }
    }
}
