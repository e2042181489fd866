//! Steps of the service against a real database.

pub(crate) mod world;
