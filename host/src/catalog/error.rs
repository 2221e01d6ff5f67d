//! What can go wrong with the catalog.

/// Why the catalog could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The database file is damaged, or is none.
    #[error("the catalog is damaged: {0}")]
    Corrupt(String),
    /// The catalog was written by a newer version of this software.
    #[error("the catalog cannot be brought to this version: {0}")]
    Migration(String),
    /// The database refused, or the disk failed.
    #[error("the catalog cannot be used: {0}")]
    Database(sqlx::Error),
}

/// SQLite's primary result codes for a damaged file: `SQLITE_CORRUPT`, `SQLITE_NOTADB`.
const CORRUPT: [u32; 2] = [11, 26];

impl From<sqlx::Error> for CatalogError {
    fn from(error: sqlx::Error) -> Self {
        // The low byte of an extended result code is its primary one.
        let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
        match code {
            Some(code) if CORRUPT.contains(&(code & 0xff)) => Self::Corrupt(error.to_string()),
            _ => Self::Database(error),
        }
    }
}

impl From<sqlx::migrate::MigrateError> for CatalogError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        match error {
            sqlx::migrate::MigrateError::Execute(error) => error.into(),
            other => Self::Migration(other.to_string()),
        }
    }
}
