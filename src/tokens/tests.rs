//! Steps of the service against a real database.

#[path = "tests/attempts.rs"]
mod attempts;
#[path = "tests/world.rs"]
pub(crate) mod world;

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use self::world::{ISSUER, PASSWORD, PHONE, REDIRECT, World, new_account, new_client, phone, secret, settings};
use crate::model::{Denial, PrincipalFacts, Secret, TokenKind};
use crate::plan::{Database, Environment};
use crate::store::cuts::{Cuts, Reach, Sequence, Watermark};
use crate::store::sql::postgres::tests::fixture;
use crate::tokens::account::{AccountId, AccountStatus, NewAccount};
use crate::tokens::client::{ClientRight, NewClient};
use crate::tokens::identifier::EmailAddress;
use crate::tokens::identity::IdentityToken;
use crate::tokens::keyring::fingerprint;
use crate::tokens::notifier::{Content, Message, Notifier};
use crate::tokens::refusal::Refusal;
use crate::tokens::session::{Api, CodeRule, EntryRule, SessionRule, VerificationRule};
use crate::tokens::store::steps::{OpenFault, SCHEMA_VERSION};
use crate::tokens::tests::world::somewhere;
use crate::tokens::{
    AccountRefused, ClientRefused, Entered, Entry, LogIn, LogInLimits, LoggedIn, Settings, SignIn, StartFault, Surroundings,
    TokenPair, TokenService, database, is_one_time_code,
};

/// Signs in with this password and a proof that is good; what became of it.
async fn sign_in(world: &World, password: &str, proof: &Secret) -> Result<(), Refusal> {
    let (phone, password) = (phone(PHONE), secret(password));
    let request = SignIn { client: &world.client, phone: &phone, password: &password, proof, source: somewhere() };
    world.service.sign_in(&CodeRule::oauth(world.api()), request).await.map(|_| ())
}

async fn tokens(world: &World) -> TokenPair {
    let code = world.code().await;
    world.service.redeem_code(&world.session_rule(), &world.client, &code, REDIRECT).await.unwrap()
}

async fn refresh(world: &World, token: &Secret) -> Result<TokenPair, Refusal> {
    world.service.refresh(&world.session_rule(), &world.client, token).await
}

/// What the gateway would remember of a token: its facts, and the number read before they were loaded.
async fn remembered(world: &World, token: &Secret) -> (PrincipalFacts, Sequence) {
    let before = world.cuts.sequence();
    (world.service.introspect(token.expose()).await.unwrap().unwrap(), before)
}

fn is_cut(cuts: &Cuts, token: &Secret, (facts, loaded): &(PrincipalFacts, Sequence)) -> bool {
    !cuts.spare(facts, fingerprint(token.expose()), &Watermark::at(*loaded))
}

fn is_locked(outcome: &Result<(), Refusal>) -> bool {
    matches!(outcome, Err(Refusal::Denied(Denial::Locked(_))))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_parallel_wrong_passwords_are_five_hashes_and_then_a_lock() {
    let world = Arc::new(World::new().await);
    let proof = Arc::new(world.proof().await);
    let tries: Vec<_> = (0..100)
        .map(|_| {
            let (world, proof) = (Arc::clone(&world), Arc::clone(&proof));
            tokio::spawn(async move { sign_in(&world, "wrong", &proof).await })
        })
        .collect();
    let mut wrong = 0;
    for attempt in tries {
        match attempt.await.unwrap() {
            Err(Refusal::ProofWrong) => wrong += 1,
            outcome => assert!(is_locked(&outcome), "{outcome:?}"),
        }
    }
    assert_eq!((wrong, world.service.password_checks()), (5, 5));
    assert!(is_locked(&sign_in(&world, PASSWORD, &proof).await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_parallel_right_passwords_all_pass_and_count_no_failure() {
    let world = Arc::new(World::new().await);
    let mut proofs = Vec::new();
    for _ in 0..20 {
        proofs.push(world.proof().await);
    }
    let tries = proofs.into_iter().map(|proof| {
        let world = Arc::clone(&world);
        tokio::spawn(async move { sign_in(&world, PASSWORD, &proof).await })
    });
    for attempt in tries.collect::<Vec<_>>() {
        assert_eq!(attempt.await.unwrap(), Ok(()));
    }
}

#[tokio::test]
async fn a_lock_survives_a_restart_and_ends_when_it_would_have() {
    let mut world = World::new().await;
    let proof = world.proof().await;
    for _ in 0..5 {
        assert_eq!(sign_in(&world, "wrong", &proof).await, Err(Refusal::ProofWrong));
    }
    world.clock.advance(Duration::from_mins(10));
    world = world.restart().await;
    let left = Denial::Locked(Duration::from_mins(20));
    assert_eq!(sign_in(&world, PASSWORD, &proof).await, Err(Refusal::Denied(left)));
    world.clock.advance(Duration::from_mins(20));
    let proof = world.proof().await;
    assert_eq!(sign_in(&world, PASSWORD, &proof).await, Ok(()));
}

#[tokio::test]
async fn failures_survive_a_restart_and_a_success_before_it_forgets_them() {
    let mut world = World::new().await;
    let proof = world.proof().await;
    for _ in 0..4 {
        assert_eq!(sign_in(&world, "wrong", &proof).await, Err(Refusal::ProofWrong));
    }
    world = world.restart().await;
    assert_eq!(sign_in(&world, "wrong", &proof).await, Err(Refusal::ProofWrong));
    assert!(is_locked(&sign_in(&world, PASSWORD, &proof).await));

    world.clock.advance(Duration::from_mins(30));
    for _ in 0..4 {
        assert_eq!(sign_in(&world, "wrong", &proof).await, Err(Refusal::ProofWrong));
    }
    let proof = world.proof().await;
    assert_eq!(sign_in(&world, PASSWORD, &proof).await, Ok(()));
    world = world.restart().await;
    for _ in 0..4 {
        assert_eq!(sign_in(&world, "wrong", &proof).await, Err(Refusal::ProofWrong));
    }
    let proof = world.proof().await;
    assert_eq!(sign_in(&world, PASSWORD, &proof).await, Ok(()));
}

#[tokio::test]
async fn what_was_answered_before_a_restart_is_so_after_it() {
    let mut world = World::new().await;
    let (kept, revoked) = (tokens(&world).await, tokens(&world).await);
    world.service.revoke(&world.client, &revoked.refresh).await.unwrap();
    world = world.restart().await;
    assert!(world.is_good(kept.access.expose()).await);
    assert!(!world.is_good(revoked.access.expose()).await);
    assert!(refresh(&world, &kept.refresh).await.is_ok());
    assert_eq!(refresh(&world, &revoked.refresh).await.unwrap_err(), Refusal::RefreshInvalid);
}

#[tokio::test]
async fn the_gateway_hears_of_every_end_before_the_answer() {
    let world = World::new().await;
    let pair = tokens(&world).await;
    let before = remembered(&world, &pair.access).await;
    assert!(!is_cut(&world.cuts, &pair.access, &before));
    world.service.revoke(&world.client, &pair.access).await.unwrap();
    assert!(is_cut(&world.cuts, &pair.access, &before), "a revoked access token");

    let pair = tokens(&world).await;
    let before = remembered(&world, &pair.access).await;
    world.service.revoke(&world.client, &pair.refresh).await.unwrap();
    assert!(is_cut(&world.cuts, &pair.access, &before), "the access token of a revoked refresh token");

    let pair = tokens(&world).await;
    let before = remembered(&world, &pair.access).await;
    let next = refresh(&world, &pair.refresh).await.unwrap();
    assert!(is_cut(&world.cuts, &pair.access, &before), "a superseded access token ends earlier than was remembered");
    let before = remembered(&world, &next.access).await;
    assert!(refresh(&world, &pair.refresh).await.is_err());
    assert!(is_cut(&world.cuts, &next.access, &before), "the family of a reused refresh token");

    let code = world.code().await;
    let rule = world.session_rule();
    let pair = world.service.redeem_code(&rule, &world.client, &code, REDIRECT).await.unwrap();
    let before = remembered(&world, &pair.access).await;
    assert!(world.service.redeem_code(&rule, &world.client, &code, REDIRECT).await.is_err());
    assert!(is_cut(&world.cuts, &pair.access, &before), "the tokens of a reused code");

    let pair = tokens(&world).await;
    let before = remembered(&world, &pair.access).await;
    world.service.switch_account(world.account.id, AccountStatus::Disabled).await.unwrap();
    assert!(is_cut(&world.cuts, &pair.access, &before), "the tokens of a disabled account");
}

/// The first time is a step of another gateway on the same database; on a file it has no way to tell this one.
#[tokio::test]
async fn who_revokes_or_signs_out_once_more_is_told_so_after_a_cut() {
    let world = World::new().await;
    let (_, other) = world.another().await;
    let (service, client) = (&world.service, &world.client);
    let remembered_pair = async || {
        let pair = tokens(&world).await;
        let before = remembered(&world, &pair.access).await;
        (pair, before)
    };

    let (pair, before) = remembered_pair().await;
    other.revoke(client, &pair.access).await.unwrap();
    service.revoke(client, &pair.access).await.unwrap();
    assert!(is_cut(&world.cuts, &pair.access, &before), "an access token");

    let (pair, before) = remembered_pair().await;
    other.revoke(client, &pair.refresh).await.unwrap();
    // Whoever does not hear of an answer tries again after a while.
    world.clock.advance(Duration::from_mins(30));
    service.clean_up(service.now()).await.unwrap();
    service.revoke(client, &pair.refresh).await.unwrap();
    assert!(is_cut(&world.cuts, &pair.access, &before), "a refresh token");

    let (pair, before) = remembered_pair().await;
    let sid = before.0.session.clone().unwrap();
    assert_eq!(other.sign_out(Api::OAuth, &sid).await, Ok(true));
    assert_eq!(service.sign_out(Api::OAuth, &sid).await, Ok(false));
    assert!(is_cut(&world.cuts, &pair.access, &before), "a session");

    let code = world.code().await;
    let (rule, before) = (world.session_rule(), world.cuts.sequence());
    let pair = service.redeem_code(&rule, client, &code, REDIRECT).await.unwrap();
    let known = service.introspect(pair.access.expose()).await.unwrap().unwrap();
    for gateway in [&other, service] {
        assert!(gateway.redeem_code(&rule, client, &code, REDIRECT).await.is_err());
    }
    assert!(is_cut(&world.cuts, &pair.access, &(known, before)), "what a code was redeemed for that is shown again and again");
}

#[tokio::test]
async fn who_logs_out_once_more_is_refused_after_a_cut_and_tokens_that_are_made_up_cut_nothing() {
    let world = World::new().await;
    let (_, other) = world.another().await;
    let api = world.plan.session.as_ref().unwrap();
    let (email, password) = (EmailAddress::parse("ann@example.com").unwrap(), secret(PASSWORD));
    let request = LogIn { program: "program", email: &email, password: &password, source: somewhere() };
    let limits = LogInLimits::session(api);
    let logged_in = other.log_in(&SessionRule::session(api), &limits, request).await.unwrap();
    let LoggedIn::Open(IdentityToken { token, .. }) = logged_in else { panic!("the password has not expired") };
    let before = remembered(&world, &token).await;
    let holder = other.holder(&token, "program", &[TokenKind::Auth]).await.unwrap();
    other.log_out(&holder).await.unwrap();
    let again = world.service.holder(&token, "program", &[TokenKind::Auth]).await;
    assert_eq!(again.unwrap_err(), Refusal::TokenInvalid);
    assert!(is_cut(&world.cuts, &token, &before));

    let cuts = world.cuts.len();
    for made_up in 0..100 {
        let token = Secret::new(format!("made up {made_up}"));
        assert!(world.service.holder(&token, "program", &[TokenKind::Auth]).await.is_err());
    }
    assert_eq!(world.cuts.len(), cuts);
}

#[tokio::test]
async fn what_does_not_exist_or_is_somebody_elses_is_neither_revoked_nor_cut() {
    let world = World::new().await;
    let (service, pair) = (&world.service, tokens(&world).await);
    let secret = service.add_client(new_client("stranger", &[ClientRight::RefreshToken])).await.unwrap();
    let stranger = service.authenticate_client("stranger", &secret).await.unwrap();
    let (before, cuts) = (remembered(&world, &pair.access).await, world.cuts.len());
    for made_up in 0..100 {
        service.revoke(&stranger, &Secret::new(format!("made up {made_up}"))).await.unwrap();
    }
    service.revoke(&stranger, &pair.access).await.unwrap();
    service.revoke(&stranger, &pair.refresh).await.unwrap();
    for sid in [before.0.session.as_deref().unwrap(), "no such session"] {
        assert_eq!(service.sign_out(Api::BackOffice, sid).await, Ok(false));
    }
    assert_eq!(world.cuts.len(), cuts);
    assert!(!is_cut(&world.cuts, &pair.access, &before) && world.is_good(pair.access.expose()).await);
}

#[tokio::test]
async fn a_token_says_whose_it_is_and_how_that_was_proven() {
    let world = World::new().await;
    let pair = tokens(&world).await;
    let facts = world.service.introspect(pair.access.expose()).await.unwrap().unwrap();
    assert_eq!((facts.issuer, facts.kind, facts.acr.as_deref()), (ISSUER, TokenKind::Access, Some("second-factor")));
    assert_eq!(facts.subject.as_deref(), Some(&*world.account.id.to_string()));
    assert_eq!(facts.amr.iter().map(|method| &**method).collect::<Vec<_>>(), ["pwd", "otp"]);
    let other = world.service.introspect(tokens(&world).await.access.expose()).await.unwrap().unwrap();
    assert_ne!(facts.session, other.session);
    for bad in [pair.refresh.expose(), "", "x", &pair.access.expose().to_uppercase(), &"x".repeat(5_000)] {
        assert_eq!(world.service.introspect(bad).await, Ok(None), "{bad}");
    }
}

#[tokio::test]
async fn what_an_operator_ends_is_cut_with_its_refresh_tokens_and_the_codes_that_would_open_more() {
    let world = World::new().await;
    for kind in ["access", "refresh", "session", "subject", "client"] {
        let (pair, stays, code) = (tokens(&world).await, tokens(&world).await, world.code().await);
        let before = remembered(&world, &pair.access).await;
        let reach = match kind {
            "access" => Reach::Token(fingerprint(pair.access.expose())),
            "refresh" => Reach::Token(fingerprint(pair.refresh.expose())),
            "session" => Reach::Session(before.0.session.clone().unwrap()),
            "subject" => Reach::Subject(before.0.subject.clone().unwrap()),
            _ => Reach::Client(before.0.client.clone().unwrap()),
        };
        world.service.end(reach).await.unwrap().unwrap();
        assert!(is_cut(&world.cuts, &pair.access, &before), "{kind}");
        assert!(!world.is_good(pair.access.expose()).await, "{kind}");
        assert_eq!(refresh(&world, &pair.refresh).await.unwrap_err(), Refusal::RefreshInvalid, "{kind}");
        let one_session = !matches!(kind, "subject" | "client");
        assert_eq!(world.is_good(stays.access.expose()).await, one_session, "{kind}");
        assert_eq!(refresh(&world, &stays.refresh).await.is_ok(), one_session, "{kind}");
        let redeemed = world.service.redeem_code(&world.session_rule(), &world.client, &code, REDIRECT).await;
        assert_eq!(redeemed.is_ok(), one_session, "{kind}");
    }
    for nobodys in [Reach::Subject("ann".into()), Reach::Subject("999".into()), Reach::Session("x".into())] {
        assert_eq!(world.service.end(nobodys).await, Ok(Ok(())));
    }
}

#[tokio::test]
async fn a_disabled_account_cannot_sign_in_redeem_refresh_or_use_a_token() {
    let world = World::new().await;
    let (pair, code, proof) = (tokens(&world).await, world.code().await, world.proof().await);
    assert_eq!(world.service.switch_account(world.account.id, AccountStatus::Disabled).await, Ok(true));
    assert!(!world.is_good(pair.access.expose()).await);
    assert_eq!(refresh(&world, &pair.refresh).await.unwrap_err(), Refusal::RefreshInvalid);
    let redeemed = world.service.redeem_code(&world.session_rule(), &world.client, &code, REDIRECT).await;
    assert_eq!(redeemed.unwrap_err(), Refusal::CodeInvalid);
    assert_eq!(sign_in(&world, PASSWORD, &proof).await, Err(Refusal::ProofWrong));

    assert_eq!(world.service.switch_account(world.account.id, AccountStatus::Active).await, Ok(true));
    assert!(!world.is_good(pair.access.expose()).await, "what was ended stays ended");
    assert!(refresh(&world, &pair.refresh).await.is_err());
    let redeemed = world.service.redeem_code(&world.session_rule(), &world.client, &code, REDIRECT).await;
    assert_eq!(redeemed.unwrap_err(), Refusal::CodeInvalid);
    assert_eq!(sign_in(&world, PASSWORD, &proof).await, Ok(()));
    assert_eq!(world.service.switch_account(AccountId(999), AccountStatus::Disabled).await, Ok(false));
}

#[tokio::test]
async fn within_the_grace_a_retried_refresh_gets_the_same_pair_and_after_it_the_family_ends() {
    let mut plan = settings();
    plan.oauth.as_mut().unwrap().refresh_grace = Duration::from_secs(10);
    let world = World::with(plan).await;
    let first = tokens(&world).await;
    let second = refresh(&world, &first.refresh).await.unwrap();
    world.clock.advance(Duration::from_secs(9));
    let again = refresh(&world, &first.refresh).await.unwrap();
    assert_eq!((&again.access, &again.refresh), (&second.access, &second.refresh));
    assert_eq!(again.expires_in + Duration::from_secs(9), second.expires_in);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(refresh(&world, &first.refresh).await.unwrap_err(), Refusal::RefreshInvalid);
    assert!(!world.is_good(second.access.expose()).await);
}

#[tokio::test]
async fn nothing_that_can_be_presented_is_in_the_files() {
    let mut plan = settings();
    plan.oauth.as_mut().unwrap().refresh_grace = Duration::from_secs(10);
    let world = World::with(plan).await;
    let code = world.code().await;
    let first = world.service.redeem_code(&world.session_rule(), &world.client, &code, REDIRECT).await.unwrap();
    let second = refresh(&world, &first.refresh).await.unwrap();
    let (proof, unused) = (world.proof().await, world.code().await);
    let secrets = [
        &code,
        &first.access,
        &first.refresh,
        &second.access,
        &second.refresh,
        &proof,
        &unused,
        &world.client_secret,
        &secret(PASSWORD),
    ];
    let (mut seen, address) = (0, "ann@example.com");
    for (name, bytes) in world.everything_kept() {
        let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        seen += usize::from(holds(address));
        for (index, secret) in secrets.iter().enumerate() {
            assert!(!holds(secret.expose()), "secret {index} in {name}");
        }
    }
    assert!(seen > 0, "the search finds what is there");
}

#[tokio::test]
async fn the_files_are_for_their_owner_only_and_no_other_key_will_do() {
    let world = World::new().await;
    let key_file = world.plan.key_file.clone();
    let metadata = std::fs::metadata(&key_file).unwrap();
    assert_eq!((metadata.permissions().mode() & 0o777, metadata.len()), (0o600, 32));
    let own = world.plan.database.file().map_or(&[][..], |_| &["tokens.sqlite", "tokens.sqlite-wal"]);
    for name in own {
        let metadata = std::fs::metadata(world.directory.0.join(name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{name}");
    }

    let start = |environment| {
        let settings = Settings::from_plan(&world.plan, environment);
        let surroundings = world.service.surroundings.clone();
        let (database, key_file) = (world.plan.database.clone(), key_file.clone());
        async move { TokenService::open(&database, &key_file, &settings, surroundings).await }
    };
    assert!(matches!(start(Environment::Production).await, Err(StartFault::FixedCode)));
    std::fs::write(&key_file, [7; 32]).unwrap();
    assert!(matches!(start(Environment::Sandbox).await, Err(StartFault::ForeignKey)));
    for wrong_length in [31, 33] {
        std::fs::write(&key_file, vec![7; wrong_length]).unwrap();
        assert!(matches!(start(Environment::Sandbox).await, Err(StartFault::Key(_))), "{wrong_length}");
    }
}

#[tokio::test]
async fn a_database_that_a_newer_program_wrote_is_not_touched() {
    let world = World::new().await;
    let newer = SCHEMA_VERSION + 1;
    world.tamper(&format!("INSERT INTO schema_version VALUES ({newer}, 0)"));
    let settings = Settings::from_plan(&world.plan, Environment::Sandbox);
    let opened = database::open(&world.plan.database, &settings, &world.service.surroundings);
    assert!(matches!(opened, Err(StartFault::Database(OpenFault::TooNew { found, .. })) if found == newer));
}

#[tokio::test]
async fn an_identifier_belongs_to_one_account_in_whatever_spelling() {
    let world = World::new().await;
    let add = |email: &str, number: &str| world.service.add_account(new_account(email, number));
    assert_eq!(add(" ANN@Example.com ", "+40700000001").await.unwrap_err(), AccountRefused::EmailTaken);
    assert_eq!(add("bob@example.com", PHONE).await.unwrap_err(), AccountRefused::PhoneTaken);
    let bob = add("bob@example.com", "+40700000001").await.unwrap();
    let listed = world.service.accounts(AccountId(0), 10).await.unwrap();
    assert_eq!(listed.iter().map(|account| account.id).collect::<Vec<_>>(), [world.account.id, bob.id]);
    assert_eq!(world.service.accounts(world.account.id, 1).await.unwrap(), [bob]);
}

#[tokio::test]
async fn passwords_and_countries_that_are_none_are_refused() {
    let world = World::new().await;
    for bad in ["", "1234567", &"x".repeat(1025)] {
        let new = NewAccount { password: Some(secret(bad)), ..new_account("bob@example.com", "+40700000001") };
        assert_eq!(world.service.add_account(new).await.unwrap_err(), AccountRefused::PasswordLength);
    }
    let new = NewAccount { country: Some("ro".into()), ..new_account("bob@example.com", "+40700000001") };
    assert_eq!(world.service.add_account(new).await.unwrap_err(), AccountRefused::Country);
    let silent = NewAccount { password: None, phone: None, ..new_account("bob@example.com", "+40700000001") };
    assert!(!world.service.add_account(silent).await.unwrap().registered);
}

#[tokio::test]
async fn a_rotated_secret_is_good_beside_its_successor_until_the_next_rotation() {
    let world = World::new().await;
    let first = world.client_secret.clone();
    let second = world.service.rotate_client("app").await.unwrap();
    let is_good = async |secret: &Secret| world.service.authenticate_client("app", secret).await.is_ok();
    assert!(is_good(&first).await && is_good(&second).await);
    let third = world.service.rotate_client("app").await.unwrap();
    assert!(!is_good(&first).await && is_good(&second).await && is_good(&third).await);
    assert_eq!(world.service.rotate_client("nobody").await.unwrap_err(), ClientRefused::Unknown);
}

#[tokio::test]
async fn clients_that_could_not_be_told_apart_or_redirected_are_refused() {
    let world = World::new().await;
    let add = |client: NewClient| world.service.add_client(client);
    assert_eq!(add(new_client("app", &[])).await.unwrap_err(), ClientRefused::Exists);
    for id in ["", "a b", "a:b", "é", &"x".repeat(129)] {
        assert_eq!(add(new_client(id, &[])).await.unwrap_err(), ClientRefused::Id, "{id}");
    }
    for uris in [vec![], vec!["https://a.example/#x"], vec!["https://a.example/ b"], vec![""]] {
        let redirect_uris = uris.into_iter().map(Into::into).collect();
        let client = NewClient { redirect_uris, ..new_client("other", &[ClientRight::AuthorizationCode]) };
        assert_eq!(add(client).await.unwrap_err(), ClientRefused::RedirectUri);
    }
    assert_eq!(world.service.clients().await.unwrap(), std::slice::from_ref(&world.client));
}

#[tokio::test]
async fn a_right_password_brings_its_hash_to_the_cost_of_today() {
    let mut world = World::new().await;
    let kept = || world.ask("SELECT phc FROM password");
    assert!(kept().starts_with("$argon2id$v=19$m=64,t=1,p=1$"));
    world.plan.hashing.passes = 2;
    world = world.restart().await;
    let proof = world.proof().await;
    assert_eq!(sign_in(&world, "wrong", &proof).await, Err(Refusal::ProofWrong));
    let kept = || world.ask("SELECT phc FROM password");
    assert!(kept().contains(",t=1,"));
    assert_eq!(sign_in(&world, PASSWORD, &proof).await, Ok(()));
    assert!(kept().contains(",t=2,"));
    let proof = world.proof().await;
    assert_eq!(sign_in(&world, PASSWORD, &proof).await, Ok(()));
}

#[tokio::test]
async fn what_has_expired_is_forgotten_and_nothing_else() {
    let world = World::new().await;
    let pair = tokens(&world).await;
    world.proof().await;
    world.service.clean_up(world.service.now()).await.unwrap();
    assert!(world.is_good(pair.access.expose()).await);
    let count = |table: &str| world.ask(&format!("SELECT count(*) FROM {table}")).parse::<i64>().unwrap();
    assert_eq!((count("access_token"), count("refresh_token"), count("code"), count("challenge")), (1, 1, 1, 2));

    world.clock.advance(Duration::from_hours(24) + Duration::from_mins(10));
    world.service.clean_up(world.service.now()).await.unwrap();
    assert_eq!((count("access_token"), count("refresh_token"), count("code"), count("challenge")), (0, 1, 0, 0));
    assert!(refresh(&world, &pair.refresh).await.is_ok());

    world.clock.advance(Duration::from_hours(90 * 24));
    world.service.clean_up(world.service.now()).await.unwrap();
    for table in ["access_token", "refresh_token", "token_grant", "session", "code", "challenge"] {
        assert_eq!(count(table), 0, "{table}");
    }
    assert_eq!(count("account"), 1);
}

#[tokio::test]
async fn more_passwords_at_once_than_may_wait_are_refused_and_cost_no_attempt() {
    let mut plan = settings();
    (plan.hashing.parallel, plan.hashing.queue) = (1, 0);
    let world = World::with(plan).await;
    let proof = world.proof().await;
    let occupied = world.service.passwords.turn().await.unwrap();
    for _ in 0..20 {
        let overloaded = Denial::Overloaded(Duration::from_secs(1));
        assert_eq!(sign_in(&world, "wrong", &proof).await, Err(Refusal::Denied(overloaded)));
    }
    drop(occupied);
    assert_eq!(world.service.password_checks(), 0);
    assert_eq!(sign_in(&world, PASSWORD, &proof).await, Ok(()));
}

/// Carries nothing and remembers everything.
#[derive(Debug)]
struct Recording(tokio::sync::mpsc::UnboundedSender<(String, Secret, String)>);

impl Notifier for Recording {
    fn send(&self, message: Message) {
        let Content::Sms { to, code, language } = message.content else { panic!("{message:?}") };
        self.0.send((to.as_str().to_owned(), code, language.into())).unwrap();
    }
}

#[tokio::test]
async fn a_code_is_sent_to_its_account_only_and_voids_the_one_before_it() {
    let (sender, mut sent) = tokio::sync::mpsc::unbounded_channel();
    let mut world = World::new().await;
    let surroundings = Surroundings { notifier: Arc::new(Recording(sender)), ..world.service.surroundings.clone() };
    let settings = Settings::from_plan(&world.plan, Environment::Production);
    let service = TokenService::open(&world.plan.database, &world.plan.key_file, &settings, surroundings).await.unwrap();
    world.service = Arc::new(service);
    let rule = VerificationRule::oauth(world.api());
    let (ours, nobodys) = (phone(PHONE), phone("+40700000000"));
    world.service.request_code(&rule, &nobodys, "en", somewhere()).await.unwrap();
    world.service.request_code(&rule, &ours, "ro", somewhere()).await.unwrap();
    let (to, first, language) = sent.recv().await.unwrap();
    assert_eq!((&*to, &*language), (PHONE, "ro"));
    world.service.request_code(&rule, &ours, "ro", somewhere()).await.unwrap();
    let (_, second, _) = sent.recv().await.unwrap();
    assert!(is_one_time_code(first.expose()) && is_one_time_code(second.expose()) && first != second);
    assert_eq!(world.service.verify_code(&rule, &ours, &first).await, Err(Refusal::ProofWrong));
    assert_eq!(world.service.verify_code(&rule, &nobodys, &second).await, Err(Refusal::ProofWrong));
    assert!(world.service.verify_code(&rule, &ours, &second).await.is_ok());

    world.service.switch_account(world.account.id, AccountStatus::Disabled).await.unwrap();
    world.service.request_code(&rule, &ours, "ro", somewhere()).await.unwrap();
    drop(world);
    assert!(sent.recv().await.is_none(), "nothing is sent to nobody, nor to who cannot sign in");
}

/// Another gateway remembers a token, and hears that something has ended it.
async fn is_heard_of(
    world: &World,
    (cuts, other): &(Arc<Cuts>, Arc<TokenService>),
    token: &Secret,
    end: impl Future<Output = ()>,
) {
    let before = cuts.sequence();
    let known = (other.introspect(token.expose()).await.unwrap().unwrap(), before);
    assert!(!is_cut(cuts, token, &known));
    end.await;
    assert!(world.service.introspect(token.expose()).await.is_ok());
    for _ in 0..2000 {
        if is_cut(cuts, token, &known) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the other gateway has not heard of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_gateway_ends_another_on_its_database_hears_of() {
    let world = World::new().await;
    let Database::Postgres(_) = &world.plan.database else { return };
    let other = world.another().await;
    let (service, client) = (&world.service, &world.client);

    let pair = tokens(&world).await;
    is_heard_of(&world, &other, &pair.access, async { service.revoke(client, &pair.access).await.unwrap() }).await;
    assert_eq!(other.1.introspect(pair.access.expose()).await, Ok(None));
    let pair = tokens(&world).await;
    is_heard_of(&world, &other, &pair.access, async { service.revoke(client, &pair.refresh).await.unwrap() }).await;
    let pair = tokens(&world).await;
    is_heard_of(&world, &other, &pair.access, async { drop(refresh(&world, &pair.refresh).await.unwrap()) }).await;
    let pair = tokens(&world).await;
    let subject = Reach::Subject(world.account.id.to_string().into());
    is_heard_of(&world, &other, &pair.access, async { service.end(subject).await.unwrap().unwrap() }).await;
    let pair = tokens(&world).await;
    let disable = async { assert!(service.switch_account(world.account.id, AccountStatus::Disabled).await.unwrap()) };
    is_heard_of(&world, &other, &pair.access, disable).await;
    assert_eq!(other.1.introspect(pair.access.expose()).await, Ok(None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_is_looked_up_while_the_thread_that_reads_what_others_end_hangs() {
    let world = World::new().await;
    let Database::Postgres(server) = &world.plan.database else { return };
    let pair = tokens(&world).await;
    let holder = fixture::client(server).await;
    holder.batch_execute("BEGIN; LOCK TABLE revocation_event IN ACCESS EXCLUSIVE MODE").await.unwrap();
    assert!(world.service.introspect(pair.access.expose()).await.unwrap().is_some());
    world.clock.advance(server.max_silence);
    assert!(world.cuts.outbox().is_deaf(world.service.now().tick));
    assert!(world.service.introspect(pair.access.expose()).await.is_err(), "an outage, whatever could be read");
    holder.batch_execute("ROLLBACK").await.unwrap();
    for _ in 0..2000 {
        if world.service.introspect(pair.access.expose()).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it does not go on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_gateways_that_make_the_next_key_at_once_one_does_and_both_have_it() {
    let world = World::with(crate::plan::TokenService { back_office: Some(world::back_office()), ..settings() }).await;
    let Database::Postgres(_) = &world.plan.database else { return };
    let (_, other) = world.another().await;
    let (one, two) = tokio::join!(world.service.rotate_keys(), other.rotate_keys());
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    let (here, there) = (world.service.signing_keys().await.unwrap(), other.signing_keys().await.unwrap());
    assert_eq!((here.len(), &here), (2, &there));
    let soonest = world.service.now().wall.after(Duration::from_mins(2));
    assert!(here.iter().map(|key| key.signs_from).max().unwrap() >= soonest, "every gateway sees it before it signs");
}

/// A world whose tokens are signed, and a second gateway on its database.
async fn two_that_sign() -> (World, Arc<TokenService>) {
    let world = World::with(crate::plan::TokenService { back_office: Some(world::back_office()), ..settings() }).await;
    let (_, other) = world.another().await;
    (world, other)
}

/// A signed token.
async fn signed(world: &World) -> Secret {
    let rule = EntryRule::back_office(world.plan.back_office.as_ref().unwrap());
    let (email, password) = (EmailAddress::parse("ann@example.com").unwrap(), secret(PASSWORD));
    match world.service.enter(&rule, Entry { email: &email, password: &password, source: somewhere() }).await.unwrap() {
        Entered::Open(pair) => pair.access,
        Entered::SecondFactor(_) => panic!("no second factor is enrolled"),
    }
}

/// A token that was signed with a key that there is not, and that says of itself what this one does.
fn of_no_key(token: &Secret, count: usize) -> String {
    let (_, rest) = token.expose().split_once('.').unwrap();
    let header = format!("{{\"typ\":\"JWT\",\"alg\":\"RS256\",\"kid\":\"made up {count}\"}}");
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header))
}

const HIDE: &str = "ALTER TABLE signing_key RENAME TO hidden";
const SHOW: &str = "ALTER TABLE hidden RENAME TO signing_key";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_a_key_that_another_gateway_made_is_good_or_an_outage_and_never_nobodys() {
    let (world, other) = two_that_sign().await;
    let Database::Postgres(_) = &world.plan.database else { return };
    let first = signed(&world).await;
    assert!(other.introspect(first.expose()).await.unwrap().is_some());
    world.add_shared_key(1).await;
    world.service.signing_keys().await.unwrap();
    let token = signed(&world).await;
    assert_ne!(token.expose().split('.').next(), first.expose().split('.').next(), "another key signs");

    world.tamper(HIDE);
    let outage = Err(Denial::StoreUnavailable(Duration::from_secs(1)));
    assert_eq!(other.introspect(token.expose()).await, outage);
    assert!(other.introspect(first.expose()).await.unwrap().is_some(), "keys that are known go on being good");
    world.tamper(SHOW);
    assert_eq!(other.introspect(token.expose()).await, outage, "it is not asked again at once");
    world.clock.advance(Duration::from_secs(1));
    assert!(other.introspect(token.expose()).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_with_made_up_keys_are_nobodys_and_have_the_database_asked_once_in_ten_seconds() {
    let (world, _) = two_that_sign().await;
    let token = signed(&world).await;
    assert_eq!(world.service.introspect(&of_no_key(&token, 0)).await, Ok(None));
    // Whoever asked now would be told nothing.
    world.tamper(HIDE);
    world.clock.advance(Duration::from_millis(9_999));
    for made_up in 1..100 {
        assert_eq!(world.service.introspect(&of_no_key(&token, made_up)).await, Ok(None));
    }
    world.clock.advance(Duration::from_millis(1));
    let answer = world.service.introspect(&of_no_key(&token, 100)).await;
    match &world.plan.database {
        Database::Postgres(_) => assert!(answer.is_err(), "nobody knows"),
        // Nobody else makes keys in a file.
        Database::Sqlite(_) => assert_eq!(answer, Ok(None)),
    }
    // What does not even say that it is ours is nobody's whatever the database says.
    let (header, rest) = token.expose().split_once('.').unwrap();
    let foreign = URL_SAFE_NO_PAD.encode(format!("{{\"typ\":\"JWT\",\"alg\":\"ES256\",\"kid\":\"{header}\"}}"));
    assert_eq!(world.service.introspect(&format!("{foreign}.{rest}")).await, Ok(None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_keys_while_the_database_hangs_is_told_together_with_the_first_who_asked() {
    let (world, _) = two_that_sign().await;
    let Database::Postgres(server) = &world.plan.database else { return };
    let token = signed(&world).await;
    world.clock.advance(Duration::from_secs(10));
    let (holder, watcher) = (fixture::client(server).await, fixture::client(server).await);
    holder.batch_execute("BEGIN; LOCK TABLE signing_key IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let (made_up, another) = (of_no_key(&token, 0), of_no_key(&token, 1));
    let first = async {
        let answer = world.service.introspect(&made_up).await;
        // Whoever asked now would be told.
        holder.batch_execute("ROLLBACK").await.unwrap();
        answer
    };
    let give_up = async {
        let waits = "SELECT pid FROM pg_locks WHERE NOT granted AND relation = 'signing_key'::regclass";
        while watcher.query(waits, &[]).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.clock.advance(Duration::from_secs(2));
        watcher.query(&format!("SELECT pg_cancel_backend(pid) FROM ({waits}) AS who"), &[]).await.unwrap();
    };
    let (first, second, ()) = tokio::join!(biased; first, world.service.introspect(&another), give_up);
    let outage = Err(Denial::StoreUnavailable(Duration::from_secs(1)));
    assert_eq!((first, second), (outage.clone(), outage));
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.service.introspect(&another).await, Ok(None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_was_cut_off_signs_with_the_keys_of_today() {
    let (world, _) = two_that_sign().await;
    let Database::Postgres(server) = &world.plan.database else { return };
    let before = signed(&world).await;
    world.add_shared_key(1).await;
    let same = signed(&world).await;
    assert_eq!(same.expose().split('.').next(), before.expose().split('.').next(), "keys are not read for each token");
    let before_the_break = world.service.store.heard_since();
    // Whoever looks finds nothing to read, and what was read is not good enough after a while.
    world.tamper("ALTER TABLE revocation_event RENAME TO hidden_events");
    world.clock.advance(server.max_silence);
    assert_eq!(world.service.store.heard_since(), None);
    world.tamper("ALTER TABLE hidden_events RENAME TO revocation_event");
    let heard_again = async {
        while world.service.store.heard_since().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_mins(1), heard_again).await.is_ok());
    assert!(world.service.store.heard_since() > before_the_break);
    let after = signed(&world).await;
    assert_ne!(after.expose().split('.').next(), before.expose().split('.').next(), "the newest key signs");
}
