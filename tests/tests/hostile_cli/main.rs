//! Bad input from outside, on real processes: exit code, the failure's code and
//! its cure; and nobody else is disturbed.

// Helpers of tests, too, end a test by panicking.
#![allow(clippy::unwrap_used)]

mod accounts;
mod catalog;
mod commands;
mod disk;
mod endings;
mod enrolment;
mod files;
mod names;
mod network;
mod people;
mod presence;
mod shapes;
mod storage;
mod terminal;
mod together;
