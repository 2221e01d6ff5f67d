//! Catalogs that older versions have written.

use super::tests::{account, group, request};
use super::*;
use crate::model::*;

#[tokio::test]
async fn a_catalog_of_the_first_version_comes_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    let mut first = sqlx::migrate!("./migrations");
    first.migrations.to_mut().truncate(1);
    first.run(&pool).await.unwrap();
    // As the first version wrote them.
    let old = [
        "INSERT INTO receivers VALUES (x'01010101010101010101010101010101', zeroblob(32), \
         zeroblob(32), 'kiosk', 'member', FALSE, 1, 1, 5, 6, NULL, '0.1.0', 7, 3)",
        "INSERT INTO groups VALUES (x'02020202020202020202020202020202', 'g', FALSE, 5)",
        "INSERT INTO releases VALUES (x'02020202020202020202020202020202', 0, 1, \
         zeroblob(32), 'label', x'00', 1, 2, 3, 4, 'current')",
        "INSERT INTO deliveries VALUES (1, x'01010101010101010101010101010101', \
         x'02020202020202020202020202020202', 0, 1, zeroblob(32), 'queued', '', '', 0, \
         'local', 8, 9)",
        "INSERT INTO held VALUES (x'01010101010101010101010101010101', \
         x'02020202020202020202020202020202', 0, 1, zeroblob(32), 10, zeroblob(64))",
    ];
    for statement in old {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    pool.close().await;
    let catalog = Catalog::open(&path).await.unwrap();
    let loaded = catalog.load().await.unwrap();
    assert_eq!(loaded.releases[0].terms, Terms::default());
    assert_eq!((loaded.deliveries[0].id, loaded.deliveries[0].hold), (1, Hold::Free));
    let receipts = catalog.receipts(0, 9).await.unwrap();
    assert_eq!((receipts[0].group_name.as_str(), receipts[0].at), ("g", 10));
}

#[tokio::test]
async fn a_catalog_from_before_there_were_people_is_brought_up_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (path, migrations) = (folder.path().join("catalog.db"), folder.path().join("old"));
    std::fs::create_dir(&migrations).unwrap();
    let first = include_str!("../../migrations/0001_catalog.sql");
    std::fs::write(migrations.join("0001_catalog.sql"), first).unwrap();
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    Migrator::new(migrations.as_path()).await.unwrap().run(&pool).await.unwrap();
    let rows = [
        "INSERT INTO receivers VALUES (x'01010101010101010101010101010101', \
         x'0202020202020202020202020202020202020202020202020202020202020202', NULL, 'kiosk-1', \
         'member', FALSE, 3, 4, 5, 6, NULL, '0.1.0', 7, 3)",
        "INSERT INTO groups VALUES (x'01010101010101010101010101010101', 'g1', TRUE, 5)",
        "INSERT INTO memberships VALUES (x'01010101010101010101010101010101', \
         x'01010101010101010101010101010101', x'0101', NULL, 7)",
    ];
    for row in rows {
        sqlx::query(row).execute(&pool).await.unwrap();
    }
    pool.close().await;
    let catalog = Catalog::open(&path).await.unwrap();
    let loaded = catalog.load().await.unwrap();
    let receiver = &loaded.receivers[0];
    assert_eq!((receiver.order, receiver.owner.as_ref()), ((3, 4), None));
    let expected = GroupRecord { voucher: None, ..group(1) };
    assert_eq!(loaded.groups, [expected]);
    assert_eq!(loaded.memberships.len(), 1);
    assert!(loaded.requests.is_empty() && loaded.accounts.is_empty());
    catalog
        .apply(&[Change::Request(request(1, 1)), Change::Account(account("ann", Role::Admin))])
        .await
        .unwrap();
    assert_eq!(catalog.load().await.unwrap().requests, [request(1, 1)]);
}
