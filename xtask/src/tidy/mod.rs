//! `cargo xtask tidy`: rules of style that no compiler checks, without exceptions.
//!
//! A rule is a pure function from sources to findings; this file only reads the
//! sources and puts the rules in order.

use std::fs;
use std::io;
use std::path::Path;

use files::{File, Finding};

use crate::shell;

mod lexer;

mod files;

mod paths;

mod size;

mod bans;

mod imports;

mod protocol;

mod layout;

/// Where sources lie.
const FOLDERS: [&str; 5] = ["core", "host", "boards", "xtask", "tests"];
/// Where the protocol is obeyed and checked.
const SPEAKERS: [&str; 4] = ["core", "host", "boards", "tests"];

/// Prints what breaks a rule; true when nothing does.
///
/// # Errors
/// When a source cannot be read.
pub(crate) fn run() -> Result<bool, String> {
    let root = shell::root();
    let top = top_level(&root).map_err(|error| format!("{}: {error}", root.display()))?;
    let mut sources = Vec::new();
    for folder in FOLDERS {
        read(&root, folder, &mut sources).map_err(|error| format!("{folder}: {error}"))?;
    }
    let findings = check(&top, &sources);
    findings.iter().for_each(|finding| println!("{finding}"));
    if !findings.is_empty() {
        println!("{} findings", findings.len());
    }
    Ok(findings.is_empty())
}

/// All findings, by file and line.
fn check(top: &[String], sources: &[File]) -> Vec<Finding> {
    let rust = files::cut(sources);
    let mut findings: Vec<_> = rust.iter().flat_map(size::check).collect();
    findings.extend(rust.iter().flat_map(bans::check));
    for folder in FOLDERS {
        findings.extend(imports::check(&format!("{folder}/src"), &rust));
    }
    if let Some(document) = sources.iter().find(|file| file.path == protocol::DOCUMENT) {
        let speaks = |file: &&files::Rust<'_>| SPEAKERS.iter().any(|folder| file.is_in(folder));
        findings.extend(protocol::check(document, &rust.iter().filter(speaks).collect::<Vec<_>>()));
    }
    let manifests = sources.iter().filter(|file| file.path.ends_with("Cargo.toml"));
    findings.extend(layout::check(top, &manifests.collect::<Vec<_>>()));
    findings.sort();
    findings
}

/// The names at the root that belong to the repository.
fn top_level(root: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        // The same as in `.gitignore`.
        if !name.starts_with("target") && !name.ends_with(".img") {
            names.push(name);
        }
    }
    Ok(names)
}

/// Reads sources below `folder`, but no golden data and nothing that was built.
fn read(root: &Path, folder: &str, sources: &mut Vec<File>) -> io::Result<()> {
    let entries = match fs::read_dir(root.join(folder)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{folder}/{name}");
        if entry.file_type()?.is_dir() {
            if !name.starts_with('.') && !matches!(name.as_str(), "target" | "golden") {
                read(root, &path, sources)?;
            }
        } else if name.ends_with(".rs") || name == "Cargo.toml" || path == protocol::DOCUMENT {
            let text = fs::read_to_string(entry.path())?;
            sources.push(File { path, text });
        }
    }
    Ok(())
}
