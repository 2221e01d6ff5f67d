//! Disks that fill up, and datagrams from strangers, while others receive.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fleetcast_tests::processes::{Fleet, SLOW, noise, skip};
use fleetcast_tests::random::Random;
use rustix::net::sockopt::set_ip_multicast_if;

/// A small file system in memory, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where this process may not mount.
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(at);
        mount.output().is_ok_and(|o| o.status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a receiver may still be on its way out.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_stops_its_receiver_only() {
    let fleet = Fleet::start();
    let Some(disk) = SmallDisk::mount(&fleet.path("full")) else {
        return skip("a_full_disk_stops_its_receiver_only: may not mount");
    };
    let others = [fleet.receiver("a"), fleet.receiver("b")];
    let full = fleet.receiver("full");
    assert_eq!(full.into, disk.0);
    let file = fleet.path("file");
    let bytes = noise(2, 4 << 20);
    fs::write(&file, &bytes).unwrap();
    let file = file.to_str().unwrap();
    let answer = fleet.run_within(2 * SLOW, ["send", file, "--to", "g", "--wait=60s"]);
    assert_eq!(answer.code, 3, "{answer:?}");
    let item = &answer.document()["item"];
    for delivery in item["deliveries"].as_array().unwrap() {
        let is_full = delivery["receiver"] == "full";
        let expected = if is_full { ("failed", "no-space") } else { ("installed", "") };
        let found = (delivery["state"].as_str(), delivery["code"].as_str());
        assert_eq!(found, (Some(expected.0), Some(expected.1)), "{delivery}");
        assert_eq!(!delivery["reason"].as_str().unwrap().is_empty(), is_full, "{delivery}");
    }
    for receiver in others {
        assert!(fs::read(receiver.file("file")).unwrap() == bytes, "{}", receiver.name);
    }
    let status = fleet.run(["status"]).done();
    let health = status["item"]["health"].as_array().unwrap().iter();
    assert!(health.clone().any(|h| h["code"] == "delivery-failed"), "{status}");
    // What fits is installed there too; nothing of the failure lies in the way.
    drop(full);
}

#[test]
fn datagrams_of_strangers_disturb_nobody() {
    let fleet = Fleet::start();
    let receivers = [fleet.receiver("a"), fleet.receiver("b")];
    let file = fleet.path("file");
    let bytes = noise(3, 4 << 20);
    fs::write(&file, &bytes).unwrap();
    let server: SocketAddr = fleet.address.parse().unwrap();
    let groups = fleet.multicast();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let strangers = scope.spawn(|| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            // Where the sessions are, whatever the routes of this machine say.
            set_ip_multicast_if(&socket, &Ipv4Addr::LOCALHOST).unwrap();
            let mut random = Random::new(4);
            let (mut sent, mut left) = (0_u64, [0_u64; 2]);
            while !stop.load(Ordering::Relaxed) {
                let mut datagram = vec![0; random.below(1_473) as usize];
                random.fill(&mut datagram);
                // Those with a type, a version and reserved bytes like ours get further.
                if sent.is_multiple_of(2) && datagram.len() >= 4 {
                    datagram[..4].copy_from_slice(&[(sent / 2 % 9) as u8, 1, 0, 0]);
                }
                let to = [server, groups[sent as usize % groups.len()].into()];
                for (to, left) in to.iter().zip(&mut left) {
                    // A full queue is as good as a lost datagram.
                    *left += u64::from(socket.send_to(&datagram, to).is_ok());
                }
                sent += 1;
                std::thread::sleep(Duration::from_micros(200));
            }
            left
        });
        let send = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            fleet.send(&file, &["--rate", "1MB/s"])
        }));
        stop.store(true, Ordering::Relaxed);
        let item = send.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        assert!(item["deliveries"].as_array().unwrap().iter().all(|d| d["path"] == "multicast"));
        // In four seconds: to the server, and to its sessions.
        let left = strangers.join().unwrap();
        assert!(left.iter().all(|left| *left > 1_000), "{left:?}");
    });
    for receiver in receivers {
        assert!(fs::read(receiver.file("file")).unwrap() == bytes, "{}", receiver.name);
        assert_eq!(fleet.listed(&receiver.name)["state"], "active");
    }
}
