//! `sim`: the simulated fleet by seed; `cargo xtask sim` starts it.
fn main() {
    let seed: u64 = std::env::args().nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    let n: u64 = std::env::args().nth(2).and_then(|s| s.parse().ok()).unwrap_or(1);
    for s in seed..seed + n {
        let t = std::time::Instant::now();
        let o = std::panic::catch_unwind(|| fleetcast_tests::fleet::run_seed(s));
        match o {
            Ok(o) => println!("{s} {:?} {:?}", t.elapsed(), o),
            Err(_) => println!("{s} PANIC"),
        }
    }
}
