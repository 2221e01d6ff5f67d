//! A whole release that waits until it is to be installed: closed meanwhile, and judged
//! again when its time comes.

use fleetcast_core::session::intake::Intake;
use fleetcast_core::wire::control::FailCode;

use super::area::ROOT;
use super::gate::{Decode, Gate};
use super::{Failure, MAX_DOCUMENT, Staging};
use crate::disk::{Disk, read_small};

impl<D: Disk, C: Decode, G: Gate> Staging<D, C, G> {
    /// Judges the release by another gate than the one it was begun with, as it lies in
    /// storage.
    ///
    /// # Errors
    /// Why it must not be installed; then it is not to be used any more.
    pub fn judge_again(&mut self, gate: G) -> Result<(), Failure> {
        let document = read_small(&self.area.disk, &self.stage, ROOT, MAX_DOCUMENT)?;
        self.gate = gate;
        self.admit(&document, true).map_err(|_| {
            let reason = || "the release root in storage is damaged".to_owned();
            let damaged = || Failure { code: FailCode::Storage, reason: reason() };
            self.failure.clone().unwrap_or_else(damaged)
        })
    }

    /// Closes the files of the tree while nothing is done with them, where all of it is here.
    pub fn rest(&mut self) {
        if Intake::is_complete(self)
            && self.commit().is_ok()
            && let Some(content) = &mut self.content
        {
            content.files.close_all();
        }
    }
}
