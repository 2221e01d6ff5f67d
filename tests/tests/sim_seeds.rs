//! The simulated fleet by seed: safety while everything fails, convergence after.

use fleetcast_tests::fleet::run_seed;
use fleetcast_tests::seeds::run_seeds;

#[test]
fn two_hundred_seeds_keep_every_promise() {
    let total = run_seeds(0, 200, run_seed);
    assert_eq!(total.violations, []);
    // The faults were met: some hundred per seed on average.
    assert!(total.faults > 20_000, "{} faults", total.faults);
}

// Safety S11
#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 1_000..1_020 {
        let (first, second) = (run_seed(seed), run_seed(seed));
        assert_eq!(first, second, "seed {seed}");
        assert_ne!(first.trace, run_seed(seed + 5_000).trace);
    }
}
