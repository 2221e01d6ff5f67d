//! The catalog: what the server knows, durable in SQLite.
//!
//! The fleet machine is the master of this state; here its changes are applied,
//! each batch in one transaction, and given back whole after a restart. All SQL
//! of the project lives in this module, portable to PostgreSQL.

mod error;
mod read;
mod words;
mod write;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, Row};

pub use error::CatalogError;

use crate::model::{Change, LogRecord, ReceiptRecord, Snapshot};

/// How long who writes or reads waits for those before: a disk that is slow for minutes is
/// no catalog that is lost, and the server stops for the latter.
const PATIENCE: Duration = Duration::from_secs(600);

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// The catalog's database; clones share it.
///
/// The caller holds the lock of the state directory: one process per catalog.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// One connection: changes come from one place, and reads are few.
    pool: SqlitePool,
}

impl Catalog {
    /// Opens the catalog at `path` (made with mode 0600 when missing), checks it,
    /// and brings it to this version's tables.
    ///
    /// # Errors
    /// [`CatalogError::Corrupt`] when the file is damaged, `Migration` when a newer
    /// version wrote it, `Database` for the rest.
    pub async fn open(path: &Path) -> Result<Self, CatalogError> {
        // SQLite gives its log the mode of the database: tokens stand in both.
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        file.map_err(|error| CatalogError::Database(sqlx::Error::Io(error)))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5));
        let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(PATIENCE);
        let pool = pool.connect_with(options).await?;
        let catalog = Self { pool };
        catalog.check().await?;
        MIGRATIONS.run(&catalog.pool).await?;
        Ok(catalog)
    }

    /// Applies all of `changes`, in their order, or none of them; durable on return.
    ///
    /// # Errors
    /// [`CatalogError`]; then nothing was applied.
    pub async fn apply(&self, changes: &[Change]) -> Result<(), CatalogError> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        for change in changes {
            write::change(&mut transaction, change).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// All that is durable, except older lines of the log.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub async fn load(&self) -> Result<Snapshot, CatalogError> {
        let mut transaction = self.pool.begin().await?;
        read::snapshot(&mut transaction).await
    }

    /// At most `limit` lines of the audit log with numbers greater than `after`.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub async fn log_after(&self, after: u64, limit: u32) -> Result<Vec<LogRecord>, CatalogError> {
        let mut connection = self.pool.acquire().await?;
        read::log_after(&mut connection, after, limit).await
    }

    /// At most `limit` receipts, in the order of installation, from `offset` on.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub async fn receipts(
        &self,
        offset: u64,
        limit: u32,
    ) -> Result<Vec<ReceiptRecord>, CatalogError> {
        let mut connection = self.pool.acquire().await?;
        read::receipts(&mut connection, offset, limit).await
    }

    /// Writes a whole and consistent copy of the database to the new file `path` (mode 0600),
    /// as it was when the copy began; what happens meanwhile becomes durable as ever.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub async fn copy_to(&self, path: &Path) -> Result<(), CatalogError> {
        // SQLite writes into an empty file as it would into a new one.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        file.map_err(|error| CatalogError::Database(sqlx::Error::Io(error)))?;
        let path = path.to_string_lossy().into_owned();
        // On a connection of its own: with much to copy the other one would be missed.
        let mut reading = self.pool.connect_options().connect().await?;
        let copied = sqlx::query("VACUUM INTO $1").bind(path).execute(&mut reading).await;
        reading.close().await?;
        copied?;
        Ok(())
    }

    /// Finishes what is under way and closes the database.
    pub async fn close(self) {
        self.pool.close().await;
    }

    async fn check(&self) -> Result<(), CatalogError> {
        let rows = sqlx::query("PRAGMA quick_check(3)").fetch_all(&self.pool).await?;
        let lines: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        if lines == ["ok"] { Ok(()) } else { Err(CatalogError::Corrupt(lines.join("; "))) }
    }
}

#[cfg(test)]
mod older_tests;
#[cfg(test)]
mod tests;
