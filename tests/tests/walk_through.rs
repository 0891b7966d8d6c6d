//! The walk-through in the docs is pasted, block after block, and prints what it says it prints.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

use std::fs;
use std::process::Command;

use posthouse_tests::binaries::{product, system, workspace};
use posthouse_tests::process::Child;
use posthouse_tests::wait::SOON;

/// A line between the output of one block and the next.
const BETWEEN: &str = "=== the next block ===";

/// A block of shell, and what stands below it.
struct Step {
    shell: String,
    prints: Option<String>,
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let block = block.join("\n") + "\n";
        match language {
            "sh" => steps.push(Step { shell: block, prints: None }),
            "text" => steps.last_mut().unwrap().prints = Some(block),
            other => panic!("a block of {other}"),
        }
    }
    steps
}

/// What differs from run to run: ages, and the room that they take.
fn settled(output: &str) -> String {
    let line = |line: &str| {
        let words = line.split_whitespace();
        let is_age = |word: &str| {
            let is_part = |c: char| c.is_ascii_digit() || matches!(c, 'h' | 'm' | 's');
            word.starts_with(|c: char| c.is_ascii_digit()) && word.ends_with('s') && word.chars().all(is_part)
        };
        words.map(|word| if is_age(word) { "AGE" } else { word }).collect::<Vec<_>>().join(" ")
    };
    output.trim().lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_walk_through_works_as_it_is_written() {
    let document = workspace().join("docs/walk-through.md");
    let text = fs::read_to_string(&document).unwrap();
    let steps = steps(&text);
    assert!(steps.len() > 10);
    let folder = tempfile::tempdir().unwrap();
    let programs = product("posthouse-operator").unwrap().parent().unwrap().to_owned();
    assert!(product("posthouse-node").unwrap().starts_with(&programs));
    system("swaks", "swaks").unwrap();
    let script: Vec<&str> = steps.iter().map(|step| step.shell.as_str()).collect();
    let script = format!("set -eu\n{}", script.join(&format!("echo '{BETWEEN}'\n")));
    fs::write(folder.path().join("script"), script).unwrap();
    let mut command = Command::new("bash");
    command.arg("script").current_dir(folder.path());
    command.env("PATH", format!("{}:{}", programs.display(), std::env::var("PATH").unwrap()));
    let mut shell = Child::start_group("shell", command, folder.path()).unwrap();
    let ended = shell.wait(SOON * 4).unwrap();
    let printed = shell.log().unwrap();
    let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    assert!(ended.success(), "{printed}\n{log}");
    if std::env::var_os("UPDATE_WALK_THROUGH").is_some() {
        return fs::write(document, updated(&text, &printed)).unwrap();
    }
    for (step, printed) in steps.iter().zip(printed.split(BETWEEN)) {
        let expected = step.prints.as_deref().unwrap_or_default();
        assert_eq!(settled(printed), settled(expected), "{}", step.shell);
    }
}

/// The document with what was printed.
fn updated(text: &str, printed: &str) -> String {
    let mut outputs = printed.split(BETWEEN).map(str::trim);
    let (mut written, mut last, mut is_old) = (String::new(), "", false);
    for line in text.lines() {
        match line {
            "```sh" => last = outputs.next().unwrap_or_default(),
            "```text" => {
                written.extend(["```text\n", last, "\n"]);
                is_old = true;
                continue;
            }
            "```" => is_old = false,
            _ => {}
        }
        if !is_old {
            written.push_str(line);
            written.push('\n');
        }
    }
    written
}
