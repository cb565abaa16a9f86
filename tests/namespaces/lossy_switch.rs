//! A switch that loses and delays frames, in a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

/// How many seconds every frame is held back.
const DELAY: &str = "0.01";
/// Which share of all frames is lost.
const LOSS: &str = "0.03";

/// A running switch, killed on drop.
pub(crate) struct LossySwitch {
    process: Child,
    answers: BufReader<ChildStdout>,
}

impl LossySwitch {
    /// Switches between these interfaces of a network namespace; what is wrong where it
    /// cannot.
    pub(crate) fn start(space: &str, interfaces: &[String]) -> Result<Self, String> {
        let mut command = Command::new("ip");
        command.args([
            "netns",
            "exec",
            space,
            "python3",
            &script("lossy_switch.py"),
        ]);
        command.args([LOSS, DELAY]).args(interfaces);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().map_err(|e| format!("{command:?}: {e}"))?;
        let answers = BufReader::new(process.stdout.take().unwrap());
        let mut switch = Self { process, answers };
        match switch.answer().as_str() {
            "switching" => Ok(switch),
            _ => Err(format!("{command:?} does not start")),
        }
    }

    /// Ends it; how many frames it has lost.
    pub(crate) fn stop(mut self) -> u64 {
        drop(self.process.stdin.take());
        self.answer().parse().unwrap()
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for LossySwitch {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where a script of the tests is.
pub(crate) fn script(name: &str) -> String {
    format!("{}/tests/python/{name}", env!("CARGO_MANIFEST_DIR"))
}
