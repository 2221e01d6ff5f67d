//! The list of all commands, by what they are for.

use std::fmt::Write as _;

use clap::Command;

/// What the commands are for, in the order in which somebody meets them.
const GROUPS: [(&str, &[&str]); 6] = [
    ("Begin", &["serve", "invite", "receive", "demo"]),
    ("Send", &["send", "pending", "releases", "rate"]),
    ("Receivers and their groups", &["groups", "receivers", "my"]),
    ("Look", &["status", "log", "receipts", "doctor"]),
    ("People and trust", &["users", "login", "logout", "whoami", "admin", "authority", "recovery"]),
    ("Keep and connect", &["backup", "restore", "store", "openapi", "completions", "help"]),
];
/// clap adds this one by itself.
const HELP: &str = "Print this list, or the help of a command";

/// The command line with its list of commands in groups, which clap itself has not.
pub(super) fn grouped(command: Command) -> Command {
    let styles = command.get_styles().clone();
    let (head, name) = (styles.get_header(), styles.get_literal());
    let mut list = String::new();
    for (title, names) in GROUPS {
        // Writing to a string does not fail.
        let _ = writeln!(list, "{head}{title}:{head:#}");
        for one in names {
            let about = command.find_subcommand(one).and_then(Command::get_about);
            let about = about.map_or_else(|| HELP.to_owned(), ToString::to_string);
            let _ = writeln!(list, "  {name}{one:<11}{name:#}  {about}");
        }
        list.push('\n');
    }
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{list}\
         {head}Options of all commands:{head:#}\n{{options}}\n"
    );
    command.help_template(template)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::super::Cli;
    use super::*;

    #[test]
    fn every_command_stands_in_one_group_on_one_line() {
        let command = grouped(Cli::command());
        let listed: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
        for one in command.get_subcommands().map(Command::get_name) {
            let times = listed.iter().filter(|name| **name == one).count();
            assert_eq!(times, 1, "{one}");
        }
        assert_eq!(listed.len(), command.get_subcommands().count() + 1, "and help");
        let help = command.clone().render_help().to_string();
        for line in help.lines().take_while(|line| !line.starts_with("Options")) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
