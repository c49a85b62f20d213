//! Every example is run as a person would run it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod sessions;
mod todo;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn hello_says_hello() {
    let output = Command::new(env!("CARGO_BIN_EXE_hello")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.trim_end().ends_with("says: hello, world"), "{text}");
}

/// Somebody at a terminal.
struct Person {
    child: Child,
    input: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
}

impl Person {
    fn joins(name: &str, room: &str, seed: Option<&str>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chat"));
        command.args(["--local", "--name", name, "--room", room]);
        command.args(seed.iter().flat_map(|seed| ["--seed", seed]));
        Self::starts(command)
    }

    fn starts(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (tell, lines) = mpsc::channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Self { input: child.stdin.take(), child, lines }
    }

    fn says(&mut self, text: &str) {
        writeln!(self.input.as_mut().unwrap(), "{text}").unwrap();
    }

    fn sees(&self, what: impl Fn(&str) -> bool) -> String {
        loop {
            let line = self.lines.recv_timeout(DEADLINE).expect("the line in time");
            if what(&line) {
                return line;
            }
        }
    }

    fn leaves(mut self) {
        drop(self.input.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn two_people_chat() {
    let mut ada = Person::joins("ada", "tea", None);
    let seed = ada.sees(|line| line.trim().starts_with("--seed"));
    let seed = seed.trim().trim_start_matches("--seed ").to_owned();
    let mut bob = Person::joins("bob", "tea", Some(&seed));
    ada.sees(|line| line == "* bob is here");
    bob.sees(|line| line == "* ada is here");
    ada.says("Milk first?");
    bob.sees(|line| line == "ada: Milk first?");
    bob.says("\u{1b}[2JNever.");
    ada.sees(|line| line == "bob: [2JNever.");
    bob.says("/who");
    bob.sees(|line| line == "* here: bob, ada");
    bob.leaves();
    ada.sees(|line| line == "* bob leaves");
    ada.leaves();
}

#[test]
fn a_pool_answers() {
    let pool = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pool"));
        command.args(["--local", "--mesh", "a pool for a test"]).args(args);
        command
    };
    let ada = Person::starts(pool(&["work", "--name", "ada"]));
    let seed = ada.sees(|line| line.trim().starts_with("--seed"));
    let seed = seed.trim().trim_start_matches("--seed ").to_owned();
    let output = pool(&["--seed", &seed, "ask", "--numbers", "100"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("25 primes are below 100"), "{text}");
    assert!(text.contains("ada: 100 answers"), "{text}");
}
