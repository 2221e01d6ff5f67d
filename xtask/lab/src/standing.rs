//! A LAN that stands after its maker has ended, until somebody takes it down.
//!
//! It has no state besides its processes: they carry a tag in their environment.
//! So whatever was killed when, what is left of it is found, and nothing else is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::bridge;
use crate::lan::{Lan, Switching};
use crate::namespace::Namespace;
use crate::plan::Plan;

/// The variable that all processes of a standing LAN have: its tag.
const TAG: &str = "FLEETCAST_LAB";
/// The variable that only holders have: the host's number, or `switch`.
const PLACE: &str = "FLEETCAST_LAB_PLACE";
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);
/// How long processes that were killed may take to go.
const LIMIT: Duration = Duration::from_secs(5);

/// Makes a LAN that stays, in place of what stood under that tag.
///
/// # Errors
/// When this process may not, or a program that it takes is missing; what was
/// made until then goes again.
pub fn up(tag: &str, plan: &Plan) -> Result<(), String> {
    labelled(tag, plan, Switching::Kernel)?.stay()?;
    settled(tag)
}

/// The same with a bridge in user space: `bridge` is a command that calls
/// [`bridge::serve`]. It runs until the LAN is taken down.
///
/// # Errors
/// As above, and when the bridge does not begin.
pub fn up_bridged(tag: &str, plan: &Plan, bridge: &Command) -> Result<(), String> {
    let mut lan = labelled(tag, plan, Switching::Elsewhere)?;
    let mut command = lan.switch().command(bridge.get_program());
    let settings = bridge.get_envs().filter_map(|(name, value)| Some((name, value?)));
    command.args(bridge.get_args()).envs(settings).env(TAG, tag).env_remove(PLACE);
    // A key pressed on the terminal is not for it, and nobody reads what it says.
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = command.spawn().map_err(|error| format!("the bridge: {error}"))?;
    let begin = Instant::now();
    while let Err(error) = bridge::answers(lan.switch()) {
        let ended = process.try_wait().map_err(|error| error.to_string())?;
        if ended.is_some() || begin.elapsed() > LIMIT {
            return Err(format!("the bridge does not begin: {error}"));
        }
        std::thread::sleep(LOOK);
    }
    // If we are killed before this, the cables go, and so does the bridge.
    lan.stay()?;
    settled(tag)
}

fn labelled(tag: &str, plan: &Plan, switching: Switching) -> Result<Lan, String> {
    down(tag)?;
    let mut label = |host: Option<usize>| {
        let place = host.map_or_else(|| "switch".to_owned(), |host| host.to_string());
        vec![(TAG, tag.to_owned()), (PLACE, place)]
    };
    Lan::labelled(plan, switching, &mut label)
}

/// Waits until all holders can be found.
fn settled(tag: &str) -> Result<(), String> {
    // A holder that is just becoming another program shows no environment.
    let begin = Instant::now();
    while let Err(error) = find(tag) {
        if begin.elapsed() > LIMIT {
            return Err(error);
        }
        std::thread::sleep(LOOK);
    }
    std::thread::sleep(LOOK);
    find(tag).map(drop)
}

/// The LAN that stands under that tag.
///
/// # Errors
/// When there is none, or a part of it has gone.
pub fn find(tag: &str) -> Result<Lan, String> {
    let mut switch = None;
    let mut hosts = BTreeMap::new();
    for process in tagged(tag) {
        match process.place.as_deref() {
            Some("switch") => switch = Some(Namespace::of(process.id)),
            Some(place) => {
                let host: Option<usize> = place.parse().ok();
                hosts.extend(host.map(|host| (host, Namespace::of(process.id))));
            }
            None => {}
        }
    }
    let Some(switch) = switch else {
        return Err("no lab is up; help: cargo xtask lab up 4".to_owned());
    };
    let is_whole = hosts.keys().copied().eq(0..hosts.len()) && !hosts.is_empty();
    if !is_whole {
        let cure = "help: cargo xtask lab down, then up";
        return Err(format!("of the lab's hosts only {:?} are left; {cure}", hosts.keys()));
    }
    Ok(Lan::of(switch, hosts.into_values().collect()))
}

/// Takes down what stands under that tag: kills its holders and all that was
/// started by [`command`], which inherits the tag. Returns how many processes;
/// none is no error.
///
/// # Errors
/// When some do not go.
pub fn down(tag: &str) -> Result<usize, String> {
    let begin = Instant::now();
    // One that takes its time to go is met more than once.
    let (mut killed, mut quiet) = (BTreeSet::new(), 0);
    loop {
        let left = tagged(tag);
        // Seen twice, so that none hides while it becomes another program or ends.
        quiet = if left.is_empty() { quiet + 1 } else { 0 };
        if quiet == 2 {
            return Ok(killed.len());
        }
        if begin.elapsed() > LIMIT {
            let left: Vec<u32> = left.iter().map(|process| process.id).collect();
            return Err(format!("these processes of the lab do not end: {left:?}"));
        }
        killed.extend(left.iter().map(|process| process.id).filter(|&id| kill(id)));
        std::thread::sleep(LOOK);
    }
}

/// A command on a host of a standing LAN, which `down` will find.
///
/// # Panics
/// When there is no such host.
#[must_use]
pub fn command(tag: &str, lan: &Lan, host: usize, program: &str) -> Command {
    let mut command = lan.host(host).command(program);
    command.env(TAG, tag).env_remove(PLACE);
    command
}

/// A process with the tag.
struct Tagged {
    id: u32,
    place: Option<String>,
}

fn tagged(tag: &str) -> Vec<Tagged> {
    let own = std::process::id();
    let look = |id: u32| {
        let environment = fs::read(format!("/proc/{id}/environ")).ok()?;
        let variables = || environment.split(|&byte| byte == 0);
        let value = |name: &str| {
            let prefix = format!("{name}=");
            let found = variables().find_map(|text| text.strip_prefix(prefix.as_bytes()));
            found.map(|text| String::from_utf8_lossy(text).into_owned())
        };
        (value(TAG)? == tag).then(|| Tagged { id, place: value(PLACE) })
    };
    processes().filter(|&id| id != own).filter_map(look).collect()
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Kills a process; whether there was one.
fn kill(id: u32) -> bool {
    let id = i32::try_from(id).ok().and_then(Pid::from_raw);
    let process = id.and_then(|id| pidfd_open(id, PidfdFlags::empty()).ok());
    process.is_some_and(|process| pidfd_send_signal(process, Signal::KILL).is_ok())
}
