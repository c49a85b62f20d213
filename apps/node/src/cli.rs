//! The command line.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done; also after Ctrl-C, and when the reader of the output is gone |
//! | 1 | failed |
//! | 2 | the command line or the settings are wrong |
//! | 3 | no node runs, or it can't be reached |
//! | 4 | what was waited for did not come in time |

mod documents;
mod interface;
mod pmaps;
mod spaces;

use std::{io, path::PathBuf, process::ExitCode, time::Duration};

use aether_mesh::access::Role;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use self::interface::Interface;
pub(crate) use self::{
    documents::{Attending, Doc, Paper, Watching},
    interface::{Api, Remote, Secret},
    pmaps::{Pmap, Sheet, Used},
    spaces::{Exported, Format, Imported, Map, Place, Scanned, Space, Table, Watched},
};
use crate::{
    client::ClientError,
    commands,
    config::{Given, Loaded, SettingsError, load},
};

const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 failed, 2 wrong command line or settings, 3 no node reached, 4 timed out.

Settings come from defaults, then the config file, then variables such as
AETHER_NETWORK__SEEDS, then flags; a later one replaces an earlier one, lists too.
`aether config default` prints a file with every key.";

/// A node of an Aether mesh: peers that find each other and talk, with no server in the middle.
#[derive(Debug, Parser)]
#[command(name = "aether", version, after_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Flags of every command.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Config file [default: $XDG_CONFIG_HOME/aether/config.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE", env = "AETHER_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Folder of the node's key and memory
    #[arg(long, global = true, value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
    /// Form of the output
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

/// Form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node until Ctrl-C or SIGTERM
    Run(Box<Run>),
    /// Make or show an identity
    #[command(subcommand)]
    Key(Key),
    /// Show the running node
    Status(Remote),
    /// Show the members of the mesh and the connected peers
    Peers(Remote),
    /// Publish and receive
    #[command(subcommand)]
    Topic(Topic),
    /// See and call services
    #[command(subcommand)]
    Service(Service),
    /// Add, get and keep content by its hash
    #[command(subcommand)]
    Blob(Blob),
    /// Found spaces and join them: state that all who have it write to, and that converges
    #[command(subcommand)]
    Space(Space),
    /// Read and write the maps of spaces
    #[command(subcommand)]
    Map(Box<Map>),
    /// Found, hold and use partitioned maps: each node that serves one holds a part of it
    #[command(subcommand)]
    Pmap(Box<Pmap>),
    /// Read and edit the documents of spaces: texts that many write at once
    #[command(subcommand)]
    Doc(Box<Doc>),
    /// Found a closed mesh, and say who is in it
    #[command(subcommand)]
    Mesh(Box<Mesh>),
    /// Say who may use the interface of this node
    #[command(subcommand)]
    Api(Box<Api>),
    /// Check and show settings
    #[command(subcommand)]
    Config(Config),
    /// Make what a disk has damaged anew, of all that can still be read; no node may run
    ///
    /// The damaged store is kept beside the new one. What it lost of spaces comes from their other
    /// members when the node runs again. What this node alone had written is lost.
    Repair {
        /// Say what would be kept, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Flags of `aether run`. Each stands for the key that its help names.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Where the node lives: local, lan, internet or closed (preset)
    #[arg(long)]
    preset: Option<String>,
    /// Name of the mesh (mesh)
    #[arg(long, value_name = "NAME")]
    mesh: Option<String>,
    /// Join a closed mesh with this invite or membership (access.invite)
    ///
    /// Others on this machine see it: AETHER_ACCESS__INVITE and the config file are more discreet.
    #[arg(long, value_name = "TOKEN")]
    invite: Option<String>,
    /// Folder of an admin's key: renew the members of a closed mesh (access.admin)
    #[arg(long, value_name = "FOLDER")]
    admin: Option<String>,
    /// Addresses to listen on (network.listen)
    #[arg(long, value_name = "ADDR", num_args = 1..)]
    listen: Vec<String>,
    /// Nodes to begin with (network.seeds)
    #[arg(long, value_name = "ADDR", num_args = 1..)]
    seed: Vec<String>,
    /// Relay connections for nodes that can't be reached (roles.relay)
    #[arg(long)]
    relay: bool,
    /// Keep a list of nodes for others (roles.rendezvous)
    #[arg(long)]
    rendezvous: bool,
    #[command(flatten)]
    interface: Interface,
    /// What is logged, such as info,aether_mesh=debug (log.filter)
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// human or json (log.format)
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

impl Run {
    fn given(&self) -> Vec<Given> {
        let texts = [
            ("--preset", "preset", &self.preset),
            ("--mesh", "mesh", &self.mesh),
            ("--invite", "access.invite", &self.invite),
            ("--admin", "access.admin", &self.admin),
            ("--api", "api.listen", &self.interface.api),
            ("--api-auth", "api.auth", &self.interface.api_auth),
            ("--api-certificate", "api.certificate", &self.interface.api_certificate),
            ("--api-key", "api.key", &self.interface.api_key),
            ("--api-client-ca", "api.client_ca", &self.interface.api_client_ca),
            ("--log", "log.filter", &self.log),
            ("--log-format", "log.format", &self.log_format),
        ];
        let texts = texts.into_iter().filter_map(|(flag, key, text)| {
            text.as_ref().map(|text| Given::flag(flag, key, text.clone()))
        });
        let lists =
            [("--listen", "network.listen", &self.listen), ("--seed", "network.seeds", &self.seed)];
        let lists = lists.into_iter().filter(|(_, _, list)| !list.is_empty());
        let lists = lists.map(|(flag, key, list)| Given::flag(flag, key, list.clone()));
        let switches = [
            ("--relay", "roles.relay", self.relay),
            ("--rendezvous", "roles.rendezvous", self.rendezvous),
            ("--api-tls", "api.tls", self.interface.api_tls),
        ];
        let switches = switches.into_iter().filter(|(_, _, set)| *set);
        let switches = switches.map(|(flag, key, _)| Given::flag(flag, key, true));
        texts.chain(lists).chain(switches).collect()
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a new identity; never replaces one
    New {
        /// The key file [default: identity.key in the data folder]
        file: Option<PathBuf>,
    },
    /// Show the peer id of an identity
    Show {
        /// The key file [default: identity.key in the data folder]
        file: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Topic {
    /// Publish each line of the input as a message
    Publish {
        /// The topic's name
        name: String,
        #[command(flatten)]
        remote: Remote,
        /// Wait until so many connected nodes read the topic
        #[arg(long, value_name = "NODES", default_value_t = 0)]
        wait: usize,
        /// How long to wait for them
        #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
        timeout: Duration,
    },
    /// Print messages as they come, each on a line; control characters are escaped
    Subscribe {
        /// The topic's name
        name: String,
        #[command(flatten)]
        remote: Remote,
        /// Stop after so many messages
        #[arg(long, value_name = "MESSAGES")]
        count: Option<u64>,
        /// Stop after so long; without all of --count this exits with 4
        #[arg(long, value_name = "TIME", value_parser = time)]
        timeout: Option<Duration>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Service {
    /// Show the instances of all services that the node knows
    List(Remote),
    /// Call a service, and print its reply as JSON
    Call(Box<ServiceCall>),
}

#[derive(Debug, Args)]
pub(crate) struct ServiceCall {
    /// The service's name
    pub(crate) service: String,
    /// What is asked of it
    pub(crate) endpoint: String,
    /// The arguments as JSON; `-` reads them from the input
    #[arg(default_value = "null")]
    pub(crate) arguments: String,
    #[command(flatten)]
    pub(crate) remote: Remote,
    /// How long the call may take, retries included
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub(crate) deadline: Duration,
    /// The call may be made twice with the effect of once, so it may be tried again
    #[arg(long)]
    pub(crate) idempotent: bool,
    /// Ask the instance that owns this key
    #[arg(long, value_name = "KEY", conflicts_with = "every")]
    pub(crate) owner: Option<String>,
    /// Ask every instance
    #[arg(long)]
    pub(crate) every: bool,
    /// The endpoint answers with a stream: print each item on a line
    #[arg(long, conflicts_with = "every")]
    pub(crate) items: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Blob {
    /// Add a file or a folder of the node's machine, and print its id
    Add {
        /// The file or folder
        path: PathBuf,
        /// Keep it from being evicted, under this name
        #[arg(long, value_name = "NAME")]
        pin: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Have a blob, or a folder with its files, on the node; and write it to a path
    Get {
        /// The blob's id
        id: String,
        /// Where to write it, on the node's machine; nothing may be there
        path: Option<PathBuf>,
        /// Ask this node first
        #[arg(long, value_name = "PEER")]
        from: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Print a blob's content, fetched while it is printed
    Cat {
        /// The blob's id
        id: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show the blobs that the node holds, in whole or part
    List {
        #[command(flatten)]
        remote: Remote,
    },
    /// Keep a blob from being evicted
    Pin {
        /// The blob's id
        id: String,
        /// The pin's name, 1 to 64 of a-z, 0-9, _ and -
        #[arg(long, default_value = "cli")]
        name: String,
        /// It is a folder: keep its files too
        #[arg(long)]
        content: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Take a pin away
    Unpin {
        /// The blob's id
        id: String,
        /// The pin's name
        #[arg(long, default_value = "cli")]
        name: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Remove a blob that nobody uses and no pin keeps
    Remove {
        /// The blob's id
        id: String,
        #[command(flatten)]
        remote: Remote,
    },
}

/// Commands of `aether mesh`.
#[derive(Debug, Subcommand)]
pub(crate) enum Mesh {
    /// Found a closed mesh: make its genesis and its admin's key
    New {
        /// The mesh's name
        name: String,
        #[command(flatten)]
        admin: AdminFolder,
        /// Peer ids of further admins' keys, as `aether key new FILE` prints them
        #[arg(long, value_name = "PEER", num_args = 1..)]
        also: Vec<String>,
    },
    /// Print an invite: whoever has it can join until it expires
    Invite {
        #[command(flatten)]
        admin: AdminFolder,
        #[command(flatten)]
        granted: Granted,
        /// Until when it can be used
        #[arg(long, value_name = "TIME", default_value = "7d", value_parser = time)]
        expires: Duration,
        /// Nodes to begin with [default: those of the node that runs here]
        #[arg(long, value_name = "ADDR", num_args = 1..)]
        seed: Vec<String>,
        /// Make a narrower invite out of this one, without an admin's key
        #[arg(long, value_name = "INVITE", conflicts_with_all = ["admin", "seed"])]
        from: Option<String>,
    },
    /// Print a membership for one node: it can join, or is renewed, without an admin's node
    Admit {
        /// The node's peer id, as `aether key show` prints it there
        peer: String,
        #[command(flatten)]
        admin: AdminFolder,
        #[command(flatten)]
        granted: Granted,
    },
    /// Renew this running node by a membership that an admin printed
    Accept {
        /// The membership
        membership: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Cut a node, or all who came by an invite, for ever
    Revoke {
        /// A peer id, an invite or its id, or a revocation that was printed elsewhere
        what: String,
        #[command(flatten)]
        admin: AdminFolder,
        /// Print the revocation instead of giving it to the running node
        #[arg(long)]
        print: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show the members that the running node is connected to, and until when they are in
    Members(Remote),
    /// Show the closed mesh that this node is a member or an admin of
    Show {
        #[command(flatten)]
        admin: AdminFolder,
    },
}

/// Where an admin's key is.
#[derive(Debug, Args)]
pub(crate) struct AdminFolder {
    /// Folder of the admin's key and the genesis [default: admin in the data folder]
    #[arg(long = "admin", id = "admin", value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,
}

/// What is granted.
#[derive(Debug, Args)]
pub(crate) struct Granted {
    /// reader, writer, validator or admin
    #[arg(long, default_value = "writer")]
    pub(crate) role: Role,
    /// How long a membership lasts, and each renewal of it
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = time)]
    pub(crate) term: Duration,
}

fn time(text: &str) -> Result<Duration, humantime::DurationError> {
    humantime::parse_duration(text)
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Check the settings as `aether run` would take them
    Check,
    /// Show every setting and where it comes from
    Show,
    /// Print a config file with every key and its meaning
    Default,
}

impl Common {
    /// The settings, without the flags of `aether run`.
    pub(crate) fn settings(&self) -> Result<Loaded, SettingsError> {
        self.settings_with(Vec::new())
    }

    fn settings_with(&self, mut flags: Vec<Given>) -> Result<Loaded, SettingsError> {
        let data = self.data.as_ref().map(|data| data.to_string_lossy().into_owned());
        flags.extend(data.map(|data| Given::flag("--data", "data", data)));
        load(self.config.as_deref(), std::env::vars_os(), flags)
    }
}

/// Waited in vain: exit code 4.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TimedOut(pub(crate) String);

/// No node to talk to: exit code 3.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NoNode(pub(crate) String);

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            crate::output::report(&error);
            exit_code(&error)
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<()> {
    let Cli { common, command } = cli;
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match command {
        Command::Run(run) => {
            let loaded = common.settings_with(run.given())?;
            commands::run::run(runtime()?, &loaded)
        }
        Command::Key(key) => commands::key::key(&common, key),
        Command::Status(remote) => runtime()?.block_on(commands::status::status(&common, &remote)),
        Command::Peers(remote) => runtime()?.block_on(commands::status::peers(&common, &remote)),
        Command::Topic(topic) => {
            let runtime = runtime()?;
            let result = runtime.block_on(commands::topic::topic(&common, topic));
            // A thread that waits for the next line of the input can't be ended otherwise.
            runtime.shutdown_background();
            result
        }
        Command::Service(service) => {
            runtime()?.block_on(commands::service::service(&common, service))
        }
        Command::Blob(blob) => runtime()?.block_on(commands::blob::blob(&common, blob)),
        Command::Space(space) => runtime()?.block_on(commands::space::space(&common, space)),
        Command::Map(map) => {
            let runtime = runtime()?;
            let result = runtime.block_on(commands::map::map(&common, *map));
            // A thread that reads the input can't be ended otherwise.
            runtime.shutdown_background();
            result
        }
        Command::Pmap(pmap) => runtime()?.block_on(commands::pmap::pmap(&common, *pmap)),
        Command::Doc(doc) => {
            let runtime = runtime()?;
            let result = runtime.block_on(commands::doc::doc(&common, *doc));
            // A thread that reads the input can't be ended otherwise.
            runtime.shutdown_background();
            result
        }
        Command::Mesh(mesh) => runtime()?.block_on(commands::mesh::mesh(&common, *mesh)),
        Command::Api(api) => runtime()?.block_on(commands::api::api(&common, *api)),
        Command::Config(config) => commands::config::config(&common, &config),
        Command::Repair { dry_run } => commands::repair::repair(&common, dry_run),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "aether", &mut text);
            Ok(io::Write::write_all(&mut io::stdout(), &text)?)
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    })
}

fn exit_code(error: &anyhow::Error) -> ExitCode {
    for cause in error.chain() {
        if cause.is::<TimedOut>() {
            return ExitCode::from(4);
        }
        if cause.is::<NoNode>() {
            return ExitCode::from(3);
        }
        if cause.is::<SettingsError>() {
            return ExitCode::from(2);
        }
        match cause.downcast_ref::<ClientError>() {
            Some(ClientError::Url { .. } | ClientError::Token(_) | ClientError::Tls(_)) => {
                return ExitCode::from(2);
            }
            Some(ClientError::Refused(problem)) if problem.status == 504 => {
                return ExitCode::from(4);
            }
            Some(ClientError::Refused(_) | ClientError::Messages(_)) => return ExitCode::from(1),
            Some(_) => return ExitCode::from(3),
            None => {}
        }
    }
    ExitCode::from(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_of_run_is_a_key() {
        let line = "aether run --preset local --mesh m --listen /a /b --seed /c --seed /d --relay \
                    --rendezvous --api x --log info --log-format json --invite i --admin a \
                    --api-auth token --api-tls --api-certificate c --api-key k --api-client-ca ca";
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        let Command::Run(run) = cli.command else { panic!("not run") };
        let given = run.given();
        assert_eq!(given.len(), 16);
        for one in &given {
            assert!(crate::config::KEYS.iter().any(|key| key.name == one.key), "{one:?}");
        }
        assert_eq!((run.listen.len(), run.seed.len()), (2, 2));
    }

    #[test]
    fn a_token_is_not_shown() {
        let line = ["aether", "status", "--token", "aether_invite1_secret"];
        let shown = format!("{:?}", Cli::try_parse_from(line).unwrap());
        assert!(shown.contains("(hidden)") && !shown.contains("secret"), "{shown}");
        let line = ["aether", "api", "revoke", "aether_invite1_secret"];
        let shown = format!("{:?}", Cli::try_parse_from(line).unwrap());
        assert!(shown.contains("(hidden)") && !shown.contains("secret"), "{shown}");
        let alone = Cli::try_parse_from(["aether", "status", "--cert", "c.pem"]).unwrap_err();
        assert!(alone.to_string().contains("--key"), "{alone}");
    }

    #[test]
    fn exit_codes_follow_the_cause() {
        let code = |error: anyhow::Error| format!("{:?}", exit_code(&error));
        let expected = |code: u8| format!("{:?}", ExitCode::from(code));
        assert_eq!(code(anyhow::anyhow!("x")), expected(1));
        assert_eq!(code(anyhow::Error::new(SettingsError::NoHome).context("y")), expected(2));
        assert_eq!(code(NoNode(String::new()).into()), expected(3));
        assert_eq!(code(TimedOut(String::new()).into()), expected(4));
    }
}
