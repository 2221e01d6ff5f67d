//! `serve`: the server, until it is told to stop.

use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::LevelFilter;

use super::context::{Context, DONE, Outcome};
use super::first_admin::first_admin;
use super::founding::{Founded, SealBy, found, open_catalog};
use super::login::own_address;
use super::{number, printer};
use crate::api::remote::{self, RemoteOptions};
use crate::api::{Api, socket};
use crate::driver::server::{ServeOptions, Server, ServerHandle, bind, start};
use crate::error::Failure;
use crate::health::Condition;
use crate::localtime::Zone;
use crate::packs::{ChunkStore, Packs, Recovered};
use crate::room::Room;
use crate::schedule::Schedule;
use crate::state::{StateDir, choose};
use crate::status::ApiItem;
use crate::units::{parse_rate, quoted};

const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 7411);
const WEB: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7412);
const POOL: Pool = Pool { address: Ipv4Addr::new(239, 77, 0, 0), prefix: 16, port: 7413 };
/// Cap where none is given, in bytes per second: what a gigabit port carries.
const RATE: u64 = 115_000_000;
/// Mark of session datagrams: lower effort (RFC 8622), since a distribution can wait
/// for what people do. CS1 meant the same before, but is more than the default
/// where nobody has set it up so; switches that know neither see no difference.
const DSCP: u8 = 0b00_0001;
/// How long the end may take; the contract gives it 5 s.
const END: Duration = Duration::from_secs(4);
/// How often to look whether the data thread still lives.
const LOOK: Duration = Duration::from_secs(1);

/// Options of `serve`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Where receivers connect [default: 0.0.0.0:7411]
    #[arg(long, value_name = "ADDR", value_parser = number::address)]
    listen: Option<SocketAddr>,
    /// Where the web page is, or off; this version has no page yet [default: 127.0.0.1:7412]
    #[arg(long, value_name = "ADDR|off")]
    web: Option<Web>,
    /// Where other machines use the API, such as 0.0.0.0:7414: over TLS, by people with
    /// an account (`users add`) or a token (`users token create`); http://127.0.0.1:PORT
    /// for a proxy on this machine [default: off]
    #[arg(long, value_name = "ADDR|off")]
    api: Option<Remote>,
    /// The interface of multicast, by name or address
    #[arg(long, value_name = "IF")]
    interface: Option<String>,
    /// The pool of multicast addresses, and their port [default: 239.77.0.0/16:7413]
    #[arg(long, value_name = "RANGE:PORT")]
    multicast: Option<Pool>,
    /// How many routers multicast may cross [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
          value_parser = number::between::<u32>(1, 255))]
    ttl: Option<u32>,
    /// Most that is sent, such as 50MB/s or 400Mbit/s
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    rate: Option<u64>,
    /// The mark (DSCP, 0 to 63) of what sessions send: 1 gives way to all else, 8 is
    /// the older word for that, 0 is none [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
          value_parser = number::between::<u8>(0, 63))]
    dscp: Option<u8>,
    /// Do not let receivers without a code find this server on the network
    #[arg(long)]
    no_beacon: bool,
    /// Where the controller key is lost, make another one; then an admin announces it by
    /// `fleetcast authority rotate-controller`, and receivers follow
    #[arg(long)]
    new_controller: bool,
    /// What protects a new admin key [default: passphrase on a terminal, else file]
    #[arg(long, value_name = "HOW")]
    seal: Option<SealBy>,
}

/// Where the web page is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Web {
    Off,
    At(SocketAddr),
}

impl FromStr for Web {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            text => text
                .parse()
                .map(Self::At)
                .map_err(|_| format!("neither `off` nor an address such as {WEB}")),
        }
    }
}

/// Where other machines use the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remote {
    Off,
    At(RemoteOptions),
}

impl FromStr for Remote {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" { Ok(Self::Off) } else { text.parse().map(Self::At) }
    }
}

/// What is asked of the keys.
#[derive(Clone, Copy, Debug)]
struct Beginning {
    /// The seal of a new fleet's admin key, by option or settings.
    seal: Option<SealBy>,
    /// The same where the option names it.
    asked: Option<SealBy>,
    /// Whether a lost controller key gets a successor.
    new_controller: bool,
}

/// A range of multicast addresses, and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pool {
    address: Ipv4Addr,
    prefix: u8,
    port: u16,
}

impl FromStr for Pool {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = "not a range of multicast addresses and a port such as 239.77.0.0/16:7413";
        let parse = || {
            let (range, port) = text.rsplit_once(':')?;
            let (address, prefix) = range.split_once('/').unwrap_or((range, "32"));
            let pool = Self {
                address: address.parse().ok()?,
                prefix: prefix.parse().ok()?,
                port: port.parse().ok()?,
            };
            let fits = pool.address.is_multicast() && (4..=32).contains(&pool.prefix);
            (fits && pool.port != 0).then_some(pool)
        };
        parse().ok_or(wanted)
    }
}

pub(super) fn run(context: &Context, options: &Options) -> Outcome {
    let serve = serve_options(context, options)?;
    let remote = parsed(context.settings.api.as_deref(), "api")?;
    let remote = choose(options.api, None, remote, || Remote::Off);
    init_log(context);
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::io("runtime", &error))?;
    let seal = match (options.seal, context.settings.seal.as_deref()) {
        (Some(seal), _) => Some(seal),
        (None, Some("passphrase")) => Some(SealBy::Passphrase),
        (None, Some("file")) => Some(SealBy::File),
        (None, None) => None,
        (None, Some(_)) => {
            let message = "seal is neither `file` nor `passphrase`";
            return Err(Failure::usage("settings-malformed", message, "correct fleetcast.toml"));
        }
    };
    let beginning = Beginning { seal, asked: options.seal, new_controller: options.new_controller };
    let outcome = runtime.block_on(serve_until_told(context, &serve, beginning, remote));
    // What blocks on the disk has had its time.
    runtime.shutdown_timeout(Duration::from_millis(200));
    outcome
}

/// Options, else settings, else defaults.
fn serve_options(context: &Context, options: &Options) -> Result<ServeOptions, Failure> {
    let settings = &context.settings;
    let listen = parsed(settings.listen.as_deref(), "listen")?;
    let pool = parsed(settings.multicast.as_deref(), "multicast")?;
    let _: Option<Web> = parsed(settings.web.as_deref(), "web")?;
    let pool = choose(options.multicast, None, pool, || POOL);
    let rate = settings.rate.as_deref().map(parse_rate).transpose().map_err(|error| {
        let hint = "correct the rate in fleetcast.toml";
        Failure::usage("settings-malformed", error.to_string(), hint)
    })?;
    let dscp = settings.dscp.filter(|mark| *mark < 64);
    Ok(ServeOptions {
        listen: choose(options.listen, None, listen, || LISTEN),
        interface: options.interface.clone().or_else(|| settings.interface.clone()),
        pool: pool.address,
        pool_prefix: pool.prefix,
        port: pool.port,
        ttl: choose(options.ttl, None, settings.ttl, || 1),
        dscp: choose(options.dscp, None, dscp, || DSCP),
        rate: choose(options.rate, None, rate, || RATE),
        beacon: !options.no_beacon,
    })
}

/// The rate by hour of the day, as the settings have it.
fn schedule(context: &Context) -> Result<(Schedule, Zone), Failure> {
    let malformed = |message: String| {
        let hint = "correct schedule and zone in fleetcast.toml";
        Failure::usage("settings-malformed", message, hint)
    };
    let settings = &context.settings;
    let windows = settings.schedule.as_deref().unwrap_or_default();
    let schedule = Schedule::parse(windows).map_err(|fault| malformed(fault.to_string()))?;
    let name = settings.zone.as_deref().unwrap_or("local");
    let zone = Zone::named(name);
    let zone = zone.ok_or_else(|| malformed(format!("there is no time zone {}", quoted(name))))?;
    Ok((schedule, zone))
}

fn parsed<T: FromStr>(text: Option<&str>, name: &str) -> Result<Option<T>, Failure> {
    let refused = |text: &str| {
        let message = format!("{} makes no sense for {name}", quoted(text));
        Failure::usage("settings-malformed", message, "correct fleetcast.toml")
    };
    text.map(|text| text.parse().map_err(|_| refused(text))).transpose()
}

fn init_log(context: &Context) {
    let level = match (context.quiet, context.verbose) {
        (true, _) => LevelFilter::ERROR,
        (_, 0) => LevelFilter::WARN,
        (_, 1) => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    let log = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr);
    // A second initialisation in one process (tests) keeps the first.
    let _ = log.with_ansi(context.talks()).try_init();
}

async fn serve_until_told(
    context: &Context,
    options: &ServeOptions,
    beginning: Beginning,
    remote: Remote,
) -> Outcome {
    let io = |error: std::io::Error| Failure::io("signals", &error);
    // From here on a signal ends the server in order.
    let mut terminated = signal(SignalKind::terminate()).map_err(io)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(io)?;
    let state = StateDir::create(&context.state)?;
    let _lock = state.lock()?;
    let (server, api, new) = begin(context, options, &state, beginning).await?;
    let listener = socket::listen(&state.socket(), socket::OWN)?;
    let told = match remote {
        Remote::At(at) => {
            first_admin(context, &server.handle, new).await?;
            // It ends with the runtime.
            Some(remote::listen(&api, at, &state.keys()).await?.0)
        }
        Remote::Off => None,
    };
    let mut serving = tokio::spawn(async move { axum::serve(listener, api.router()).await });
    tell_ready(context, &server, &state, told.as_ref());
    let stopped = || Failure::failed("server-stopped", "the server has stopped", "see its log");
    let outcome = tokio::select! {
        _ = terminated.recv() => Ok(DONE),
        _ = interrupted.recv() => Ok(DONE),
        _ = &mut serving => Err(stopped()),
        () = data_thread_gone(&server.handle, &state) => Err(stopped()),
    };
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    serving.abort();
    let _ = std::fs::remove_file(state.socket());
    if tokio::time::timeout(END, server.stop()).await.is_err() {
        tracing::error!("the server did not stop in time");
    }
    outcome
}

/// Opens everything and starts the machine.
async fn begin(
    context: &Context,
    options: &ServeOptions,
    state: &StateDir,
    beginning: Beginning,
) -> Result<(Server, Api, bool), Failure> {
    // First: options that are wrong found no fleet.
    let socket = bind(options)?;
    let catalog = open_catalog(state).await?;
    let founded = found(state, &catalog, beginning.seal, beginning.new_controller).await?;
    let Founded { founding, conditions, new, recovery } = founded;
    if let Some(wanted) = beginning.asked.filter(|_| !new) {
        check_seal(context, wanted, &conditions)?;
    }
    if new {
        let directory = state.path().display();
        printer::say(context, &format!("made a new fleet; its keys are in {directory}/keys"));
    }
    if let Some(code) = recovery {
        printer::say_lines(&code.told());
    }
    let packs = Packs::open(&state.packs())?;
    let repaired = packs.recovered();
    let chunks: Arc<dyn ChunkStore> = Arc::new(packs);
    let (schedule, zone) = schedule(context)?;
    let server = start(socket, options, founding, Arc::clone(&chunks), catalog.clone())?;
    let note = move |node: &mut crate::driver::server::Node, _| {
        conditions.into_iter().for_each(|condition| node.note_condition(condition, "server"));
        if repaired != Recovered::default() {
            node.note_condition(Condition::StoreRepaired, &repaired.to_string());
        }
        node.suggest_schedule(schedule, zone);
    };
    server.handle.run(note).await?;
    let api = Api::new(server.handle.clone(), chunks, catalog, server.address);
    let api = api.in_directory(state.clone());
    Ok((server, api, new))
}

/// A fleet that is there keeps its seal: whoever asks for another one must know that.
///
/// # Errors
/// Usage failure `seal-differs` when the key here is sealed otherwise.
fn check_seal(context: &Context, wanted: SealBy, conditions: &[Condition]) -> Result<(), Failure> {
    if !conditions.contains(&Condition::ServerHoldsAdminKey) {
        let told = "--seal is for a new fleet: there is no admin key here that it could seal";
        printer::say(context, told);
        return Ok(());
    }
    let unsealed = conditions.contains(&Condition::KeyUnsealed);
    let (is, hint) = match (unsealed, wanted) {
        (true, SealBy::File) | (false, SealBy::Passphrase) => return Ok(()),
        (true, _) => ("its file's mode only", "`fleetcast admin seal passphrase` changes that"),
        (false, _) => ("a passphrase", "`fleetcast admin seal file` changes that"),
    };
    let message = format!("--seal counts for a new fleet; the key of this one is sealed by {is}");
    Err(Failure::usage("seal-differs", message, hint))
}

fn tell_ready(context: &Context, server: &Server, state: &StateDir, api: Option<&ApiItem>) {
    let listen = server.address.to_string();
    let socket = state.socket().display().to_string();
    let mut ready = json!({ "listen": listen, "web": null, "socket": socket });
    if let Some(api) = api {
        ready["api"] = json!(api);
        printer::say(context, &format!("other machines reach it at {}", own_address(api)));
    }
    printer::event(context, "ready", &ready, &format!("ready {listen}"));
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
}

/// Resolves when the machine's thread is gone: its catalog cannot be written. Until then
/// it is told whether its disk has room.
async fn data_thread_gone(handle: &ServerHandle, state: &StateDir) {
    let path: Arc<str> = state.path().display().to_string().into();
    loop {
        let scarce = Room::of(state.path()).is_some_and(|room| room.is_scarce());
        let path = Arc::clone(&path);
        if handle.run(move |node, _| node.note_room(&path, scarce)).await.is_err() {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_a_range_of_multicast_addresses_and_a_port() {
        assert_eq!("239.77.0.0/16:7413".parse(), Ok(POOL));
        let one = Pool { address: Ipv4Addr::new(239, 1, 2, 3), prefix: 32, port: 9 };
        assert_eq!("239.1.2.3:9".parse(), Ok(one));
        for text in ["10.0.0.0/8:7413", "239.77.0.0/16", "239.77.0.0/3:1", "239.77.0.0/16:0", ""] {
            assert!(text.parse::<Pool>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_page_is_somewhere_or_off() {
        assert_eq!("off".parse(), Ok(Web::Off));
        assert_eq!("127.0.0.1:7412".parse(), Ok(Web::At(WEB)));
        assert!("7412".parse::<Web>().is_err());
    }
}
