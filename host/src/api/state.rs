//! What handlers reach: the server machine, its chunks, its catalog.

use std::net::SocketAddr;
use std::sync::Arc;

use fleetcast_core::time::Instant;

use crate::catalog::Catalog;
use crate::driver::server::{Node, ServerHandle};
use crate::error::Failure;
use crate::packs::ChunkStore;

/// What handlers reach.
#[derive(Clone)]
pub struct Api {
    handle: ServerHandle,
    pub(super) chunks: Arc<dyn ChunkStore>,
    pub(super) catalog: Catalog,
    pub(super) listen: SocketAddr,
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
        Self { handle, chunks, catalog, listen }
    }

    /// Does `work` on the data thread; its answer comes when it is durable.
    pub(super) async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Node, Instant) -> Result<R, Failure> + Send + 'static,
    ) -> Result<R, Failure> {
        self.handle.run(work).await?
    }
}
