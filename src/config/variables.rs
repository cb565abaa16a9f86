//! Environment variables that look like settings and are none.

use std::ffi::OsString;

use clap::Command;

use super::wrong::WrongSetting;

/// How the names of settings' variables begin.
const PREFIX: &str = "LARDER_";
/// From which likeness on (Damerau and Levenshtein, 1: equal) a name is taken for another one
/// that was misspelt.
const ALIKE: f64 = 0.6;

/// Fails for a variable that is called as those of settings are, and is that of none of
/// `command` and the commands below it.
pub fn check(
    command: &Command,
    variables: impl IntoIterator<Item = OsString>,
) -> Result<(), WrongSetting> {
    let all = std::iter::once(command).chain(command.get_subcommands());
    let known = all.flat_map(Command::get_arguments);
    let known: Vec<_> = known
        .filter_map(|arg| Some(arg.get_env()?.to_string_lossy().into_owned()))
        .collect();
    for variable in variables {
        let variable = variable.to_string_lossy();
        let is_one = variable.starts_with(PREFIX);
        if !is_one || is_of_supervisor(&variable) || known.iter().any(|it| *it == variable) {
            continue;
        }
        let likeness = |it: &String| strsim::normalized_damerau_levenshtein(it, &variable);
        let nearest = known
            .iter()
            .max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        let nearest = nearest.filter(|it| likeness(it) >= ALIKE);
        let meant = nearest.map_or("`larder serve --help` names all".to_owned(), |it| {
            format!("did you mean {it}?")
        });
        let told = format!("no setting has the environment variable {variable}; {meant}");
        return Err(WrongSetting::new(&[], told));
    }
    Ok(())
}

/// Whether Kubernetes sets it in each container beside a service that is called larder, or Docker
/// where a container of that name is linked.
fn is_of_supervisor(variable: &str) -> bool {
    let rest = variable.strip_prefix(PREFIX).unwrap_or_default();
    let is_of_port = |rest: &str| {
        let mut parts = rest.split('_');
        let digits = parts.next().unwrap_or_default();
        let is_number = !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit());
        is_number && matches!(parts.next(), Some("TCP" | "UDP" | "SCTP"))
    };
    // Of a service whose name begins so and goes on, there is more before these.
    rest == "PORT"
        || rest.ends_with("SERVICE_HOST")
        || rest.contains("SERVICE_PORT")
        || rest.ends_with("_PORT")
        || rest
            .match_indices("PORT_")
            .any(|(at, it)| is_of_port(rest.split_at(at + it.len()).1))
        || rest == "NAME"
        || rest.starts_with("ENV_")
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    fn told(variable: &str) -> Option<String> {
        let arg = |name: &'static str| Arg::new(name).long(name).env(name);
        let below = Command::new("ls").arg(arg("LARDER_NODE"));
        let command = Command::new("larder").args([arg("LARDER_QUOTA"), arg("PEER_PORT")]);
        let checked = check(&command.subcommand(below), [variable.into()]);
        checked.err().map(|it| it.to_string())
    }

    #[test]
    fn a_misspelt_variable_is_told_with_the_one_that_was_meant() {
        for (variable, meant) in [
            ("LARDER_QUTOA", "did you mean LARDER_QUOTA?"),
            ("LARDER_QUOTAS", "did you mean LARDER_QUOTA?"),
            ("LARDER_NODES", "did you mean LARDER_NODE?"),
            ("LARDER_SOMETHING_ELSE", "`larder serve --help` names all"),
        ] {
            let told = told(variable).unwrap();
            assert!(told.contains(variable) && told.ends_with(meant), "{told}");
        }
    }

    #[test]
    fn what_is_a_setting_or_of_somebody_else_is_taken() {
        for variable in [
            "LARDER_QUOTA",
            "LARDER_NODE",
            "PEER_PROT",
            "LARDER",
            "XLARDER_QUTOA",
            "LARDER_PORT",
            "LARDER_SERVICE_HOST",
            "LARDER_SERVICE_PORT",
            "LARDER_SERVICE_PORT_HTTP",
            "LARDER_PORT_5004_TCP",
            "LARDER_PORT_5004_TCP_ADDR",
            "LARDER_WEB_SERVICE_HOST",
            "LARDER_WEB_PORT",
            "LARDER_WEB_PORT_80_TCP_PROTO",
            "LARDER_NAME",
            "LARDER_ENV_PATH",
        ] {
            assert_eq!(told(variable), None);
        }
    }
}
