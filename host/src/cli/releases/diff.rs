//! `releases diff`: what differs between two releases, from their signed roots down.

use std::collections::{BTreeSet, HashSet};

use fleetcast_core::digest::Digest;
use serde::Serialize;

use crate::api::client::Client;
use crate::cli::context::{Context, DONE, Outcome};
use crate::cli::table::Table;
use crate::cli::{printer, send};
use crate::ingest::{Node, Tree};
use crate::units::format_size;

/// A path that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct DiffItem {
    /// Below the group's directory.
    path: String,
    /// `added`, `removed` or `changed`.
    change: &'static str,
    /// Size before; null for a directory, and where there was nothing.
    bytes_before: Option<u64>,
    /// Size after; null for a directory, and where there is nothing.
    bytes_after: Option<u64>,
    /// Bytes of its chunks that are nowhere in the release before.
    new_bytes: u64,
}

pub(super) fn run(context: &Context, client: &Client, from: &str, to: &str) -> Outcome {
    let (before, after) = (send::tree_of(client, from)?.1, send::tree_of(client, to)?.1);
    printer::items(context, "diff", diff(&before, &after), table);
    Ok(DONE)
}

/// What differs, for people.
pub(super) fn between(before: &Tree, after: &Tree) -> Table {
    table(&diff(before, after))
}

fn diff(before: &Tree, after: &Tree) -> Vec<DiffItem> {
    let chunks = |tree: &Tree| -> HashSet<Digest> {
        let files = tree.entries().filter_map(|(_, node)| match node {
            Node::File(file) => Some(file.chunks.iter().map(|chunk| chunk.id)),
            Node::Directory { .. } => None,
        });
        files.flatten().collect()
    };
    let mut known = chunks(before);
    let paths: BTreeSet<&[String]> =
        before.entries().chain(after.entries()).map(|(path, _)| path).collect();
    let mut items = Vec::new();
    for path in paths {
        let (was, is) = (before.entry(path), after.entry(path));
        let change = match (was, is) {
            (None, Some(_)) => "added",
            (Some(_), None) => "removed",
            (Some(was), Some(is)) if !same(was, is) => "changed",
            _ => continue,
        };
        let mut new_bytes = 0;
        if let Some(Node::File(file)) = is {
            for chunk in &file.chunks {
                // Each once, however many files have it.
                new_bytes += if known.insert(chunk.id) { u64::from(chunk.len) } else { 0 };
            }
        }
        let (bytes_before, bytes_after) = (was.and_then(size), is.and_then(size));
        let path = path.join("/");
        items.push(DiffItem { path, change, bytes_before, bytes_after, new_bytes });
    }
    items
}

/// A directory's time says nothing that its entries do not.
fn same(was: &Node, is: &Node) -> bool {
    matches!((was, is), (Node::Directory { .. }, Node::Directory { .. })) || was == is
}

const fn size(node: &Node) -> Option<u64> {
    match node {
        Node::File(file) => Some(file.size),
        Node::Directory { .. } => None,
    }
}

fn table(items: &[DiffItem]) -> Table {
    let titles = ["", "PATH", ">BEFORE", ">AFTER", ">NEW"];
    let mut table = Table::new(&titles, "no difference");
    let shown = |size: Option<u64>| size.map_or_else(String::new, format_size);
    for item in items {
        let sign = match item.change {
            "added" => "+",
            "removed" => "-",
            _ => "~",
        };
        table.row([
            sign.to_owned(),
            item.path.clone(),
            shown(item.bytes_before),
            shown(item.bytes_after),
            format_size(item.new_bytes),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use fleetcast_core::tree::reference::ChunkRef;

    use super::*;
    use crate::ingest::FileNode;

    fn tree(files: &[(&str, &[&[u8]], bool)]) -> Tree {
        let mut tree = Tree::default();
        tree.insert(vec!["d".into()], Node::Directory { mtime: files.len() as i64 }).unwrap();
        for (name, chunks, executable) in files {
            let chunks: Vec<ChunkRef> = chunks.iter().map(|c| ChunkRef::of(c).unwrap()).collect();
            let size = chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
            let file = FileNode { mtime: 0, executable: *executable, size, chunks };
            tree.insert(vec!["d".into(), (*name).into()], Node::File(file)).unwrap();
        }
        tree
    }

    #[test]
    fn what_is_added_removed_and_changed_is_told_with_what_must_travel() {
        let before = tree(&[("a", &[b"same"], false), ("b", &[b"old"], false)]);
        let after = tree(&[
            ("a", &[b"same"], true),
            ("c", &[b"same", b"brand new"], false),
            ("e", &[b"brand new"], false),
        ]);
        let item = |path: &str, change, bytes_before, bytes_after, new_bytes| {
            let path = path.to_owned();
            DiffItem { path, change, bytes_before, bytes_after, new_bytes }
        };
        let expected = [
            item("d/a", "changed", Some(4), Some(4), 0),
            item("d/b", "removed", Some(3), None, 0),
            item("d/c", "added", None, Some(13), 9),
            item("d/e", "added", None, Some(9), 0),
        ];
        assert_eq!(diff(&before, &after), expected);
        assert_eq!(diff(&after, &after), []);
    }
}
