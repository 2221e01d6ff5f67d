//! What is judged anew when its time comes, and what an earlier attempt left behind.

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::time::Instant;
use fleetcast_core::trust::release::Circumstances;
use fleetcast_core::wire::control::{FailCode, ReleaseName, Up};

use super::delivery::Staged;
use super::gate::TrustGate;
use super::{Agent, AgentEvent};
use crate::disk::Disk;
use crate::install::{Installed, finish_begun};
use crate::staging::Failure;
use crate::staging::area::Area;
use crate::staging::sweep::{Rootless, sweep};

impl<D: Disk, A: Aead> Agent<D, A> {
    /// What a release is judged by now: whom we trust, and what we have accepted.
    pub(super) fn gate(&self, area: &Area<D>, release: &ReleaseName) -> Result<TrustGate, Failure> {
        let distrust =
            |reason: &str| Failure { code: FailCode::NotTrusted, reason: reason.to_owned() };
        let authority = self.authority.clone().ok_or_else(|| distrust("no authority document"))?;
        let membership = self.state.membership(&authority, &self.device, release.group);
        let membership =
            membership.ok_or_else(|| distrust("not a member of the release's group"))?;
        let held = area.held()?;
        let circumstances = Circumstances {
            highest: self.state.highest(release.group),
            now: self.unix,
            installed_before: held.iter().any(|held| held.release == *release),
        };
        let promised = release.digest;
        Ok(TrustGate { authority, membership, circumstances, promised })
    }

    /// Judges a release again before it is installed: it may have lain here for long, and
    /// a newer one been installed, its group been left or its time have passed meanwhile.
    pub(super) fn judge_again(&self, staging: &mut Staged<D>) -> Result<(), Failure> {
        // PROTOCOL T3, T6
        let area = Area::open(&self.destination)?;
        let gate = self.gate(&area, &staging.release())?;
        staging.judge_again(gate)
    }

    /// Finishes an installation that stopped behind its activation, in this run or an
    /// earlier one; whether that was the case.
    ///
    /// # Errors
    /// When it cannot be finished: nothing may be staged there then, since what lies in the
    /// stage is the directory that was visible before.
    pub(super) fn finish_begun(
        &mut self,
        now: Instant,
        release: ReleaseName,
    ) -> Result<bool, Failure> {
        let area = Area::open(&self.destination)?;
        let finished = finish_begun(&area, &release)?;
        let is_finished = finished.is_some();
        if let Some(installed) = finished {
            self.has_installed(now, installed);
        }
        Ok(is_finished)
    }

    /// Tells of an installation, and gives up what it has overtaken.
    pub(super) fn has_installed(&mut self, now: Instant, installed: Installed) {
        let release = installed.release;
        self.confirm(now, release);
        self.tell(AgentEvent::Installed {
            group: installed.directory.clone(),
            sequence: release.order.sequence,
            release: release.digest,
        });
        if !installed.conflicts.is_empty() || !installed.atomic {
            self.tell_findings(now, installed);
        }
        self.holding.forget_overtaken(&release);
        self.sweep(Rootless::Keep);
    }

    fn tell_findings(&mut self, now: Instant, installed: Installed) {
        // PROTOCOL M8
        let Installed { release, directory, conflicts, kept_aside, atomic } = installed;
        let changes = u32::try_from(conflicts.len()).unwrap_or(u32::MAX);
        self.say(now, &Up::Findings { release, changes, atomic });
        self.tell(AgentEvent::Findings {
            group: directory,
            sequence: release.order.sequence,
            changes: conflicts.into_iter().map(|conflict| conflict.path).collect(),
            kept: kept_aside.map(|name| format!(".fleetcast/{name}")),
            atomic,
        });
    }

    /// Removes stages of releases that can never be installed any more.
    pub(super) fn sweep(&mut self, rootless: Rootless) {
        let is_over = |release: &ReleaseName| {
            let highest = self.state.highest(release.group);
            highest.is_some_and(|(order, _)| release.order < order)
        };
        // What stays behind is found again after the next installation, or start.
        let swept = Area::open(&self.destination).and_then(|area| sweep(&area, rootless, &is_over));
        if swept.is_ok_and(|any| any) {
            self.work_at.get_or_insert(Instant::ZERO);
        }
    }

    /// Removes the stage of a release of which nothing is proved: what has come of it is
    /// worth nothing, and a server could fill the disk with such stages.
    pub(super) fn abandon_unproved(&self, staging: &Staged<D>) {
        if staging.evidence().is_none()
            && let Ok(area) = Area::open(&self.destination)
        {
            // What stays behind goes with the next start.
            let _ = area.abandon(&staging.release());
        }
    }
}
