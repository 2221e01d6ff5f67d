//! `receive`: the receiver, until it is told to stop.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use fleetcast_core::wire::people::MAX_PASSWORD;
use serde_json::{Value, json};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use super::context::{Context, DONE, Outcome, on_terminal};
use super::discover::discover;
use super::password::password;
use super::printer;
use crate::agent::{AgentEvent, Enrolment, Login, Outcome as Decision};
use crate::api::socket;
use crate::code::EnrolmentCode;
use crate::driver::receiver::{ReceiveOptions, Receiver, Told, start};
use crate::error::{EXIT_FAILED, EXIT_INTERRUPTED, Failure};
use crate::health::Condition;
use crate::keys::{Keys, Node};
use crate::my::{self, Others};
use crate::state::StateDir;
use crate::units::{format_size, printable};

/// How long a new receiver tries to reach its server; the contract gives it 15 s.
const REACH: Duration = Duration::from_secs(12);
/// Longest name that a receiver asks for, in bytes.
const MAX_NAME: usize = fleetcast_core::limits::MAX_NAME;

/// Options of `receive`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The code that `fleetcast invite` printed; needed the first time
    #[arg(long, value_name = "CODE")]
    enrol: Option<String>,
    /// List the servers of this network, and on a terminal choose one of them
    #[arg(long, conflicts_with = "enrol")]
    discover: bool,
    /// Where files land, each group in a directory of its own
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// The interface of multicast, by name or address
    #[arg(long, value_name = "IF")]
    interface: Option<String>,
    /// The name to ask for [default: the host's]
    #[arg(long, value_name = "N")]
    name: Option<String>,
    /// Stand behind it with this account, and be taken in by that; its password is asked
    /// for, or read from a file or standard input as for `users add`
    #[arg(long, value_name = "USER")]
    login: Option<String>,
    /// What other users of this machine may do with `fleetcast my`: none, read, join
    /// (ask to be in groups) or leave [default: join]
    #[arg(long, value_name = "WHAT")]
    others: Option<Others>,
    /// End after the first installation, or failure
    #[arg(long)]
    once: bool,
    /// Lose this share of received datagrams
    #[arg(long, value_name = "P", hide = true, default_value_t = 0.0, value_parser = parse_share)]
    drop: f64,
}

/// A loss: a percentage from 1 on or with its sign, a share below 1.
pub(super) fn parse_share(text: &str) -> Result<f64, &'static str> {
    let number = text.strip_suffix('%').unwrap_or(text).parse::<f64>().ok();
    let is_percentage = |number: f64| number >= 1.0 || text.ends_with('%');
    let share = number.map(|n| if is_percentage(n) { n / 100.0 } else { n });
    let share = share.filter(|share| (0.0..=1.0).contains(share));
    share.ok_or("give a percentage such as 5 or 5%, or a share below 1 such as 0.05")
}

pub(super) fn run(context: &Context, options: Options) -> Outcome {
    // Before anything is made: a malformed code is a mistake of the command line.
    let mut code = options.enrol.as_deref().map(str::parse::<EnrolmentCode>).transpose()?;
    let remembered = StateDir::at(&context.state).path().join("receiver.json").exists();
    let unknown = code.is_none() && !remembered && on_terminal() && !context.json;
    if options.discover || unknown {
        let interface = options.interface.as_deref().or(context.settings.interface.as_deref());
        match discover(context, interface)? {
            Some(chosen) => code = Some(chosen),
            None => return Ok(DONE),
        }
    }
    let into = options.into.or_else(|| context.settings.into.clone()).ok_or_else(|| {
        Failure::usage("usage", "nothing says where files shall land", "add --into DIR")
    })?;
    if code.is_none() && !remembered {
        let hint = "add --enrol CODE; `fleetcast invite` on the server prints a code, and \
            --discover finds servers";
        return Err(Failure::usage("not-enrolled", "this receiver is not enrolled", hint));
    }
    let name = options.name.or_else(|| context.settings.name.clone());
    name.as_deref().map(check_name).transpose()?;
    // Before anything is made, too: it may be that nobody is there to ask.
    let login = options.login.map(login).transpose()?;
    let state = StateDir::create(&context.state)?;
    let _lock = state.lock()?;
    std::fs::create_dir_all(&into).map_err(|error| Failure::io(into.display(), &error))?;
    let others = match (options.others, context.settings.others.as_deref()) {
        (Some(others), _) => others,
        (None, Some(text)) => text.parse().map_err(|wanted: &str| {
            let message = format!("`others` in fleetcast.toml is not {wanted}");
            Failure::usage("settings-malformed", message, "correct it")
        })?,
        (None, None) => Others::Join,
    };
    let enrolment = code.as_ref().map(enrolment).transpose()?;
    let patience = enrolment.as_ref().map(|_| REACH);
    let server = enrolment.as_ref().map(|enrolment| enrolment.server);
    let receive = ReceiveOptions {
        enrolment,
        login,
        name: name.unwrap_or_else(host_name),
        device: Keys::open(&state.keys())?.node_or_new(Node::Device)?,
        interface: options.interface.or_else(|| context.settings.interface.clone()),
        drop: options.drop,
    };
    let receiver = start(receive, &into, state.path())?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::io("runtime", &error))?;
    let listener = Listener { context, once: options.once, server };
    runtime.block_on(async {
        answer_people(&state, &receiver, others);
        let end = listener.listen(receiver, patience).await;
        // Left by a crash, it is replaced by the next start.
        let _ = std::fs::remove_file(state.agent_socket());
        end
    })
}

fn check_name(name: &str) -> Result<(), Failure> {
    if name.len() <= MAX_NAME {
        return Ok(());
    }
    let message = format!("the name is of {} bytes; {MAX_NAME} are the most", name.len());
    Err(Failure::usage("name-unsafe", message, "choose a shorter --name"))
}

/// Opens the socket for people at this receiver. Files come also where it cannot be opened.
fn answer_people(state: &StateDir, receiver: &Receiver, others: Others) {
    if others > Others::None
        && let Err(failure) = state.let_through()
    {
        tracing::warn!(%failure, "other users do not reach this receiver's socket");
    }
    match socket::listen(&state.agent_socket(), socket::ANYBODY) {
        Ok(listener) => drop(tokio::spawn(my::serve(listener, receiver.asker(), others))),
        Err(failure) => tracing::warn!(%failure, "`fleetcast my` does not reach this receiver"),
    }
}

/// The account that is to stand behind this receiver.
fn login(user: String) -> Result<Login, Failure> {
    let password = password(&format!("Password of {}: ", printable(&user)))?;
    // The protocol holds nothing longer, and no account has it.
    if user.len() > MAX_NAME || password.len() > MAX_PASSWORD {
        return Err(refusal("login-refused"));
    }
    Ok(Login { user, password })
}

/// What a code tells, its server's name looked up.
fn enrolment(code: &EnrolmentCode) -> Result<Enrolment, Failure> {
    let found = (code.host.as_str(), code.port).to_socket_addrs();
    let server = found.ok().and_then(|mut found| found.find(SocketAddr::is_ipv4));
    let server = server.ok_or_else(|| {
        let message = format!("{} has no IPv4 address", code.host);
        Failure::failed("server-unreachable", message, "check the name service of this host")
    })?;
    Ok(Enrolment {
        server,
        server_key: code.controller,
        authority: code.authority,
        token: code.token,
    })
}

/// The host's name, as far as it can be a receiver's.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let mut name = name.trim().to_owned();
    while name.len() > MAX_NAME {
        name.pop();
    }
    if name.is_empty() { "receiver".to_owned() } else { name }
}

/// Tells what happens, and knows when to end.
struct Listener<'c> {
    context: &'c Context,
    once: bool,
    server: Option<SocketAddr>,
}

/// How the listening ends.
type End = Result<u8, Failure>;

impl Listener<'_> {
    async fn listen(&self, mut receiver: Receiver, patience: Option<Duration>) -> Outcome {
        let io = |error: std::io::Error| Failure::io("signals", &error);
        let mut terminated = signal(SignalKind::terminate()).map_err(io)?;
        let mut interrupted = signal(SignalKind::interrupt()).map_err(io)?;
        let mut deadline = patience.map(|patience| Instant::now() + patience);
        let end: End = loop {
            // Far away where there is no deadline.
            let at = deadline.unwrap_or_else(|| Instant::now() + Duration::from_secs(86_400));
            let told = tokio::select! {
                _ = terminated.recv() => break Ok(DONE),
                _ = interrupted.recv() => break Ok(EXIT_INTERRUPTED),
                () = tokio::time::sleep_until(at) => {
                    match deadline {
                        Some(_) => break Err(self.unreachable()),
                        None => continue,
                    }
                }
                told = receiver.told.recv() => told,
            };
            let Some(Told::Event(event)) = told else {
                let hint = "look at what it said before";
                break Err(Failure::failed("receiver-stopped", "the receiver has stopped", hint));
            };
            if is_answer(&event) {
                deadline = None;
            }
            if let Some(end) = self.tell(&event) {
                break end;
            }
        };
        // What was installed is told to the server before the process ends.
        receiver.stop();
        self.last_words(&mut receiver);
        end
    }

    fn last_words(&self, receiver: &mut Receiver) {
        while let Ok(told) = receiver.told.try_recv() {
            match told {
                Told::Stopped(stats) => {
                    let body = json!({
                        "received": stats.received,
                        "lost": stats.lost,
                        "repaired": stats.repaired,
                        "nacks": stats.nacks,
                    });
                    printer::event(self.context, "stopped", &body, "");
                }
                // It only empties its queue: nothing of this ends it any more.
                Told::Event(event) => drop(self.tell(&event)),
            }
        }
    }

    fn unreachable(&self) -> Failure {
        let server = self.server.map(|server| server.to_string()).unwrap_or_default();
        // PROTOCOL H4: who names an unknown token gets no answer.
        let hint = "check that it runs, that UDP gets there (a firewall may be between), \
            and that the code is one of its own";
        Failure::failed("server-unreachable", format!("{server} does not answer"), hint)
    }

    /// Prints an event; whether, and how, it ends the receiver.
    fn tell(&self, event: &AgentEvent) -> Option<End> {
        let (name, body, text) = words(event)?;
        printer::event(self.context, name, &body, &text);
        match event {
            AgentEvent::Refused { code } => Some(Err(refusal(code))),
            AgentEvent::Installed { .. } if self.once => Some(Ok(DONE)),
            AgentEvent::Failed { .. } if self.once => Some(Ok(EXIT_FAILED)),
            _ => None,
        }
    }
}

/// What helps a receiver that was removed.
const REMOVED: &str = "ask the admin: `fleetcast receivers approve` takes it in again while it \
    waits, or a new code does, with --enrol CODE";

/// Whether the server is there, whatever comes of it.
fn is_answer(event: &AgentEvent) -> bool {
    matches!(
        event,
        AgentEvent::Connected { .. }
            | AgentEvent::Waiting { .. }
            | AgentEvent::Unwell { condition: Condition::ServerSuspended, .. }
    )
}

/// An event's name, its fields, and the line for people (progress has none).
type Words = (&'static str, Value, String);

/// Words for what happens between a receiver and its server.
fn words(event: &AgentEvent) -> Option<Words> {
    Some(match event {
        AgentEvent::Enrolled { id, name } => (
            "enrolled",
            json!({ "id": id.to_string(), "name": name }),
            format!("enrolled as {}", printable(name)),
        ),
        AgentEvent::Waiting { fingerprint } => (
            "waiting",
            json!({ "fingerprint": fingerprint.to_string() }),
            format!("waiting for approval; fingerprint {fingerprint}"),
        ),
        AgentEvent::Connected { server } => {
            ("connected", json!({ "server": server.to_string() }), format!("connected to {server}"))
        }
        AgentEvent::Disconnected { reason } => {
            ("disconnected", json!({ "reason": reason }), format!("disconnected: {reason}"))
        }
        AgentEvent::Removed => (
            "removed",
            json!({ "hint": REMOVED }),
            format!("removed: the fleet does not know this receiver any more\n  {REMOVED}"),
        ),
        AgentEvent::Refused { code } => {
            ("refused", json!({ "code": code }), format!("refused: {code}"))
        }
        AgentEvent::LoggedIn { user } => {
            ("logged-in", json!({ "user": user }), format!("logged in as {}", printable(user)))
        }
        AgentEvent::Answered { group, outcome } => return answered(group, outcome),
        AgentEvent::TakenOut { group } => (
            "taken-out",
            json!({ "group": group }),
            format!("no member of group {} any more; its files stay", printable(group)),
        ),
        AgentEvent::Unwell { condition, subject } => unwell(*condition, subject),
        AgentEvent::Listen(_) | AgentEvent::Announce(_) | AgentEvent::Unlisten(_) => return None,
        AgentEvent::Reply { .. } => return None,
        of_a_release => release_words(of_a_release)?,
    })
}

/// Words for what became of a request to join or to leave.
fn answered(group: &str, outcome: &Decision) -> Option<Words> {
    let (event, reason) = match outcome {
        Decision::Member => ("joined", ""),
        Decision::Asked => ("asked", ""),
        Decision::Denied(reason) => ("denied", reason.as_str()),
        Decision::Left => ("left", ""),
        // Nothing has become of it: whoever asked is told.
        Decision::Unknown | Decision::Full | Decision::Later => return None,
    };
    let body = json!({ "group": group, "reason": reason });
    let why = if reason.is_empty() { String::new() } else { format!(": {}", printable(reason)) };
    Some((event, body, format!("{event}: group {}{why}", printable(group))))
}

/// Words for what happens with releases.
fn release_words(event: &AgentEvent) -> Option<Words> {
    Some(match event {
        AgentEvent::Behind { group, installed, newest } => (
            "behind",
            json!({ "group": group, "installed": installed, "newest": newest }),
            format!("behind: group {}, installed {installed}, newest {newest}", printable(group)),
        ),
        AgentEvent::Offered { release, group, bytes } => {
            let sequence = release.order.sequence;
            let body = json!({
                "group": group,
                "group_id": release.group.to_string(),
                "sequence": sequence,
                "release": release.digest.to_string(),
                "bytes": bytes,
            });
            let name = group.as_deref().map_or("a first release".into(), |group| {
                format!("{}#{sequence}", printable(group))
            });
            ("offered", body, format!("offered {name}, {}", format_size(*bytes)))
        }
        AgentEvent::Progress { bytes, total } => {
            ("progress", json!({ "bytes": bytes, "total": total }), String::new())
        }
        AgentEvent::Verified { release } | AgentEvent::Staged { release } => {
            let staged = matches!(event, AgentEvent::Staged { .. });
            let sequence = release.order.sequence;
            let body = json!({
                "group_id": release.group.to_string(),
                "sequence": sequence,
                "release": release.digest.to_string(),
            });
            (if staged { "staged" } else { "verified" }, body, String::new())
        }
        AgentEvent::Installed { group, sequence, release } => (
            "installed",
            json!({ "group": group, "sequence": sequence, "release": release.to_string() }),
            format!("installed {}#{sequence}", printable(group)),
        ),
        AgentEvent::Findings { .. } => return findings(event),
        AgentEvent::Failed { code, reason } => (
            "failed",
            json!({ "code": code, "reason": reason }),
            format!("failed: {code}: {}", printable(reason)),
        ),
        _ => return None,
    })
}

/// Paths of local changes that a person is shown at most.
const SHOWN: usize = 5;

/// Words for what was noticed at an installation.
fn findings(event: &AgentEvent) -> Option<Words> {
    let AgentEvent::Findings { group, sequence, changes, kept, atomic } = event else {
        return None;
    };
    let body = json!({
        "group": group,
        "sequence": sequence,
        "changes": changes,
        "kept": kept,
        "atomic": atomic,
    });
    let mut lines = Vec::new();
    if let (Some(kept), false) = (kept, changes.is_empty()) {
        let shown = changes.iter().take(SHOWN).map(|path| printable(path));
        let shown = shown.collect::<Vec<_>>().join(", ");
        let more = changes.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        lines.push(format!("local changes of {} kept in {kept}: {shown}{more}", printable(group)));
    }
    if !atomic {
        let group = printable(group);
        let why = "this file system cannot exchange directories";
        lines.push(format!("{group}#{sequence} was activated in two steps: {why}"));
    }
    Some(("findings", body, lines.join("\n")))
}

fn unwell(condition: Condition, subject: &str) -> Words {
    let (code, title, hint) = (condition.code(), condition.title(), condition.hint());
    let body = json!({
        "code": code,
        "severity": condition.severity(),
        "subject": subject,
        "title": title,
        "hint": hint,
    });
    ("health", body, format!("{code}: {title} ({})\n  {hint}", printable(subject)))
}

fn refusal(code: &'static str) -> Failure {
    let (message, hint) = match code {
        "invite-expired" => ("the code has expired", "ask the admin for a new one"),
        "invite-used" => ("the code was used up", "ask the admin for a new one"),
        "invite-revoked" => (
            "an admin has taken the code back, or turned this receiver away",
            "ask the admin for a new code",
        ),
        "receiver-denied" => (
            "an admin has turned this receiver away while it waited for approval",
            "ask the admin; it waits again when it is started once more",
        ),
        "receiver-removed" => ("an admin has removed this receiver from the fleet", REMOVED),
        "authority-mismatch" => (
            "the server does not show the authority document that the code names",
            "ask the admin for a new code; somebody may have tampered with this one",
        ),
        "login-refused" => (
            "there is no such account, or its password is another",
            "try again; `fleetcast users passwd` on the server gives it a new one",
        ),
        "login-limited" => ("too many attempts with a wrong password", "try again in a minute"),
        "waiting-list-full" => ("too many receivers wait for approval", "ask the admin"),
        _ => ("the server does not know this receiver", "enrol it anew with --enrol CODE"),
    };
    Failure::failed(code, message, hint)
}
