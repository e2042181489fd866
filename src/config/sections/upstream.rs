//! Where requests go.

use std::time::Duration;

use http::{HeaderName, Uri};

use crate::config::At;
use crate::config::notation::{Filled, Lasting, List, Placed, Whole, Word};
use crate::config::table::Table;
use crate::config::units::{hours, millis, minutes, seconds};
use crate::config::values::{HEADER, ORIGIN};

/// `[upstream.NAME]`
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) servers: Option<At<Vec<At<Uri>>>>,
    pub(crate) builtin: Option<At<BuiltIn>>,
    pub(crate) connect_timeout: At<Duration>,
    pub(crate) read_timeout: At<Duration>,
    pub(crate) write_timeout: At<Duration>,
    pub(crate) total_timeout: At<Duration>,
    pub(crate) idle_timeout: At<Duration>,
    pub(crate) retries: At<usize>,
    pub(crate) hide_headers: At<Vec<HeaderName>>,
}

/// An upstream that comes with the gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BuiltIn {
    Echo,
}

impl Upstream {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        t.exactly_one(&["servers", "builtin"]);
        let wait = || Lasting(millis(10)..=hours(24));
        Self {
            servers: t.optional(
                "servers",
                Filled(Placed(ORIGIN)),
                "Servers that do the same, taken in turn: \"http://10.0.0.7:9000\", \"https://orders.internal\".",
            ),
            builtin: t.optional(
                "builtin",
                Word(&[("echo", BuiltIn::Echo)]),
                "Instead of servers: `echo` answers with what reached it. To try things out.",
            ),
            connect_timeout: t.or("connect_timeout", wait(), seconds(3), "To establish a connection."),
            read_timeout: t.or("read_timeout", wait(), seconds(30), "Between two reads of a response."),
            write_timeout: t.or("write_timeout", wait(), seconds(30), "Between two writes of a request."),
            total_timeout: t.or("total_timeout", wait(), minutes(1), "From the first attempt to the head of the response."),
            idle_timeout: t.or(
                "idle_timeout",
                wait(),
                seconds(50),
                "How long an unused connection is kept; below what the server keeps it.",
            ),
            retries: t.or(
                "retries",
                Whole(0..=10),
                1,
                "How often a request that is safe to repeat is tried on another server.",
            ),
            hide_headers: t.or("hide_headers", List(HEADER), Vec::new(), "Response headers that are not passed on."),
        }
    }
}
