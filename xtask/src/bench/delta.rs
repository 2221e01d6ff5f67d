//! `bench delta`: what a new version of a file costs on the wire, when all
//! receivers have the old one.
//!
//! All bytes count that cross the admin's interface in either direction while
//! the new version is brought to all receivers: handshakes, indexes, reports and
//! acknowledgements too.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use fleetcast_lab::{Lan, Plan};
use serde_json::{Value, json};

use super::options::Options;
use super::room::{self, Room};
use super::run::Transfer;
use super::tools::{Daemons, Fleet, Tool};

/// Time for one version to arrive.
const LIMIT: Duration = Duration::from_secs(180);
/// rsync's own algorithm.
const RSYNC: [&str; 2] = ["--no-whole-file", "--times"];

/// How a file becomes its next version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edit {
    /// Nothing changes but the file's time.
    Nothing,
    /// 4 KiB are other bytes.
    Page,
    /// One byte is inserted in front.
    Front,
    /// 100 small insertions, replacements and removals.
    Hundred,
}

impl Edit {
    const ALL: [Self; 4] = [Self::Nothing, Self::Page, Self::Front, Self::Hundred];

    const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing changed",
            Self::Page => "4 KiB changed",
            Self::Front => "1 byte inserted in front",
            Self::Hundred => "100 edits with insertions",
        }
    }

    /// The next version of `bytes`.
    fn apply(self, bytes: &mut Vec<u8>) {
        let mut lots = Lots(0x5EED);
        match self {
            Self::Nothing => {}
            Self::Page => {
                let at = bytes.len() / 3;
                bytes.iter_mut().skip(at).take(4_096).for_each(|byte| *byte = lots.next() as u8);
            }
            Self::Front => bytes.insert(0, lots.next() as u8),
            Self::Hundred => {
                for edit in 0..100 {
                    let at = lots.next() as usize % bytes.len();
                    let len = 1 + lots.next() as usize % 64;
                    let end = (at + len).min(bytes.len());
                    let new: Vec<u8> = (0..len).map(|_| lots.next() as u8).collect();
                    match edit % 3 {
                        0 => drop(bytes.splice(at..at, new)),
                        1 => drop(bytes.splice(at..end, new)),
                        _ => drop(bytes.drain(at..end)),
                    }
                }
            }
        }
    }
}

/// SplitMix64: edits are the same in every run.
struct Lots(u64);

impl Lots {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// Brings a version to all receivers.
type Bring<'a> = Box<dyn FnMut(&Path) -> Result<Transfer, String> + 'a>;

/// What one version cost one tool.
struct Cost {
    tool: Tool,
    receivers: usize,
    edit: Edit,
    transfer: Result<Transfer, String>,
}

/// Measures and tells; true when every version arrived as it was sent.
pub(super) fn run(options: &Options, room: &Room) -> Result<bool, String> {
    let mut costs = Vec::new();
    for &receivers in &options.receivers {
        let lan = Lan::new(&Plan::gigabit(receivers + 1))?;
        for tool in options.tools() {
            // uftp and udpcast have no delta: a new version costs all of it.
            if matches!(tool, Tool::Fleetcast | Tool::Rsync) {
                versions(tool, &lan, room, options.size, &mut costs)?;
            }
        }
    }
    if options.json {
        let items: Vec<Value> = costs.iter().map(Cost::json).collect();
        println!("{}", json!({ "schema": 1, "kind": "bench-delta", "items": items }));
    } else {
        println!("| tool | receivers | change | ok | out | back | sum | seconds |");
        println!("|---|---|---|---|---|---|---|---|");
        costs.iter().for_each(|cost| println!("{}", cost.line()));
    }
    Ok(costs.iter().all(|cost| cost.transfer.is_ok()))
}

/// One tool: the first version, then each edit of the one before.
fn versions(
    tool: Tool,
    lan: &Lan,
    room: &Room,
    size: u64,
    costs: &mut Vec<Cost>,
) -> Result<(), String> {
    let (file, directory) = (room.path().join("file"), room.path().join("run"));
    room::noise(&file, size)?;
    room::fresh_directory(&directory)?;
    let start = Instant::now() + LIMIT;
    let mut bring: Bring<'_> = match tool {
        Tool::Rsync => {
            let mut daemons = Daemons::start(lan, &directory, start)?;
            Box::new(move |file| daemons.push(file, &RSYNC, Instant::now() + LIMIT))
        }
        _ => {
            let mut fleet = Fleet::start(lan, &directory, start)?;
            Box::new(move |file| fleet.send(file, &[], Instant::now() + LIMIT))
        }
    };
    bring(&file)?;
    let read = |error| format!("{}: {error}", file.display());
    let mut bytes = fs::read(&file).map_err(read)?;
    for edit in Edit::ALL {
        // rsync looks at sizes and whole seconds: a quick edit would escape it.
        std::thread::sleep(Duration::from_millis(1_100));
        edit.apply(&mut bytes);
        fs::write(&file, &bytes).map_err(read)?;
        let transfer = bring(&file).and_then(|transfer| {
            let wrong = transfer.received.iter().find(|path| !room::identical(&file, path));
            wrong.map_or(Ok(transfer.clone()), |path| {
                Err(format!("{} is not what was sent", path.display()))
            })
        });
        let cost = Cost { tool, receivers: lan.hosts() - 1, edit, transfer };
        eprintln!("{}", cost.line());
        costs.push(cost);
    }
    Ok(())
}

impl Cost {
    fn json(&self) -> Value {
        let mut json = json!({
            "tool": self.tool.name(),
            "receivers": self.receivers,
            "change": self.edit.name(),
            "ok": self.transfer.is_ok(),
        });
        match &self.transfer {
            Ok(transfer) => {
                let crossed = &transfer.crossed;
                json["out_bytes"] = json!(crossed.sent);
                json["back_bytes"] = json!(crossed.received);
                json["wire_bytes"] = json!(crossed.sent + crossed.received);
                json["seconds"] = json!(transfer.durable.as_secs_f64());
                json["notes"] = json!(transfer.notes);
            }
            Err(reason) => json["failure"] = json!(reason),
        }
        json
    }

    fn line(&self) -> String {
        let head = format!("| {} | {} | {} |", self.tool.name(), self.receivers, self.edit.name());
        match &self.transfer {
            Ok(transfer) => {
                let (out, back) = (transfer.crossed.sent, transfer.crossed.received);
                let seconds = transfer.durable.as_secs_f64();
                format!("{head} yes | {out} | {back} | {} | {seconds:.2} |", out + back)
            }
            Err(reason) => format!("{head} NO: {reason} | – | – | – | – |"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_change_what_they_say() {
        let old: Vec<u8> =
            (0..1 << 20).map(|byte: u32| (byte.wrapping_mul(7) >> 3) as u8).collect();
        let edited = |edit: Edit| {
            let mut new = old.clone();
            edit.apply(&mut new);
            new
        };
        assert_eq!(edited(Edit::Nothing), old);
        let front = edited(Edit::Front);
        assert_eq!((front.len(), &front[1..]), (old.len() + 1, &old[..]));
        let page = edited(Edit::Page);
        let changed: Vec<usize> = (0..old.len()).filter(|&at| page[at] != old[at]).collect();
        assert_eq!(page.len(), old.len());
        assert!(changed.len() > 4_000, "{}", changed.len());
        assert!(changed[changed.len() - 1] - changed[0] < 4_096);
        let hundred = edited(Edit::Hundred);
        assert!(hundred.len().abs_diff(old.len()) < 100 * 64);
        let same = old.iter().zip(&hundred).take_while(|(old, new)| old == new).count();
        assert!(same < old.len() / 5, "the first edit is at {same}");
    }
}
