//! A mail server that speaks as much SMTP (RFC 5321) as it takes to be handed a mail, in the clear or over TLS.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::{Upstream, until};

/// A mail server on a port of its own.
#[derive(Debug)]
pub(crate) struct MailServer {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The certificate to trust (PEM); empty in the clear.
    pub(crate) certificate: String,
    sessions: Arc<Mutex<Vec<Session>>>,
    _server: Upstream,
}

/// Whether it is spoken to over TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Encryption {
    /// It is not.
    None,
    /// From the first byte.
    Implicit,
    /// After STARTTLS.
    StartTls,
}

/// What was said in a session that came to its end.
#[derive(Clone, Default, Debug)]
pub(crate) struct Session {
    /// The commands, without what follows DATA.
    pub(crate) commands: Vec<String>,
    /// The lines of the mail, if one was handed over.
    pub(crate) mail: Vec<String>,
}

impl MailServer {
    /// Answers the recipient of session number `n`, from 0, with `recipient(n)`, such as `250 ok`.
    pub(crate) fn start(encryption: Encryption, recipient: impl Fn(usize) -> &'static str + Send + Sync + 'static) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let (certificate, key) = (made.cert.der().clone(), PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap());
        let tls = server_config(certificate, key);
        let sessions = Arc::<Mutex<Vec<Session>>>::default();
        let told = Arc::clone(&sessions);
        let server = Upstream::by_hand(move |stream, number| {
            let answer = recipient(number);
            let session = match encryption {
                Encryption::None => converse(stream, Some("220 mail.test ESMTP"), answer),
                Encryption::Implicit => {
                    encrypted(stream, &tls).and_then(|stream| converse(stream, Some("220 mail.test ESMTP"), answer))
                }
                Encryption::StartTls => ask_for_tls(&stream)
                    .and_then(|()| encrypted(stream, &tls))
                    .and_then(|stream| converse(stream, None, answer)),
            };
            told.lock().unwrap().extend(session);
        });
        let certificate = if encryption == Encryption::None { String::new() } else { made.cert.pem() };
        Self { address: server.address, certificate, sessions, _server: server }
    }

    /// The sessions so far, once there are so many.
    #[track_caller]
    pub(crate) fn sessions(&self, count: usize) -> Vec<Session> {
        until("so many mail sessions", || self.sessions.lock().unwrap().len() >= count);
        self.sessions.lock().unwrap().clone()
    }
}

fn server_config(certificate: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    Arc::new(builder.with_single_cert(vec![certificate], key).unwrap())
}

fn encrypted(stream: TcpStream, config: &Arc<ServerConfig>) -> Option<StreamOwned<ServerConnection, TcpStream>> {
    Some(StreamOwned::new(ServerConnection::new(Arc::clone(config)).ok()?, stream))
}

/// What is said in the clear before TLS begins.
fn ask_for_tls(mut stream: &TcpStream) -> Option<()> {
    let mut lines = BufReader::new(stream);
    stream.write_all(b"220 mail.test ESMTP\r\n").ok()?;
    line(&mut lines).filter(|line| line.starts_with("EHLO"))?;
    stream.write_all(b"250-mail.test\r\n250 STARTTLS\r\n").ok()?;
    line(&mut lines).filter(|line| line == "STARTTLS")?;
    stream.write_all(b"220 go on\r\n").ok()
}

/// One session, with or without a greeting, up to QUIT or the end of the stream; `None` if nothing was said.
fn converse(stream: impl Read + Write, greeting: Option<&str>, recipient: &str) -> Option<Session> {
    let mut stream = BufReader::new(stream);
    let mut session = Session::default();
    let say = |stream: &mut BufReader<_>, text: &str| Write::write_all(stream.get_mut(), format!("{text}\r\n").as_bytes()).ok();
    if let Some(greeting) = greeting {
        say(&mut stream, greeting)?;
    }
    while let Some(line) = line(&mut stream) {
        session.commands.push(line.clone());
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let answer = match &*verb {
            "EHLO" => "250-mail.test\r\n250 AUTH PLAIN LOGIN",
            "AUTH" => "235 welcome",
            "RCPT" => recipient,
            "DATA" => {
                say(&mut stream, "354 go on")?;
                session.mail = std::iter::from_fn(|| line_of_mail(&mut stream)).collect();
                "250 taken"
            }
            "QUIT" => {
                say(&mut stream, "221 bye");
                break;
            }
            _ => "250 ok",
        };
        say(&mut stream, answer)?;
    }
    (!session.commands.is_empty()).then_some(session)
}

fn line(stream: &mut impl BufRead) -> Option<String> {
    let mut text = String::new();
    stream.read_line(&mut text).ok().filter(|read| *read > 0)?;
    Some(text.trim_end_matches("\r\n").to_owned())
}

/// A line of the mail; `None` at its end.
fn line_of_mail(stream: &mut impl BufRead) -> Option<String> {
    line(stream).filter(|line| line != ".")
}
