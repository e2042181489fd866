//! `portcullis account`.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use tokio::runtime::Builder;

use crate::app::{new_password, open_token_service};
use crate::cli::arguments::{AccountCommand, FactorState};
use crate::cli::{Failure, output, run};
use crate::model::Secret;
use crate::tokens::TokenService;
use crate::tokens::account::{Account, AccountId, AccountKind, AccountStatus, NewAccount};
use crate::tokens::factor::Channel;
use crate::tokens::identifier::{EmailAddress, PhoneNumber};
use crate::tokens::store::EmailFactor;

/// How many accounts are fetched at once for a listing.
const PAGE: u32 = 500;

/// The most that is read of a password or token, in bytes.
const SECRET_MAX: u64 = 8192;

/// Does what is asked about accounts.
pub(super) fn account(config: &Path, command: AccountCommand) -> Result<(), Failure> {
    with_service(config, |service| async move {
        match command {
            AccountCommand::Add { email, phone, password_file } => {
                add(&service, &email, phone.as_deref(), password_file.as_deref()).await
            }
            AccountCommand::List => list(&service).await,
            AccountCommand::Disable { account } => disable(&service, &account).await,
            AccountCommand::ExpirePassword { account } => expire_password(&service, &account).await,
            AccountCommand::Enrol { account, channel } => enrol(&service, &account, &channel).await,
            AccountCommand::EmailFactor { account, state } => email_factor(&service, &account, state).await,
        }
    })
}

/// Opens the configuration's token service and does something with it.
pub(super) fn with_service<Done: Future<Output = Result<(), Failure>>>(
    config: &Path,
    work: impl FnOnce(Arc<TokenService>) -> Done,
) -> Result<(), Failure> {
    let loaded = run::open(config)?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| failed(&error))?;
    runtime.block_on(async {
        let service = open_token_service(&loaded.plan).await.map_err(|error| failed(&error))?;
        let none = || Failure::Refused(format!("error: {} has no [token_service]", config.display()));
        work(service.ok_or_else(none)?).await
    })
}

async fn add(service: &TokenService, email: &str, phone: Option<&str>, password_file: Option<&Path>) -> Result<(), Failure> {
    let email = EmailAddress::parse(email).map_err(|error| refused(&error))?;
    let phone = phone.map(PhoneNumber::parse).transpose().map_err(|error| refused(&error))?;
    let (password, made) = match password_file {
        Some(file) => (read_secret(file, "password")?, false),
        None => (new_password(), true),
    };
    let shown = made.then(|| password.expose().to_owned());
    let new = NewAccount { email, phone, password: Some(password), country: None, kind: AccountKind::Person };
    let added = service.add_account(new).await.map_err(|error| refused(&error))?;
    output::say(&format!("added account {} ({})", added.id, added.email))?;
    match shown {
        Some(password) => output::say(&format!("its password, shown this once: {password}")),
        None => Ok(()),
    }
}

async fn list(service: &TokenService) -> Result<(), Failure> {
    let mut after = AccountId(0);
    loop {
        let page = service.accounts(after, PAGE).await.map_err(|denial| failed(&denial.reason()))?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.id;
        for account in &page {
            output::say(&line(account))?;
        }
    }
}

fn line(account: &Account) -> String {
    let status = match account.status {
        AccountStatus::Active => "active",
        AccountStatus::Disabled => "disabled",
    };
    format!("{}\t{status}\t{}\t{}", account.id, account.email, account.phone.as_deref().unwrap_or("-"))
}

async fn disable(service: &TokenService, wanted: &str) -> Result<(), Failure> {
    let id = the_account(service, wanted).await?;
    let known = service.switch_account(id, AccountStatus::Disabled).await.map_err(|denial| failed(&denial.reason()))?;
    if known {
        output::say(&format!("disabled account {id}; its sessions have ended (a gateway that is running knows within 15 s)"))
    } else {
        Err(unknown(wanted))
    }
}

async fn email_factor(service: &TokenService, wanted: &str, state: FactorState) -> Result<(), Failure> {
    let id = the_account(service, wanted).await?;
    let (factor, text) = match state {
        FactorState::On => (EmailFactor::On, "is asked for a code by e-mail from now on"),
        FactorState::Off => (EmailFactor::Off, "is not asked for a code by e-mail any more"),
    };
    let known = service.switch_email_factor(id, factor).await.map_err(|denial| failed(&denial.reason()))?;
    if known { output::say(&format!("account {id} {text}")) } else { Err(unknown(wanted)) }
}

async fn expire_password(service: &TokenService, wanted: &str) -> Result<(), Failure> {
    let id = the_account(service, wanted).await?;
    let expired = service.expire_password(id).await.map_err(|denial| failed(&denial.reason()))?;
    if expired {
        output::say(&format!("the password of account {id} has expired"))
    } else {
        Err(refused(&format!("account {wanted} has no password")))
    }
}

async fn enrol(service: &TokenService, wanted: &str, channel: &str) -> Result<(), Failure> {
    let channel = Channel::named(channel).ok_or_else(|| refused(&format!("there is no channel {channel}")))?;
    let id = the_account(service, wanted).await?;
    let enrolled = service.enrol_channel(id, channel).await.map_err(|denial| failed(&denial.reason()))?;
    let state = if enrolled { "enrolled" } else { "was enrolled before" };
    output::say(&format!("{} {state} for account {id}", channel.name()))
}

fn unknown(wanted: &str) -> Failure {
    refused(&format!("there is no account {wanted}"))
}

/// The account of this number or e-mail address.
async fn the_account(service: &TokenService, wanted: &str) -> Result<AccountId, Failure> {
    if let Some(id) = AccountId::from_subject(wanted) {
        let known = service.account(id).await.map_err(|denial| failed(&denial.reason()))?;
        return known.map(|account| account.id).ok_or_else(|| unknown(wanted));
    }
    let email = EmailAddress::parse(wanted).map_err(|error| refused(&error))?;
    find(service, &email).await?.ok_or_else(|| unknown(wanted))
}

async fn find(service: &TokenService, wanted: &EmailAddress) -> Result<Option<AccountId>, Failure> {
    let mut after = AccountId(0);
    loop {
        let page = service.accounts(after, PAGE).await.map_err(|denial| failed(&denial.reason()))?;
        let Some(last) = page.last() else { return Ok(None) };
        after = last.id;
        let is_it = |account: &&Account| EmailAddress::parse(&account.email).is_ok_and(|email| email.key() == wanted.key());
        if let Some(found) = page.iter().find(is_it) {
            return Ok(Some(found.id));
        }
    }
}

/// What a file holds, or standard input; a line break at its end does not count.
pub(super) fn read_secret(file: &Path, what: &str) -> Result<Secret, Failure> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().take(SECRET_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(SECRET_MAX).read_to_string(&mut text))
    };
    read.map_err(|error| refused(&format!("cannot read the {what}: {error}")))?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// What was asked for is wrong.
pub(super) fn refused(error: &dyn std::fmt::Display) -> Failure {
    Failure::Refused(format!("error: {error}"))
}

/// It was right, but did not work.
pub(super) fn failed(error: &dyn std::fmt::Display) -> Failure {
    Failure::Failed(format!("error: {error}"))
}
