//! The rate cap shared among sessions, and receivers that cannot follow.

use std::collections::BTreeMap;

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::ids::{PeerSlot, ReceiverId, SessionId};
use fleetcast_core::session::rate::RateLimits;
use fleetcast_core::time::Instant;
use fleetcast_core::wire::control::{Down, ReleaseName};

use super::ServerNode;
use super::lanes::{Claim, LANE_TIME};
use super::live::LiveSession;
use super::slow::Slow;
use super::urgency::urgent_shares;

/// Slowest rate of a session in bytes per second.
const FLOOR: u64 = 64 * 1_024;
/// The same where the receiver is known to be slow.
const SLOW_FLOOR: u64 = 8 * 1_024;
/// Where a session begins, in bytes per second.
const START: u64 = 12_000_000;

impl<A: Aead> ServerNode<A> {
    // --- slow receivers ---

    /// A member that cannot follow leaves the multicast sessions; it says then what
    /// it lacks, and gets it in a lane of its own pace.
    pub(super) fn set_aside(
        &mut self,
        now: Instant,
        (slot, receiver): (PeerSlot, ReceiverId),
        session: SessionId,
        pace: u64,
    ) {
        let others = self.session_of(session, &receiver).map_or(0, |s| s.sender().current_rate());
        let mut left = Vec::new();
        for session in self.sessions.iter_mut().filter(|session| session.is_multicast()) {
            if session.leave(&receiver) {
                left.push(session.id());
            }
        }
        for session in left {
            self.tell(now, slot, &Down::Ended { session });
        }
        let since = self.registry.time();
        if let Some(link) = self.links.get_mut(&slot) {
            link.slow = Some(Slow { pace, others, noticed: now, since });
        }
        let name = self.name_of(&receiver);
        let what = format!("takes {pace} of {others} B/s");
        self.registry.log("server", "receiver-slow", &name, &what);
    }

    /// The pace of a receiver that cannot follow the others.
    pub(super) fn pace_of(&self, receiver: &ReceiverId) -> Option<u64> {
        self.link_of(receiver)?.1.slow.map(|slow| slow.pace)
    }

    /// Those who were slow for a while are tried with the others again.
    pub(super) fn forgive_slow(&mut self, now: Instant) {
        for link in self.links.values_mut() {
            link.slow = link.slow.filter(|slow| now.since(slow.noticed) < LANE_TIME);
        }
    }

    // --- rate ---

    /// The bounds of a session that is about to begin beside those that run.
    pub(super) fn limits_of_new(
        &self,
        multicast: bool,
        pace: Option<u64>,
        releases: &[ReleaseName],
    ) -> RateLimits {
        let new = (Claim { multicast, pace }, releases);
        let limits = self.limits(self.claims().chain([new]).collect());
        limits.last().copied().unwrap_or(RateLimits { cap: 1, floor: 1, start: 1 })
    }

    /// Shares the cap among the sessions that run.
    pub(super) fn share_rate(&mut self) {
        let limits = self.limits(self.claims().collect());
        for (session, limits) in self.sessions.iter_mut().zip(limits) {
            session.change_limits(limits);
        }
    }

    fn claims(&self) -> impl Iterator<Item = (Claim, &[ReleaseName])> {
        let claim = |session: &LiveSession<A>| Claim {
            multicast: session.is_multicast(),
            pace: session.claimed_pace(),
        };
        self.sessions.iter().map(move |session| (claim(session), session.releases()))
    }

    /// Bounds of sessions, in their order: the server's cap is shared by all, and that
    /// of a release by the sessions that send something of it.
    fn limits(&self, sessions: Vec<(Claim, &[ReleaseName])>) -> Vec<RateLimits> {
        let claims: Vec<Claim> = sessions.iter().map(|(claim, _)| *claim).collect();
        let urgency: Vec<u8> =
            sessions.iter().map(|(_, releases)| self.urgency(releases)).collect();
        let mut shares = urgent_shares(self.rate(), &claims, &urgency);
        let sent = sessions.iter().flat_map(|(_, releases)| releases.iter());
        let caps = sent.filter_map(|r| Some((r.digest, self.registry.terms(&r.digest).rate?)));
        for (release, cap) in caps.collect::<BTreeMap<_, _>>() {
            let of = |releases: &[ReleaseName]| releases.iter().any(|r| r.digest == release);
            let own = || shares.iter().zip(&sessions).filter(|(_, (_, r))| of(r));
            let sum: u64 = own().map(|(share, _)| *share).sum();
            if sum > cap {
                let scale =
                    |share: u64| (u128::from(share) * u128::from(cap) / u128::from(sum)) as u64;
                for (share, (_, releases)) in shares.iter_mut().zip(&sessions) {
                    *share = if of(releases) { scale(*share).max(1) } else { *share };
                }
            }
        }
        let limits = |(share, claim): (u64, Claim)| RateLimits {
            cap: share,
            floor: if claim.pace.is_some() { SLOW_FLOOR } else { FLOOR }.min(share),
            start: claim.pace.unwrap_or(START).min(share),
        };
        shares.into_iter().zip(claims).map(limits).collect()
    }
}
