//! What can be asked for. The doc comments are the help texts.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// An authentication reverse proxy and API gateway.
#[derive(Debug, Parser)]
#[command(name = "portcullis", disable_version_flag = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the gateway until it is told to stop (SIGTERM or SIGINT).
    Run {
        /// The configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Check configurations with the very code that starts the gateway; exit 0 if all are good, 2 if not.
    Check {
        /// The configurations.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Print the JSON schema of the configuration.
    Schema,
    /// Run everything on one machine, to try it out: gateway, token service, an echo upstream, fresh credentials.
    Quickstart(QuickstartOptions),
    /// The accounts of the embedded token service.
    Account {
        /// The configuration.
        #[arg(long, value_name = "FILE", global = true, default_value = "gateway.toml")]
        config: PathBuf,
        #[command(subcommand)]
        command: AccountCommand,
    },
    /// The clients of the embedded token service.
    Client {
        /// The configuration.
        #[arg(long, value_name = "FILE", global = true, default_value = "gateway.toml")]
        config: PathBuf,
        #[command(subcommand)]
        command: ClientCommand,
    },
    /// The keys that the embedded token service signs its tokens with.
    Keys {
        /// The configuration.
        #[arg(long, value_name = "FILE", global = true, default_value = "gateway.toml")]
        config: PathBuf,
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// The API keys of programs that call the session API.
    ApiKey {
        /// The configuration.
        #[arg(long, value_name = "FILE", global = true, default_value = "gateway.toml")]
        config: PathBuf,
        #[command(subcommand)]
        command: ApiKeyCommand,
    },
    /// End a token, a session, or all that a subject or a client has, at the gateway that runs.
    Revoke(RevokeOptions),
    /// The locks of login guards and of the embedded token service, at the gateway that runs.
    Locks {
        #[command(flatten)]
        at: AdminListener,
        #[command(subcommand)]
        command: LocksCommand,
    },
    /// Print the version.
    Version,
}

#[derive(Debug, Args)]
pub(super) struct QuickstartOptions {
    /// Where the gateway listens; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub(super) listen: SocketAddr,
    /// Where health and metrics are served.
    #[arg(long, default_value = "127.0.0.1:9901")]
    pub(super) admin: SocketAddr,
    /// Where configuration, credentials and database are kept.
    #[arg(long, default_value = "./quickstart")]
    pub(super) dir: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct RevokeOptions {
    #[command(flatten)]
    pub(super) what: RevokedThing,
    /// Only this issuer's tokens; every issuer's if it is not said.
    #[arg(long, value_name = "NAME")]
    pub(super) issuer: Option<String>,
    /// The configuration of the gateway that runs: says where its admin listener is, and the token.
    #[arg(long, value_name = "FILE", default_value = "gateway.toml")]
    pub(super) config: PathBuf,
    /// Where the admin listener is instead, such as http://127.0.0.1:9901. With the variable ADMIN_TOKEN, which holds the
    /// token instead, no configuration is read.
    #[arg(long, value_name = "URL")]
    pub(super) admin: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct AdminListener {
    /// The configuration of the gateway that runs: says where its admin listener is, and the token.
    #[arg(long, value_name = "FILE", global = true, default_value = "gateway.toml")]
    pub(super) config: PathBuf,
    /// Where the admin listener is instead, such as http://127.0.0.1:9901. With the variable ADMIN_TOKEN, which holds the
    /// token instead, no configuration is read.
    #[arg(long, value_name = "URL", global = true)]
    pub(super) admin: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum LocksCommand {
    /// List all of them.
    List {
        /// Only those of this guard.
        #[arg(long, value_name = "NAME")]
        guard: Option<String>,
    },
    /// Show those of somebody; exit 2 if there are none.
    Show(LockedOne),
    /// End those of somebody, and forget the failures that led to them; exit 2 if there are none.
    Clear(LockedOne),
}

#[derive(Debug, Args)]
pub(super) struct LockedOne {
    #[command(flatten)]
    pub(super) who: WhoIsLocked,
    /// Only at this guard; at every guard if it is not said.
    #[arg(long, value_name = "NAME")]
    pub(super) guard: Option<String>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct WhoIsLocked {
    /// An account, as it signs in.
    #[arg(long, value_name = "NAME")]
    pub(super) account: Option<String>,
    /// An account, as the list and the log show it: eight hexadecimal digits; at the embedded service a lock, by its name.
    #[arg(long)]
    pub(super) mark: Option<String>,
    /// The address that attempts come from.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) source: Option<String>,
    /// A client, by its id.
    #[arg(long, value_name = "ID")]
    pub(super) client: Option<String>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct RevokedThing {
    /// A subject, as tokens name it (`sub`); of the embedded service, the number of an account.
    #[arg(long)]
    pub(super) subject: Option<String>,
    /// A session, as tokens name it (`sid`).
    #[arg(long)]
    pub(super) session: Option<String>,
    /// A client, by its id.
    #[arg(long)]
    pub(super) client: Option<String>,
    /// A file that holds a token; `-` reads it from standard input. On the command line others would see it.
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum AccountCommand {
    /// Add an account. Without a password file a password is made and printed once.
    Add {
        /// Its e-mail address.
        #[arg(long)]
        email: String,
        /// Its phone number, in international form (+40711111298).
        #[arg(long)]
        phone: Option<String>,
        /// A file with the password; `-` reads it from standard input.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// List the accounts.
    List,
    /// Disable an account and end its sessions.
    Disable {
        /// Its e-mail address or number.
        account: String,
    },
    /// Ask an account for a code by e-mail when it signs in to the back office API, or no longer.
    EmailFactor {
        /// Its e-mail address or number.
        account: String,
        /// Whether it is asked.
        state: FactorState,
    },
    /// Let an account's password expire: its next login is good for a new one and nothing else.
    ExpirePassword {
        /// Its e-mail address or number.
        account: String,
    },
    /// Enrol a channel for second factors without asking on it.
    Enrol {
        /// Its e-mail address or number.
        account: String,
        /// SMS, AUTHY or BIOMETRIC.
        channel: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum FactorState {
    On,
    Off,
}

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// List the keys: which is next, which signs, which are retired.
    List,
    /// Make the next key. It is published at once, and signs when nobody can be remembering the keys without it.
    Rotate,
}

#[derive(Debug, Subcommand)]
pub(super) enum ApiKeyCommand {
    /// Make a key and print it once. Keys of the same program are good beside each other.
    Add {
        /// The program's name.
        program: String,
    },
    /// Revoke every key of a program.
    Revoke {
        /// The program's name.
        program: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ClientCommand {
    /// Add a client. Its secret is made and printed once.
    Add {
        /// Its id.
        id: String,
        /// Where its codes may be sent; more than once for several.
        #[arg(long, value_name = "URI")]
        redirect_uri: Vec<String>,
        /// It may ask about tokens (RFC 7662) instead of obtaining them.
        #[arg(long)]
        introspection: bool,
    },
    /// Give a client a new secret, printed once. The one before stays good beside it.
    Rotate {
        /// Its id.
        id: String,
    },
}
