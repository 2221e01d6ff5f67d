//! Bad input from outside, on real processes: exit code, the failure's code and
//! its cure; and nobody else is disturbed.

mod commands;
mod endings;
mod enrolment;
mod files;
mod network;
mod shapes;
