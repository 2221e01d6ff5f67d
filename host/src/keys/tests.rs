//! Keys stored and loaded, and all the ways in which they are refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

struct Fixture {
    folder: tempfile::TempDir,
    keys: Keys,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::open(&folder.path().join("keys")).unwrap();
        Self { folder, keys }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("keys").join(name)
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn admin() -> AdminKey {
    AdminKey { seed: [0x42; 32] }
}

#[test]
fn new_keys_are_random_stored_and_found_again() {
    let fixture = Fixture::new();
    assert_eq!(fixture.keys.node(Node::Device).unwrap(), None);
    let device = fixture.keys.node_or_new(Node::Device).unwrap();
    let controller = fixture.keys.node_or_new(Node::Controller).unwrap();
    assert_ne!(device, controller);
    assert_ne!(device.secret, device.seed);
    assert_eq!(fixture.keys.node_or_new(Node::Device).unwrap(), device);
}

#[test]
fn files_and_their_directory_are_their_owners_alone() {
    let fixture = Fixture::new();
    fixture.keys.store_admin(&admin(), Seal::File).unwrap();
    assert_eq!(mode(&fixture.path("")), 0o700);
    assert_eq!(mode(&fixture.path("admin.key")), 0o600);
    assert_eq!(fs::read_dir(fixture.path("")).unwrap().count(), 1);
}

#[test]
fn a_key_that_others_could_read_is_refused() {
    let fixture = Fixture::new();
    fixture.keys.store_admin(&admin(), Seal::File).unwrap();
    for exposed in [0o640, 0o604, 0o620, 0o601] {
        let permissions = fs::Permissions::from_mode(exposed);
        fs::set_permissions(fixture.path("admin.key"), permissions).unwrap();
        let refused = fixture.keys.admin(None);
        assert!(matches!(refused, Err(KeyError::Exposed { mode, .. }) if mode == exposed));
    }
    fs::set_permissions(fixture.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(Keys::open(&fixture.path("")), Err(KeyError::Exposed { .. })));
}

#[test]
fn a_file_by_another_program_is_read() {
    // The seed of RFC 8032, section 7.1, test 1, and its public key.
    let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let fixture = Fixture::new();
    let text = format!(r#"{{"schema":1,"kind":"admin","secret":"{seed}"}}"#);
    fs::write(fixture.path("admin.key"), text).unwrap();
    fs::set_permissions(fixture.path("admin.key"), fs::Permissions::from_mode(0o600)).unwrap();
    let key = fixture.keys.admin(None).unwrap().unwrap();
    assert_eq!(key.signing().verifying_key().to_string(), public);
    assert_eq!(format!("{key:?}"), format!("AdminKey({public})"));
}

#[test]
fn a_passphrase_opens_what_it_sealed_and_nothing_else_does() {
    let fixture = Fixture::new();
    let keys = &fixture.keys;
    assert_eq!(keys.admin_sealed_by_passphrase().unwrap(), None);
    keys.store_admin(&admin(), Seal::File).unwrap();
    assert_eq!(keys.admin_sealed_by_passphrase().unwrap(), Some(false));
    keys.store_admin(&admin(), Seal::Passphrase(b"correct horse")).unwrap();
    assert_eq!(keys.admin_sealed_by_passphrase().unwrap(), Some(true));
    assert_eq!(keys.admin(Some(b"correct horse")).unwrap(), Some(admin()));
    assert!(matches!(keys.admin(Some(b"correct hors")), Err(KeyError::WrongPassphrase)));
    assert!(matches!(keys.admin(None), Err(KeyError::PassphraseNeeded)));
    let text = fs::read_to_string(fixture.path("admin.key")).unwrap();
    assert!(!text.contains(&"42".repeat(8)));
    let weaker = text.replace("\"passes\": 3", "\"passes\": 1");
    assert_ne!(weaker, text);
    fs::write(fixture.path("admin.key"), weaker).unwrap();
    assert!(matches!(keys.admin(Some(b"correct horse")), Err(KeyError::WrongPassphrase)));
}

#[test]
fn a_file_that_holds_no_such_key_is_damaged() {
    let fixture = Fixture::new();
    fixture.keys.store_node(Node::Device, &NodeKey::generate().unwrap()).unwrap();
    let device = fs::read_to_string(fixture.path("device.key")).unwrap();
    let texts = [
        device.clone(),
        device.replace("device", "admin"),
        device.replace("\"schema\": 1", "\"schema\": 2"),
        device[..device.len() / 2].into(),
        String::new(),
    ];
    for text in texts {
        fs::write(fixture.path("admin.key"), text).unwrap();
        fs::set_permissions(fixture.path("admin.key"), fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(fixture.keys.admin(None), Err(KeyError::Damaged { .. })));
    }
}

#[test]
fn what_a_crash_left_behind_is_not_in_the_way() {
    let fixture = Fixture::new();
    fs::write(fixture.path("admin.tmp"), "half").unwrap();
    fixture.keys.store_admin(&admin(), Seal::File).unwrap();
    assert_eq!(fixture.keys.admin(None).unwrap(), Some(admin()));
    assert_eq!(mode(&fixture.path("admin.key")), 0o600);
}
