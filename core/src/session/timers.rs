//! A table of timers, one place for each variant of a machine's enum.

use crate::time::Instant;

/// Deadlines of `N` timers; a timer is named by anything that converts to its place.
#[derive(Clone, Copy, Debug)]
pub struct Timers<const N: usize>([Option<Instant>; N]);

impl<const N: usize> Timers<N> {
    /// A table in which no timer runs.
    #[must_use]
    pub const fn new() -> Self {
        Self([None; N])
    }

    /// Lets a timer expire at `at`, whatever was set before.
    pub fn set(&mut self, timer: impl Into<usize>, at: Instant) {
        if let Some(place) = self.0.get_mut(timer.into()) {
            *place = Some(at);
        }
    }

    /// Lets a timer expire at `at`, or earlier if it was set so.
    pub fn set_earlier(&mut self, timer: impl Into<usize>, at: Instant) {
        if let Some(place) = self.0.get_mut(timer.into()) {
            *place = Some(place.map_or(at, |was| was.min(at)));
        }
    }

    /// Stops a timer.
    pub fn stop(&mut self, timer: impl Into<usize>) {
        if let Some(place) = self.0.get_mut(timer.into()) {
            *place = None;
        }
    }

    /// Stops a timer that has expired, and says so.
    pub fn expired(&mut self, timer: impl Into<usize>, now: Instant) -> bool {
        match self.0.get_mut(timer.into()) {
            Some(place) if place.is_some_and(|at| at <= now) => {
                *place = None;
                true
            }
            _ => false,
        }
    }

    /// When a timer expires, if it runs.
    #[must_use]
    pub fn deadline(&self, timer: impl Into<usize>) -> Option<Instant> {
        self.0.get(timer.into()).copied().flatten()
    }

    /// The next deadline.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.0.iter().flatten().min().copied()
    }
}

impl<const N: usize> Default for Timers<N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_expires_once() {
        let mut timers = Timers::<2>::new();
        timers.set(1_usize, Instant::from_millis(5));
        timers.set_earlier(1_usize, Instant::from_millis(9));
        assert_eq!(timers.next(), Some(Instant::from_millis(5)));
        assert_eq!(timers.deadline(1_usize), Some(Instant::from_millis(5)));
        assert!(!timers.expired(1_usize, Instant::from_millis(4)));
        assert!(timers.expired(1_usize, Instant::from_millis(5)));
        assert!(!timers.expired(1_usize, Instant::from_millis(6)));
        assert_eq!(timers.next(), None);
    }
}
