//! Where others push revocations: who may, about whose tokens, and the routes that this brings along.

use std::time::Duration;

use http::Method;

use crate::config::{self, At, Config, Finding, Named, ReceiverKind};
use crate::model::{IssuerId, NonEmpty, Style};
use crate::plan::compile::Workshop;
use crate::plan::compile::directory::Directory;
use crate::plan::compile::dress::Wardrobe;
use crate::plan::compile::issuers::{key_source, warn_of_plain_keys};
use crate::plan::compile::routes::{Draft, Particulars, draft};
use crate::plan::{JwtAlgorithm, KeySource, PushProtocol, Receiver, ReceiverId, Target};
use crate::rules::access::Access;
use crate::rules::routing::{HostPattern, PathPattern, RouteKey};

/// The largest body of a push, in bytes.
const BODY_LIMIT: u64 = 64 * 1024;
/// How old a logout token may be (Back-Channel Logout 1.0 section 2.6 leaves it to us; a provider sends it at once).
const LOGOUT_AGE: Duration = Duration::from_mins(5);
/// How old a security event may be: transmitters try again for long, and JWTs stay cut for as long.
const EVENT_AGE: Duration = Duration::from_hours(24);
/// The algorithms that are taken of a signer of whom nothing else is known.
const ALGORITHMS: [JwtAlgorithm; 3] = [JwtAlgorithm::Rs256, JwtAlgorithm::Es256, JwtAlgorithm::EdDsa];

/// Who signs what is pushed.
struct Signer {
    iss: Box<str>,
    audience: NonEmpty<Box<str>>,
    keys: KeySource,
}

impl Workshop<'_> {
    pub(super) fn receivers(&mut self, issuers: &Directory<IssuerId>) -> Option<Box<[Receiver]>> {
        let config = self.config;
        let receivers: Vec<_> = config.receivers.iter().map(|receiver| self.receiver(receiver, issuers)).collect();
        receivers.into_iter().collect()
    }

    fn receiver(&mut self, receiver: &Named<At<config::Receiver>>, issuers: &Directory<IssuerId>) -> Option<Receiver> {
        let from = &receiver.value.value;
        let protocol = self.protocol(from);
        let issuer = from.issuer.as_ref().and_then(|name| Some((name, *issuers.find(name, self.report)?)));
        let kind = from.kind.as_ref()?.value;
        let (name, issuer) = issuer?;
        if self.config.token_service.is_some() && issuer == IssuerId(0) {
            let finding = Finding::error(name.place, "the embedded token service publishes its own revocations");
            self.report.add(finding.help("name the issuer whose tokens die elsewhere"));
            return None;
        }
        let config = self.config;
        let jwt = written_issuer(config, issuer).and_then(|issuer| issuer.jwt.as_ref()).map(|jwt| &jwt.value);
        let signer = self.signer(&receiver.value, kind, jwt);
        let algorithms = from.algorithms.as_ref().map(|algorithms| algorithms.value.clone());
        let algorithms = algorithms.or(jwt.map(|jwt| jwt.algorithms.value.clone())).unwrap_or(ALGORITHMS.to_vec());
        let signer = signer?;
        Some(Receiver {
            name: receiver.name.value.as_str().into(),
            protocol: protocol?,
            issuer,
            subjects_of: subjects_of(config, issuer).unwrap_or_else(|| signer.iss.clone()),
            signer: signer.iss,
            audience: signer.audience,
            algorithms: NonEmpty::new(algorithms).ok()?,
            types: types(from, kind),
            keys: signer.keys,
            max_age: from.max_age.as_ref().map_or(default_age(kind), |age| age.value),
            leeway: from.leeway.value,
        })
    }

    fn protocol(&mut self, from: &config::Receiver) -> Option<PushProtocol> {
        match from.kind.as_ref()?.value {
            ReceiverKind::Events => match &from.authorization {
                Some(reference) => self.secret(reference).map(|secret| PushProtocol::Events { authorization: Some(secret) }),
                None => Some(PushProtocol::Events { authorization: None }),
            },
            ReceiverKind::Logout => {
                if let Some(written) = &from.authorization {
                    let finding = Finding::error(written.place, "no provider authenticates when it pushes a logout token");
                    self.report.add(finding.help("its signature is the proof; leave `authorization` out"));
                }
                Some(PushProtocol::Logout)
            }
        }
    }

    /// Who signs, for whom and with which keys: as it is written, or as the issuer's own tokens have it.
    fn signer(&mut self, receiver: &At<config::Receiver>, kind: ReceiverKind, jwt: Option<&config::Jwt>) -> Option<Signer> {
        let from = &receiver.value;
        let iss = from.iss.as_ref().or(jwt.and_then(|jwt| jwt.issuer.as_ref()));
        let audience = from.audience.as_ref().or(match kind {
            ReceiverKind::Logout => None,
            ReceiverKind::Events => jwt.and_then(|jwt| jwt.audience.as_ref()),
        });
        let keys = from.keys.as_ref().map(|keys| &keys.value).or(jwt.map(|jwt| &jwt.keys));
        let mut demand = |there: bool, key: &str, help: &str| {
            if !there {
                self.report.add(Finding::error(receiver.place, format!("`{key}` is missing")).help(help));
            }
        };
        // What a JWT issuer's own section lacks is reported there.
        let own = jwt.is_some();
        demand(
            iss.is_some() || own,
            "iss",
            "the issuer signs no tokens itself, so it must be said here who signs what is pushed",
        );
        match kind {
            ReceiverKind::Logout => {
                let help = "the client id that the provider knows: a logout token names it as `aud`";
                demand(audience.is_some(), "audience", help);
            }
            ReceiverKind::Events => {
                let help = "what the transmitter calls us: a security event names it as `aud`";
                demand(audience.is_some() || own, "audience", help);
            }
        }
        demand(keys.is_some(), "keys", "write keys = { jwks_url = \"https://…\" } or { key_files = [\"…\"] }");
        if let Some(written) = &from.keys {
            warn_of_plain_keys(&written.value, self.report);
        }
        let audience = audience?.value.iter().map(|audience| audience.as_str().into()).collect();
        Some(Signer {
            iss: iss?.value.as_str().into(),
            audience: NonEmpty::new(audience).ok()?,
            keys: key_source(keys?, self.machine)?,
        })
    }

    /// The routes of the receivers: POST to one path each, for anybody, because what is pushed proves itself.
    pub(super) fn receiver_routes(&mut self, wardrobe: &Wardrobe) -> Vec<Draft> {
        let config = self.config;
        let receivers = config.receivers.iter().enumerate();
        receivers.filter_map(|(index, receiver)| self.receiver_route(ReceiverId(index), receiver, wardrobe)).collect()
    }

    fn receiver_route(&mut self, id: ReceiverId, receiver: &Named<At<config::Receiver>>, wardrobe: &Wardrobe) -> Option<Draft> {
        let from = &receiver.value.value;
        let (path, kind) = (from.path.as_ref()?, from.kind.as_ref()?.value);
        let pattern = PathPattern::parse(&path.value).map_err(|error| Finding::error(path.place, error.to_string()));
        let pattern = pattern.map_err(|finding| self.report.add(finding)).ok()?;
        let key = RouteKey { host: HostPattern::any(), path: pattern, methods: Some([Method::POST].into()) };
        let what = match kind {
            ReceiverKind::Logout => PushProtocol::Logout.word(),
            ReceiverKind::Events => PushProtocol::Events { authorization: None }.word(),
        };
        let particulars = Particulars {
            access: Access::Public,
            target: Target::Receiver(id, what),
            dress: wardrobe.dress(Style::Problem, &self.config.defaults, self.report)?,
            body_limit: BODY_LIMIT,
        };
        let name = At::written(format!("receiver.{}", receiver.name.value), receiver.name.place);
        Some(draft(name, path.place, key, particulars, &self.config.defaults))
    }
}

fn written_issuer(config: &Config, id: IssuerId) -> Option<&config::Issuer> {
    let first = usize::from(config.token_service.is_some());
    config.issuers.get(usize::from(id.0).checked_sub(first)?).map(|issuer| &issuer.value.value)
}

/// The `iss` by which subjects of this issuer's tokens are known, if its own section says so.
fn subjects_of(config: &Config, issuer: IssuerId) -> Option<Box<str>> {
    let issuer = written_issuer(config, issuer)?;
    let jwt = issuer.jwt.as_ref().and_then(|jwt| jwt.value.issuer.as_ref());
    let named = jwt.or(issuer.introspection.as_ref().and_then(|introspection| introspection.value.issuer.as_ref()))?;
    Some(named.value.as_str().into())
}

fn types(from: &config::Receiver, kind: ReceiverKind) -> Box<[Box<str>]> {
    match (&from.types, kind) {
        (Some(types), _) => types.value.iter().map(|name| name.as_str().into()).collect(),
        // Back-Channel Logout 1.0 section 2.4 only recommends the type, and many providers leave it out.
        (None, ReceiverKind::Logout) => ["logout+jwt".into(), Box::default()].into(),
        (None, ReceiverKind::Events) => ["secevent+jwt".into()].into(),
    }
}

fn default_age(kind: ReceiverKind) -> Duration {
    match kind {
        ReceiverKind::Logout => LOGOUT_AGE,
        ReceiverKind::Events => EVENT_AGE,
    }
}
