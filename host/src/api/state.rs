//! What handlers reach: the server machine, its chunks, its catalog.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use fleetcast_core::time::Instant;
use tokio::sync::{Mutex, RwLock};

use super::recent::Recent;
use crate::catalog::Catalog;
use crate::driver::server::{Node, ServerHandle};
use crate::error::Failure;
use crate::packs::ChunkStore;
use crate::state::StateDir;
use crate::status::ApiItem;

/// What handlers reach.
#[derive(Clone)]
pub struct Api {
    handle: ServerHandle,
    pub(super) chunks: Arc<dyn ChunkStore>,
    pub(super) catalog: Catalog,
    pub(super) listen: SocketAddr,
    /// The state directory, for backups of it.
    pub(super) directory: Option<StateDir>,
    /// Shared by what counts on chunks; alone, what takes them away.
    pub(super) gate: Arc<RwLock<()>>,
    pub(super) recent: Arc<Recent>,
    /// Where other machines reach it, once it listens.
    pub(super) remote: Arc<OnceLock<ApiItem>>,
    /// Held while a password is compared.
    pub(super) passwords: Arc<Mutex<()>>,
}

impl Api {
    /// An API over the server machine behind `handle`, whose unicast socket is
    /// bound to `listen`; `chunks` and `catalog` are that server's own.
    #[must_use]
    pub fn new(
        handle: ServerHandle,
        chunks: Arc<dyn ChunkStore>,
        catalog: Catalog,
        listen: SocketAddr,
    ) -> Self {
        Self {
            handle,
            chunks,
            catalog,
            listen,
            directory: None,
            gate: Arc::default(),
            recent: Arc::default(),
            remote: Arc::default(),
            passwords: Arc::default(),
        }
    }

    /// The same API of a server whose state lies in `directory`.
    #[must_use]
    pub fn in_directory(self, directory: StateDir) -> Self {
        Self { directory: Some(directory), ..self }
    }

    /// Does `work` on the data thread; its answer comes when it is durable.
    pub(super) async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Node, Instant) -> Result<R, Failure> + Send + 'static,
    ) -> Result<R, Failure> {
        self.handle.run(work).await?
    }
}
