//! Tests that need a process of their own.

use std::env;
use std::process::Command;
use std::thread;

const ALONE: &str = "CORELANE_TEST_ALONE";

/// Whether this process runs nothing but the calling test. If not, runs it in one that does, with
/// these variables: what is counted, limited or laid out there is no other test's doing.
pub(crate) fn alone(variables: &[(&str, &str)]) -> bool {
    if env::var_os(ALONE).is_some() {
        return true;
    }
    let name = thread::current().name().unwrap().to_owned();
    let mut alone = Command::new(env::current_exe().unwrap());
    alone.args(["--exact", &name, "--nocapture"]).env(ALONE, "1").envs(variables.iter().copied());
    let output = alone.output().unwrap();
    let (said, errors) = (output.stdout, output.stderr);
    let said = [said, errors].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    false
}
