//! `portcullis quickstart`: everything on one machine, to try it out, with credentials made at random.
//!
//! Writes the configuration that it runs and a file of credentials that a shell can source; started again on the same folder
//! it keeps accounts and credentials. Deliberately absent: anything that the other commands do not do too.

mod credentials;
mod files;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use tokio::runtime::Builder;

use crate::app::{Gateway, open_token_service};
use crate::cli::accounts::{failed, refused};
use crate::cli::arguments::QuickstartOptions;
use crate::cli::clients::rights;
use crate::cli::quickstart::credentials::{Credentials, REDIRECT_URI, State};
use crate::cli::quickstart::files::{exists, read, write};
use crate::cli::{Failure, output, run};
use crate::model::Secret;
use crate::tokens::TokenService;
use crate::tokens::account::{AccountKind, NewAccount};
use crate::tokens::client::NewClient;
use crate::tokens::factor::Channel;
use crate::tokens::identifier::{EmailAddress, PhoneNumber};

/// The configuration, with three places to be filled in.
const TEMPLATE: &str = include_str!("gateway.toml");
const ENV_FILE: &str = "quickstart.env";
const CONFIG_FILE: &str = "gateway.toml";
const DATABASE: &str = "portcullis.db";

/// Prepares the folder and runs the gateway on it.
pub(super) fn quickstart(options: &QuickstartOptions) -> Result<(), Failure> {
    std::fs::create_dir_all(&options.dir)
        .map_err(|error| refused(&format!("cannot make {}: {error}", options.dir.display())))?;
    let (listen, admin) = (settled(options.listen)?, settled(options.admin)?);
    let (known, mut credentials) = remembered(&options.dir)?;
    credentials.move_to(listen, admin);
    let config = TEMPLATE
        .replace("@LISTEN@", &listen.to_string())
        .replace("@ADMIN@", &admin.to_string())
        .replace("@URL@", &credentials.url);
    write(&options.dir.join(CONFIG_FILE), &config)?;
    write(&options.dir.join("admin.token"), &format!("{}\n", credentials.admin_token))?;
    write(&options.dir.join("callback.secret"), &format!("{}\n", credentials.session_callback_secret))?;
    let path = options.dir.join(CONFIG_FILE);
    let loaded = run::open(&path)?;
    let dir = options.dir.clone();
    if !known {
        enrol(&loaded, &mut credentials)?;
    }
    // Last, and only now: who finds this file finds accounts that exist.
    write(&dir.join(ENV_FILE), &credentials.to_env())?;
    run::serve(loaded, |gateway| output::say(&guide(&dir, gateway)))
}

/// The address with a real port: the configuration that is written must work again.
fn settled(address: SocketAddr) -> Result<SocketAddr, Failure> {
    if address.port() != 0 {
        return Ok(address);
    }
    let free = TcpListener::bind(address).and_then(|listener| listener.local_addr());
    free.map_err(|error| failed(&format!("no free port on {}: {error}", address.ip())))
}

/// The credentials of an earlier start, or new ones; whether they were known.
fn remembered(dir: &Path) -> Result<(bool, Credentials), Failure> {
    let env = dir.join(ENV_FILE);
    if exists(&env) {
        let text = read(&env)?;
        let parsed = Credentials::from_env(&text);
        let parsed =
            parsed.map_err(|missing| refused(&format!("{} has no {missing}; {}", env.display(), start_afresh(dir))))?;
        return Ok((true, parsed));
    }
    if exists(&dir.join(DATABASE)) {
        return Err(refused(&format!("{} is gone, but there is a database; {}", env.display(), start_afresh(dir))));
    }
    Ok((false, Credentials::new()))
}

fn start_afresh(dir: &Path) -> String {
    format!("restore it, or move {} away to start afresh", dir.display())
}

/// Makes the accounts and clients, once.
fn enrol(loaded: &crate::app::Loaded, credentials: &mut Credentials) -> Result<(), Failure> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| failed(&error))?;
    runtime.block_on(async {
        let service = open_token_service(&loaded.plan).await.map_err(|error| failed(&error))?;
        let service = service.ok_or_else(|| failed(&"the quick start has no token service"))?;
        fill(&service, credentials).await
    })
}

async fn fill(service: &TokenService, credentials: &mut Credentials) -> Result<(), Failure> {
    for person in credentials.people() {
        let email = EmailAddress::parse(person.email).map_err(|error| failed(&error))?;
        let phone = person.phone.map(PhoneNumber::parse).transpose().map_err(|error| failed(&error))?;
        let password = Some(Secret::new(person.password.to_owned()));
        let new = NewAccount { email, phone, password, country: None, kind: AccountKind::Person };
        let account = service.add_account(new).await.map_err(|error| failed(&error))?.id;
        let factor = service.switch_email_factor(account, person.email_factor).await;
        factor.map_err(|denial| failed(&denial.reason()))?;
        match person.state {
            State::Complete => {
                for channel in Channel::ALL {
                    service.enrol_channel(account, channel).await.map_err(|denial| failed(&denial.reason()))?;
                }
            }
            State::PasswordExpired => {
                service.expire_password(account).await.map_err(|denial| failed(&denial.reason()))?;
            }
        }
    }
    let key = service.add_api_key("quickstart-program").await.map_err(|error| failed(&error))?;
    key.expose().clone_into(&mut credentials.session_api_key);
    let uris: Box<[Box<str>]> = Box::new([REDIRECT_URI.into()]);
    let client = NewClient { id: credentials.oauth_client_id.as_str().into(), rights: rights(false), redirect_uris: uris };
    credentials.oauth_client_secret = add_client(service, client).await?;
    let id = credentials.introspect_client_id.as_str().into();
    let client = NewClient { id, rights: rights(true), redirect_uris: Box::default() };
    credentials.introspect_client_secret = add_client(service, client).await?;
    Ok(())
}

async fn add_client(service: &TokenService, client: NewClient) -> Result<String, Failure> {
    let secret = service.add_client(client).await.map_err(|error| failed(&error))?;
    Ok(secret.expose().to_owned())
}

/// What to try now.
fn guide(dir: &Path, gateway: &Gateway) -> String {
    let env = dir.join(ENV_FILE);
    let env = env.display();
    format!(
        r#"
credentials in {env}, configuration in {config}; stop with Ctrl-C. Health and metrics: http://{admin}/readyz /metrics

try it in another terminal:
  . {env}
  curl -i $URL/api/hello                                       # 401: no token
  json='content-type: application/json'
  curl -s $URL/v2/verification/request-code -H "$json" -d '{{"phoneNumber":"'$ACCOUNT_PHONE'","language":"en","destination":"Phone"}}'
  MFA=$(curl -s $URL/v2/verification/verify-code -H "$json" -d '{{"phoneNumber":"'$ACCOUNT_PHONE'","verificationCode":"123456"}}' | cut -d'"' -f4)
  CODE=$(curl -s $URL/v1/authentications/password -H "$json" -d '{{"mfaToken":"'$MFA'","password":"'$ACCOUNT_PASSWORD'","clientId":"'$OAUTH_CLIENT_ID'","clientSecret":"'$OAUTH_CLIENT_SECRET'","phoneNumber":"'$ACCOUNT_PHONE'"}}' | grep -o '"code":"[^"]*' | cut -d'"' -f4)
  TOKEN=$(curl -s $URL/v2/oauth/token -d grant_type=authorization_code -d code=$CODE -d redirect_uri=$OAUTH_REDIRECT_URI -d client_id=$OAUTH_CLIENT_ID -d client_secret=$OAUTH_CLIENT_SECRET | grep -o '"access_token":"[^"]*' | cut -d'"' -f4)
  curl -i $URL/api/hello -H "Authorization: Bearer $TOKEN"     # 200: the echo shows X-Auth-Subject
  curl -s $URL/api/v2/signin -H "$json" -d '{{"email":"'$ACCOUNT_EMAIL'","password":"'$ACCOUNT_PASSWORD'"}}'   # a signed pair
  curl -i $URL/v2/oauth/revoke -d token=$TOKEN -d client_id=$OAUTH_CLIENT_ID -d client_secret=$OAUTH_CLIENT_SECRET
  curl -i $URL/api/hello -H "Authorization: Bearer $TOKEN"     # 401: dead at once

the session API:
  key="api-key: $SESSION_API_KEY"
  TOKEN=$(curl -s $URL/multi/login_with_password -H "$key" -H "$json" -d '{{"email":"'$ACCOUNT_EMAIL'","password":{{"value":"'$ACCOUNT_PASSWORD'"}}}}' | cut -d'"' -f4)
  curl -i $URL/api/sensitive -H "Authorization: Bearer $TOKEN" # 401: needs a second factor
  curl -i -X POST $URL/multi/stepup/challenges/otp/SMS -H "$key" -H "Authorization: Bearer $TOKEN"
  curl -i $URL/multi/stepup/challenges/otp/SMS/verify -H "$key" -H "Authorization: Bearer $TOKEN" -H "$json" -d '{{"verificationCode":"123456"}}'
  curl -i $URL/api/sensitive -H "Authorization: Bearer $TOKEN" # 200
"#,
        config = dir.join(CONFIG_FILE).display(),
        admin = gateway.admin,
    )
}
