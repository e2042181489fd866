//! Portcullis: an authentication reverse proxy and API gateway on pingora.

pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod events;
pub mod fetch;
pub mod flow;
pub mod gateway;
pub mod model;
pub mod notify;
pub mod plan;
pub mod reply;
pub mod rules;
pub mod store;
pub mod telemetry;
pub mod token_api;
pub mod tokens;
pub mod verify;
