//! `portcullis client`.

use std::path::Path;

use crate::cli::accounts::{refused, with_service};
use crate::cli::arguments::ClientCommand;
use crate::cli::{Failure, output};
use crate::tokens::client::{ClientRight, NewClient};

/// Does what is asked about clients.
pub(super) fn client(config: &Path, command: ClientCommand) -> Result<(), Failure> {
    with_service(config, |service| async move {
        let (id, secret) = match command {
            ClientCommand::Add { id, redirect_uri, introspection } => {
                let rights = rights(introspection);
                let redirect_uris = redirect_uri.into_iter().map(String::into_boxed_str).collect();
                let new = NewClient { id: id.clone().into(), rights, redirect_uris };
                (id, service.add_client(new).await.map_err(|error| refused(&error))?)
            }
            ClientCommand::Rotate { id } => {
                let secret = service.rotate_client(&id).await.map_err(|error| refused(&error))?;
                (id, secret)
            }
        };
        output::say(&format!("the secret of client {id}, shown this once: {}", secret.expose()))
    })
}

/// What a client of either sort may do.
pub(super) fn rights(introspection: bool) -> Box<[ClientRight]> {
    if introspection {
        Box::new([ClientRight::Introspection])
    } else {
        Box::new([ClientRight::AuthorizationCode, ClientRight::RefreshToken])
    }
}
