//! Environment variables that look like settings and are none.

use std::ffi::{OsStr, OsString};

use clap::{Arg, Command};

use super::alike::{hint, likeness, meant, setting_of_others};
use super::wrong::WrongSetting;

/// How the names of settings' variables begin.
const PREFIX: &str = "LARDER_";

/// The variable of a setting, and how it would be called if it were called after its flag; some
/// have the names that the older service gave them.
struct Known {
    variable: String,
    after_flag: String,
}

impl Known {
    fn of(arg: &Arg) -> Option<Self> {
        let variable = arg.get_env()?.to_string_lossy().into_owned();
        let flag = arg.get_long().unwrap_or_default();
        let after_flag = in_variable(flag);
        Some(Self {
            variable,
            after_flag,
        })
    }

    /// How much it is like a variable; what begins all such names is no likeness.
    fn likeness(&self, variable: &str) -> f64 {
        let variable = without_prefix(variable);
        let likeness = |it: &str| likeness(without_prefix(it), variable);
        likeness(&self.variable).max(likeness(&self.after_flag))
    }
}

fn without_prefix(variable: &str) -> &str {
    variable.strip_prefix(PREFIX).unwrap_or(variable)
}

/// The name of a flag as variables have it.
fn in_variable(flag: &str) -> String {
    format!("{PREFIX}{}", flag.to_uppercase().replace('-', "_"))
}

/// Fails for a variable that is called as those of settings are, and is that of none of
/// `command` and the commands below it.
pub fn check(
    command: &Command,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(), WrongSetting> {
    let all = std::iter::once(command).chain(command.get_subcommands());
    let known: Vec<_> = all
        .flat_map(Command::get_arguments)
        .filter_map(Known::of)
        .collect();
    for (variable, value) in variables {
        let variable = variable.to_string_lossy();
        let is_known = known.iter().any(|it| it.variable == variable);
        if !variable.starts_with(PREFIX) || is_known || is_of_supervisor(&variable, &value) {
            continue;
        }
        let word = without_prefix(&variable).to_lowercase().replace('_', "-");
        let of_others = setting_of_others(&word).map(in_variable);
        let of_others = of_others.and_then(|it| known.iter().find(|of| of.after_flag == it));
        let meant = of_others.or_else(|| meant(&known, |it| it.likeness(&variable)));
        let hint = hint(meant.map(|it| &*it.variable));
        let told = format!("no setting has the environment variable {variable}; {hint}");
        return Err(WrongSetting::new(&[], told));
    }
    Ok(())
}

/// Whether Kubernetes sets it in each container beside a service that is called larder, or Docker
/// where a container of that name is linked. Both give a whole address where people would give the
/// number of a port, and Docker gives a path as the name.
fn is_of_supervisor(variable: &str, value: &OsStr) -> bool {
    let rest = variable.strip_prefix(PREFIX).unwrap_or_default();
    let value = value.to_string_lossy();
    let has_address = value.contains("://");
    let is_of_port = |rest: &str| {
        let mut parts = rest.split('_');
        let digits = parts.next().unwrap_or_default();
        let is_number = !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit());
        is_number && matches!(parts.next(), Some("TCP" | "UDP" | "SCTP"))
    };
    // Of a service whose name begins so and goes on, there is more before these.
    has_address && (rest == "PORT" || rest.ends_with("_PORT"))
        || rest.ends_with("SERVICE_HOST")
        || rest.contains("SERVICE_PORT")
        || rest
            .match_indices("PORT_")
            .any(|(at, it)| is_of_port(rest.split_at(at + it.len()).1))
        || rest == "NAME" && value.starts_with('/')
        || rest.starts_with("ENV_")
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    fn told(variable: &str, value: &str) -> Option<String> {
        let arg = |name: &'static str| Arg::new(name).long(name).env(name);
        let below = Command::new("ls").arg(arg("LARDER_NODE"));
        let port = Arg::new("port").long("port").env("PEER_PORT");
        let url = Arg::new("base-url").long("base-url").env("BASE_URL");
        let storage = Arg::new("storage").long("storage").env("STORAGE_DIR");
        let command = Command::new("larder").args([arg("LARDER_QUOTA"), port, url, storage]);
        let checked = check(
            &command.subcommand(below),
            [(variable.into(), value.into())],
        );
        checked.err().map(|it| it.to_string())
    }

    #[test]
    fn a_misspelt_variable_is_told_with_the_one_that_was_meant() {
        for (variable, meant) in [
            ("LARDER_QUTOA", "did you mean LARDER_QUOTA?"),
            ("LARDER_QUOTAS", "did you mean LARDER_QUOTA?"),
            ("LARDER_NODES", "did you mean LARDER_NODE?"),
            ("LARDER_PORT", "did you mean PEER_PORT?"),
            ("LARDER_PEER_PORT", "did you mean PEER_PORT?"),
            ("LARDER_BASE_URL", "did you mean BASE_URL?"),
            ("LARDER_HOME", "did you mean STORAGE_DIR?"),
            ("LARDER_DATA_DIR", "did you mean STORAGE_DIR?"),
            ("LARDER_NAME", "`larder serve --help` names all"),
            ("LARDER_SOMETHING_ELSE", "`larder serve --help` names all"),
        ] {
            let told = told(variable, "5999").unwrap();
            assert!(told.contains(variable) && told.ends_with(meant), "{told}");
        }
    }

    #[test]
    fn what_is_a_setting_or_of_somebody_else_is_taken() {
        for (variable, value) in [
            ("LARDER_QUOTA", "1"),
            ("LARDER_NODE", "x"),
            ("PEER_PROT", "1"),
            ("LARDER", "1"),
            ("XLARDER_QUTOA", "1"),
            ("LARDER_PORT", "tcp://10.0.0.1:5004"),
            ("LARDER_SERVICE_HOST", "10.0.0.1"),
            ("LARDER_SERVICE_PORT", "5004"),
            ("LARDER_SERVICE_PORT_HTTP", "5004"),
            ("LARDER_PORT_5004_TCP", "tcp://10.0.0.1:5004"),
            ("LARDER_PORT_5004_TCP_ADDR", "10.0.0.1"),
            ("LARDER_WEB_SERVICE_HOST", "10.0.0.1"),
            ("LARDER_WEB_PORT", "udp://10.0.0.1:80"),
            ("LARDER_WEB_PORT_80_TCP_PROTO", "tcp"),
            ("LARDER_NAME", "/web/larder"),
            ("LARDER_ENV_PATH", "/bin"),
        ] {
            assert_eq!(told(variable, value), None);
        }
    }
}
