//! `releases rollback`: a new release with the content of an older one.

use std::collections::HashSet;
use std::time::Instant;

use clap::Args;
use fleetcast_core::wire::control::CODEC_LZ4;

use super::build::{Job, Target, seal};
use super::{ATTEMPTS, Wait, active_receivers, parse_wait, report, tree_of, wait};
use crate::api::client::Client;
use crate::api::model::{Hex, NewRelease, Submitted};
use crate::cli::context::{Context, Outcome};
use crate::cli::upload::Upload;
use crate::error::Failure;
use crate::ingest::{Encoding, Tree};
use crate::status::ReleaseItem;
use crate::units::quoted;

/// Options of `releases rollback`.
#[derive(Debug, Args)]
pub(in crate::cli) struct RollbackOptions {
    /// The group
    group: String,
    /// The release to go back to: its sequence, its GROUP#SEQUENCE, or the beginning of its digest
    release: String,
    /// Wait until all receivers that are active now have it, at most this long
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true,
          default_missing_value = "", value_parser = parse_wait)]
    wait: Option<Wait>,
}

/// Sends a group what an older release of it contains.
pub(in crate::cli) fn rollback(context: &Context, options: &RollbackOptions) -> Outcome {
    let begin = Instant::now();
    let client = context.client()?;
    let group = &options.group;
    let wanted = match options.release.parse::<u64>() {
        // Digests are longer than any sequence that a person writes.
        Ok(sequence) if options.release.len() < 6 => format!("{group}#{sequence}"),
        _ => options.release.clone(),
    };
    let (old, tree) = tree_of(&client, &wanted)?;
    if old.group != *group {
        let message = format!("{}#{} is no release of {}", old.group, old.sequence, quoted(group));
        return Err(Failure::usage("release-foreign", message, "fleetcast releases list GROUP"));
    }
    let label = format!("back to #{}", old.sequence);
    let active: HashSet<String> = active_receivers(&client)?;
    let submitted = [again(context, &client, group, &label, &tree)?];
    let ingest_seconds = begin.elapsed().as_secs_f64();
    let limit = options.wait.map(|wait| wait.0);
    wait::wait(context, &client, &submitted, &active, limit)?;
    report::sent(context, &client, &submitted, begin, ingest_seconds, limit.is_some())
}

/// Makes a new release of one that was overtaken while it waited for signatures.
pub(in crate::cli) fn anew(context: &Context, client: &Client, old: &ReleaseItem) -> Outcome {
    if old.state != "unsigned" {
        let message = format!("{}#{} does not wait for signatures", old.group, old.sequence);
        let hint = "`fleetcast releases rollback` sends an older release again";
        return Err(Failure::usage("release-signed", message, hint));
    }
    let begin = Instant::now();
    let (_, tree) = tree_of(client, &old.release)?;
    let submitted = [again(context, client, &old.group, &old.name, &tree)?];
    client.cancel_release(&old.release)?;
    let ingest_seconds = begin.elapsed().as_secs_f64();
    report::sent(context, client, &submitted, begin, ingest_seconds, false)
}

/// Makes, signs and submits the next release of a group with this content.
fn again(
    context: &Context,
    client: &Client,
    group: &str,
    label: &str,
    tree: &Tree,
) -> Result<Submitted, Failure> {
    let key = context.admin_key()?.signing();
    let mut sink = Upload::new(client, false);
    let mut attempt = 1;
    loop {
        let target = Target::of(client, group)?;
        let codecs = if target.next.constrained { CODEC_LZ4 } else { Encoding::HOSTS.codecs };
        let encoding = Encoding { codecs, compress: true };
        let job = Job { client, label, encoding, mirror: true };
        let release = seal(&job, &target.next, tree, &key, &mut sink)?;
        sink.flush()?;
        match submit(client, release.document) {
            Err(failure) if failure.code == "out-of-order" && attempt < ATTEMPTS => attempt += 1,
            answer => return answer,
        }
    }
}

fn submit(client: &Client, document: Vec<u8>) -> Result<Submitted, Failure> {
    client.submit(&NewRelease {
        document: Hex(document),
        rate: None,
        full: false,
        priority: 0,
        at: None,
        ready: None,
        queue: false,
    })
}
