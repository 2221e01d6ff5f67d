//! The command line, by the contract: stdout is data, stderr is talk.
//!
//! Each group of commands is a file: its options, and what it does. Commands
//! reach the server through its API only; what needs the admin key (invitations,
//! memberships, releases) is signed here, never there.

mod admin;
mod authority;
mod backup;
mod completions;
mod context;
mod deliveries;
mod demo;
mod discover;
mod doctor;
mod first_admin;
mod founding;
mod groups;
mod help;
mod interrupt;
mod invite;
mod joining;
mod known;
mod log;
mod login;
mod my;
mod number;
mod openapi;
mod password;
mod pending;
mod printer;
mod prompt;
mod rate;
mod receipts;
mod receive;
mod receivers;
mod recovery;
mod releases;
mod screen;
mod send;
mod serve;
mod servers;
mod signing;
mod status;
mod store;
mod table;
mod tokens;
mod upload;
mod users;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use self::context::{Context, DONE, Global, Outcome};
use crate::error::{EXIT_USAGE, Failure};
use crate::units::BadUnit;

/// Secure distribution of files to groups of receivers, by multicast.
#[derive(Debug, Parser)]
#[command(name = "fleetcast", version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(serve::Options),
    /// Print a code that receivers enrol with
    Invite(invite::Options),
    /// Run a receiver
    Receive(receive::Options),
    /// Groups of receivers
    #[command(subcommand)]
    Groups(groups::Command),
    /// The receivers of the fleet
    #[command(subcommand)]
    Receivers(receivers::Command),
    /// Send files and folders to groups
    Send(send::Options),
    /// Deliveries that wait
    #[command(subcommand)]
    Pending(pending::Command),
    /// The rate by hour of the day
    #[command(subcommand)]
    Rate(rate::Command),
    /// What was sent
    #[command(subcommand)]
    Releases(releases::Command),
    /// This admin's own key
    #[command(subcommand)]
    Admin(admin::Command),
    /// Whom the fleet trusts: admins, how many must sign, the server
    #[command(subcommand)]
    Authority(authority::Command),
    /// A code on paper that stands in for a lost admin key
    #[command(subcommand)]
    Recovery(recovery::Command),
    /// Accounts of people
    #[command(subcommand)]
    Users(users::Command),
    /// Log in at a server on another machine, by a password
    Login(login::Options),
    /// End the login
    Logout,
    /// Who I am at the server, and its address for other machines
    Whoami,
    /// For the person at a receiver: groups, and how it is
    #[command(subcommand)]
    My(my::Command),
    /// The fleet in one picture
    Status(status::Options),
    /// The audit log
    Log(log::Options),
    /// What receivers have signed
    #[command(subcommand)]
    Receipts(receipts::Command),
    /// Look at everything, and say what to do
    Doctor(doctor::Options),
    /// Write the server's state to a file: catalog, keys, packs
    Backup(backup::BackupOptions),
    /// Put a backup into an empty state directory; then `--confirm`
    Restore(backup::RestoreOptions),
    /// Read the chunk store of a board, from an image of its card
    #[command(subcommand)]
    Store(store::Command),
    /// Show it on this machine: a server, receivers, real multicast
    Demo(demo::Options),
    /// Print the description of the server's API (OpenAPI 3.1)
    Openapi,
    /// Print completions for a shell
    Completions(completions::Options),
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    ExitCode::from(run(&arguments))
}

fn run(arguments: &[OsString]) -> u8 {
    let cli = match parse(arguments) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error, arguments),
    };
    let outcome = Context::new(&cli.global).and_then(|context| dispatch(&context, cli.command));
    // What was done and cannot be told has failed for whoever waits for it.
    let told = |code| printer::lost().map_or(Ok(code), |lost| Err(lost.clone()));
    outcome.and_then(told).unwrap_or_else(|failure| {
        printer::failure(&failure, cli.global.json);
        failure.exit
    })
}

fn parse<A: Into<OsString> + Clone>(
    arguments: impl IntoIterator<Item = A>,
) -> Result<Cli, clap::Error> {
    let mut command = help::grouped(Cli::command());
    let matches = command.try_get_matches_from_mut(arguments)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

fn dispatch(context: &Context, command: Command) -> Outcome {
    match command {
        Command::Serve(options) => serve::run(context, &options),
        Command::Receive(options) => receive::run(context, options),
        Command::Completions(options) => completions::run(&options, Cli::command()),
        Command::Demo(options) => demo::run(context, options),
        Command::Store(command) => store::run(context, &command),
        Command::Openapi => openapi::run(),
        command => {
            interrupt::exit_when_interrupted()?;
            ask(context, command)
        }
    }
}

/// Commands that ask a running server.
fn ask(context: &Context, command: Command) -> Outcome {
    match command {
        Command::Invite(options) => invite::run(context, &options),
        Command::Groups(command) => groups::run(context, command),
        Command::Receivers(command) => receivers::run(context, command),
        Command::Send(options) => send::run(context, &options),
        Command::Pending(command) => pending::run(context, &command),
        Command::Rate(command) => rate::run(context, &command),
        Command::Releases(command) => releases::run(context, &command),
        Command::Admin(command) => admin::run(context, &command),
        Command::Authority(command) => authority::run(context, &command),
        Command::Recovery(command) => recovery::run(context, &command),
        Command::Users(command) => users::run(context, command),
        Command::Login(options) => login::run(context, options),
        Command::Logout => login::run_out(context),
        Command::Whoami => login::run_whoami(context),
        Command::My(command) => my::run(context, command),
        Command::Status(options) => status::run(context, &options),
        Command::Log(options) => log::run(context, &options),
        Command::Receipts(command) => receipts::run(context, &command),
        Command::Doctor(options) => doctor::run(context, &options),
        Command::Backup(options) => backup::run_backup(context, &options),
        Command::Restore(options) => backup::run_restore(context, &options),
        // They were dispatched before.
        Command::Serve(_)
        | Command::Receive(_)
        | Command::Completions(_)
        | Command::Demo(_)
        | Command::Openapi
        | Command::Store(_) => Ok(DONE),
    }
}

/// Help and version are asked for; everything else is a usage error. Who begins a command
/// and does not know how it goes on is shown that.
fn refuse(error: &clap::Error, arguments: &[OsString]) -> u8 {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        printer::raw(&error.render().ansi().to_string());
        return DONE;
    }
    let json = arguments.iter().any(|argument| argument == "--json");
    if is_incomplete(error) && !json {
        printer::say_lines(&help_of(arguments));
    }
    printer::failure(&usage_failure(error), json);
    EXIT_USAGE
}

/// Whether a command is wanting: clap says that in another way where an option, or a
/// variable that stands for one, is given.
fn is_incomplete(error: &clap::Error) -> bool {
    let kinds = [ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, ErrorKind::MissingSubcommand];
    kinds.contains(&error.kind())
}

/// The help of the command that was begun.
fn help_of(arguments: &[OsString]) -> String {
    let mut command = help::grouped(Cli::command());
    let mut at = &mut command;
    for name in arguments.iter().skip(1) {
        if at.find_subcommand(name).is_some() {
            at = at.find_subcommand_mut(name).expect("it was found just now");
        }
    }
    at.render_help().ansi().to_string()
}

fn usage_failure(error: &clap::Error) -> Failure {
    if is_incomplete(error) {
        let hint = "append one of its commands, and --help to see how that goes on";
        return Failure::usage("usage", "the command is incomplete", hint);
    }
    let text = error.render().to_string();
    let mut paragraphs = text.split("\n\n");
    let message = paragraphs.next().unwrap_or_default().trim();
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let message = message.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let tip = paragraphs.find_map(|paragraph| paragraph.trim().strip_prefix("tip: "));
    // What reads units knows what would have been right.
    let unit = std::error::Error::source(error).and_then(|source| source.downcast_ref::<BadUnit>());
    let hint = unit.map(BadUnit::hint).or(tip);
    Failure::usage("usage", message, hint.unwrap_or("append --help to see what it takes"))
}

#[cfg(test)]
mod tests;
