//! What the API shows over the network: a key and a certificate, made once and kept with
//! the server's other keys. Nobody vouches for it; clients pin its fingerprint.

use std::path::Path;
use std::sync::Arc;

use data_encoding::BASE64;
use fleetcast_core::digest::Digest;
use rcgen::{CertificateParams, DnType, KeyPair};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ServerConfig, server::NoServerSessionStorage};

use crate::error::{BACKUP, Failure};
use crate::private;

/// Name of its file in the directory of keys: certificate and key, as PEM.
const FILE: &str = "api.pem";

/// Key and certificate of the API.
pub(super) struct Identity {
    /// SHA-256 of the certificate, which clients pin.
    pub(super) fingerprint: Digest,
    /// How its holder speaks TLS.
    pub(super) config: Arc<ServerConfig>,
}

impl Identity {
    /// The identity in the directory of keys; makes one the first time.
    ///
    /// An admin may put a certificate of their own there.
    ///
    /// # Errors
    /// `io`, `api-key-damaged`, `api-key-exposed`.
    pub(super) fn open(keys: &Path) -> Result<Self, Failure> {
        let path = keys.join(FILE);
        if !path.exists() {
            private::write(&path, generate()?.as_bytes())
                .map_err(|error| Failure::io(path.display(), &error))?;
        }
        let io = |error: std::io::Error| Failure::io(path.display(), &error);
        if let Some(mode) = private::exposed(&std::fs::metadata(&path).map_err(io)?) {
            let message = format!("{} is open to others (mode {mode:04o})", path.display());
            return Err(Failure::failed("api-key-exposed", message, "chmod 600 it"));
        }
        let text = std::fs::read(&path).map_err(io)?;
        Self::parse(&text).ok_or_else(|| {
            let message = format!("{} holds no certificate and its key", path.display());
            Failure::failed("api-key-damaged", message, BACKUP)
        })
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
        let chain = chain.ok()?;
        let key = PrivateKeyDer::from_pem_slice(text).ok()?;
        let fingerprint = Digest::of(chain.first()?);
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_protocol_versions(&[&TLS13]).ok()?;
        let mut config = config.with_no_client_auth().with_single_cert(chain, key).ok()?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Each connection proves anew who the server is, and none leaves anything here.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Some(Self { fingerprint, config: Arc::new(config) })
    }
}

/// A new certificate and its key. ECDSA with P-256, which browsers know as well.
fn generate() -> Result<String, Failure> {
    let none = |_| {
        let hint = "the operating system gives no random bytes";
        Failure::failed("no-entropy", "no certificate can be made", hint)
    };
    let key = KeyPair::generate().map_err(none)?;
    let mut params = CertificateParams::new(vec!["fleetcast".to_owned()]).map_err(none)?;
    params.distinguished_name.push(DnType::CommonName, "fleetcast");
    let certificate = params.self_signed(&key).map_err(none)?;
    Ok(pem("CERTIFICATE", certificate.der()) + &pem("PRIVATE KEY", key.serialized_der()))
}

/// RFC 7468.
fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        out.extend(line.iter().map(|byte| char::from(*byte)));
        out.push('\n');
    }
    out + &format!("-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn an_identity_is_made_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let first = Identity::open(folder.path()).unwrap().fingerprint;
        assert_eq!(Identity::open(folder.path()).unwrap().fingerprint, first);
        let path = folder.path().join("api.pem");
        assert_eq!(private::exposed(&fs::metadata(&path).unwrap()), None);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = Identity::open(folder.path()).err().unwrap();
        assert_eq!(refused.code, "api-key-exposed");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "no certificate").unwrap();
        assert_eq!(Identity::open(folder.path()).err().unwrap().code, "api-key-damaged");
    }
}
