//! `send`: files become chunks at the server, and a signed release per group.
//!
//! The files are read once, whatever the number of groups. All that needs the
//! admin key happens here; the server gets records and signed roots.

mod build;
mod plan;
mod report;
mod rollback;
mod wait;

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use fleetcast_core::limits::MAX_NAME;
use indicatif::{ProgressBar, ProgressStyle};

use self::build::Target;
pub(super) use self::build::tree_of;
pub(super) use self::rollback::{RollbackOptions, anew, rollback};
use super::context::{Context, DONE, Outcome};
use super::upload::Upload;
use super::{number, printer};
use crate::api::client::Client;
use crate::api::model::{Hex, MAX_PRIORITY, NewRelease, Submitted};
use crate::error::Failure;
use crate::files::{FileError, Walk, check_given, walk};
use crate::ingest::{Encoding, IngestError, Ingested, ingest};
use crate::localtime::Zone;
use crate::model::UnixTime;
use crate::server::releases::check_time;
use crate::status::ReceiverState;
use crate::units::{format_time, now, parse_duration, parse_moment, parse_rate};

/// Options of `send`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Files and folders; each lands under its own name in the group's directory
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The group; may be repeated
    #[arg(long = "to", required = true, value_name = "G")]
    groups: Vec<String>,
    /// What to call the release
    #[arg(long, value_name = "N")]
    name: Option<String>,
    /// Make the group's directory exactly this: what is not sent is removed
    #[arg(long)]
    mirror: bool,
    /// Most that is sent for it, such as 50MB/s or 400Mbit/s
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    rate: Option<u64>,
    /// Receivers have it before, and all switch to it then: the next HH:MM of this machine's
    /// clock (HH:MMZ: in UTC), how long from now (90m), or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = parse_at)]
    at: Option<UnixTime>,
    /// The same, when so many per cent of the receivers have it
    #[arg(long, value_name = "PERCENT", allow_negative_numbers = true,
          value_parser = number::between::<u8>(1, 100))]
    ready: Option<u8>,
    /// What is greater goes first, and takes receivers out of what is less urgent
    #[arg(long, value_name = "P", default_value_t = 0,
          allow_negative_numbers = true,
          value_parser = number::between::<u8>(0, MAX_PRIORITY.into()))]
    priority: u8,
    /// Wait until all receivers that are active now have it, at most this long
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true,
          default_missing_value = "", value_parser = parse_wait)]
    wait: Option<Wait>,
    /// Tell what would be sent, and send nothing
    #[arg(long)]
    dry_run: bool,
    /// Send everything, whatever receivers have already
    #[arg(long)]
    no_delta: bool,
    /// Do not compress
    #[arg(long)]
    no_compress: bool,
    /// Leave links, devices, pipes and sockets out
    #[arg(long)]
    skip_special: bool,
}

/// How long to wait: without end where there is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wait(Option<Duration>);

fn parse_wait(text: &str) -> Result<Wait, crate::units::BadUnit> {
    if text.is_empty() { Ok(Wait(None)) } else { parse_duration(text).map(|d| Wait(Some(d))) }
}

impl Options {
    /// Whether to wait, and how long at most.
    pub(super) fn wait(&self) -> Option<Option<Duration>> {
        self.wait.map(|wait| wait.0)
    }
}

fn parse_at(text: &str) -> Result<UnixTime, crate::units::BadUnit> {
    parse_moment(text, now(), &Zone::of_system())
}

/// How often a release is made anew when somebody else sends to the group too.
const ATTEMPTS: u32 = 5;

/// Sends.
pub(super) fn run(context: &Context, options: &Options) -> Outcome {
    send(context, options, false)
}

/// Makes a release whose deliveries wait for `pending send`, or for their receivers.
pub(super) fn queue(context: &Context, options: &Options) -> Outcome {
    if options.wait.is_some() {
        let hint = "leave --wait out, or use `fleetcast send`";
        return Err(Failure::usage("usage", "what is only queued cannot be waited for", hint));
    }
    send(context, options, true)
}

fn send(context: &Context, options: &Options, queue: bool) -> Outcome {
    let begin = Instant::now();
    let client = context.client()?;
    let label = label(options)?;
    let mut groups: Vec<&String> = Vec::new();
    for group in &options.groups {
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    let targets = groups.iter().map(|group| Target::of(&client, group));
    let targets = targets.collect::<Result<Vec<_>, _>>()?;
    let walked = walk(&options.paths, options.skip_special).map_err(file_failure)?;
    // Before the work, and by the clock that counts.
    let clock = targets.first().and_then(|target| target.next.time).unwrap_or_else(now);
    check_time(options.at, clock, &format!(", this machine's {}", format_time(now())))?;
    for path in &walked.skipped {
        printer::say(context, &format!("left out: {}", path.display()));
    }
    let encoding = encoding(options);
    // Before the work: a passphrase that is wrong should not cost it.
    let key = if options.dry_run { None } else { Some(context.admin_key()?.signing()) };
    let mut sink = Upload::new(&client, options.dry_run);
    let ingested = take_in(context, &walked, encoding, &mut sink)?;
    let job = build::Job { client: &client, label: &label, encoding, mirror: options.mirror };
    let Some(key) = key else {
        let paths = client.paths()?;
        let known = (&paths, options.rate);
        let plans = targets.iter().map(|t| plan::plan(&job, t, &ingested.sent, known, &mut sink));
        let plans = plans.collect::<Result<Vec<_>, _>>()?;
        report::dry_run(context, plans, &walked, &sink);
        return Ok(DONE);
    };
    if let Some(at) = options.at {
        let local = Zone::of_system().show(at);
        printer::say(context, &format!("to be activated at {local} ({})", format_time(at)));
    }
    let active = active_receivers(&client)?;
    let mut submitted = Vec::new();
    for target in targets {
        let mut terms = terms(options, queue);
        // What comes up while files are read is due at once.
        terms.at = terms.at.map(|at| at.max(clock.saturating_add(begin.elapsed().as_secs())));
        submitted.push(submit(&job, target, &ingested, &terms, &key, &mut sink)?);
    }
    if queue {
        return report::queued(context, submitted);
    }
    let ingest_seconds = begin.elapsed().as_secs_f64();
    wait::wait(context, &client, &submitted, &active, options.wait())?;
    report::sent(context, &client, &submitted, begin, ingest_seconds, options.wait.is_some())
}

/// How a release is to be sent; it is filled in later.
fn terms(options: &Options, queue: bool) -> NewRelease {
    let (document, full) = (Hex::default(), options.no_delta);
    let Options { rate, priority, at, ready, .. } = *options;
    NewRelease { document, rate, full, priority, at, ready, queue }
}

/// Makes a group's release and submits it; anew when another one came between.
fn submit(
    job: &build::Job<'_>,
    mut target: Target,
    ingested: &Ingested,
    terms: &NewRelease,
    key: &fleetcast_core::crypto::sign::SigningKey,
    sink: &mut Upload<'_>,
) -> Result<Submitted, Failure> {
    let mut attempt = 1;
    loop {
        let release = build::release(job, &target, &ingested.sent, key, sink)?;
        sink.flush()?;
        let new = NewRelease { document: Hex(release.document), ..terms.clone() };
        let answer = job.client.submit(&new);
        match answer {
            Err(failure) if failure.code == "out-of-order" && attempt < ATTEMPTS => attempt += 1,
            answer => return answer,
        }
        target = Target::of(job.client, &target.next.name)?;
    }
}

/// Reads all files once; chunks that the server lacks go there.
fn take_in(
    context: &Context,
    walked: &Walk,
    encoding: Encoding,
    sink: &mut Upload<'_>,
) -> Result<Ingested, Failure> {
    let bar = if context.talks() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    // The template is constant; the plain bar does as well.
    if let Ok(style) = ProgressStyle::with_template("reading {bar:30} {bytes}/{total_bytes} {eta}")
    {
        bar.set_style(style);
    }
    let mut progress = |progress: crate::ingest::Progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.read);
    };
    let ingested = ingest(&walked.entries, encoding, sink, &mut progress);
    bar.finish_and_clear();
    let ingested = ingested.map_err(ingest_failure)?;
    sink.flush()?;
    Ok(ingested)
}

/// Names of receivers that are here now.
fn active_receivers(client: &Client) -> Result<HashSet<String>, Failure> {
    let receivers = client.receivers()?.into_iter();
    let active = receivers.filter(|receiver| receiver.state == ReceiverState::Active);
    Ok(active.map(|receiver| receiver.name).collect())
}

/// What hosts decode; boards have a tree of their own.
fn encoding(options: &Options) -> Encoding {
    Encoding { compress: !options.no_compress, ..Encoding::HOSTS }
}

/// The release's name: as given, or that of the first path.
fn label(options: &Options) -> Result<String, Failure> {
    if let Some(name) = &options.name {
        return check_given(name).map(|()| name.clone());
    }
    let first = options.paths.first().and_then(|path| path.file_name());
    let mut name = first.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    while name.len() > MAX_NAME {
        name.pop();
    }
    Ok(name)
}

// By value, for `map_err`.
#[allow(clippy::needless_pass_by_value)]
fn file_failure(error: FileError) -> Failure {
    Failure::failed(error.code(), error.to_string(), error.hint())
}

fn ingest_failure(error: IngestError) -> Failure {
    match error {
        IngestError::File(error) => file_failure(error),
        IngestError::Sink(error) => super::upload::failure_of(error),
        IngestError::Encoding(error) => Failure::io("chunks", &error),
    }
}
