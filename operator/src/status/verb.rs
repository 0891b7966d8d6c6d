//! `status`: what a local run says of its resources, as `kubectl get` prints it. It reads the state folder and writes standard output; it asks
//! no run, and changes nothing.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use k8s_openapi::jiff::Timestamp;
use posthouse_crds::Kind;
use rustix::{
    fs::{FlockOperation, flock},
    process::{Pid, test_kill_process},
};
use serde_json::{Value, json};

use super::{
    files,
    kinds::{self, Names},
    table::{Layout, table},
};
use crate::{Ending, failure::Failure};

/// The command line of `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Which kinds, such as md,rr or mgw/edge; all if absent
    #[arg(value_name = "KIND[/NAME]")]
    kind: Option<String>,
    /// Which of them; all if absent
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// The state folder of the run
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// Only resources of this namespace
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Resources of all namespaces, which is the default
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    /// The form of the answer; a short table if absent
    #[arg(short, long, value_enum)]
    output: Option<Form>,
}

/// The form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A table with the message
    Wide,
    /// The objects
    Json,
    /// The objects
    Yaml,
}

/// Prints the statuses that are asked for.
pub(crate) fn run(args: &StatusArgs) -> Result<Ending, Failure> {
    let (kinds, names) = asked(args)?;
    let folder = files::folder(&args.state);
    let files = match files::files(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Failure::NoStatuses { path: folder });
        }
        files => files.map_err(|source| Failure::State { doing: "be read", path: folder, source })?,
    };
    if !is_run_alive(&args.state) {
        eprintln!("no run uses this state: this is what was last known");
    }
    let mut objects = Vec::new();
    for file in files {
        match files::read(&file) {
            None => {}
            Some(Ok(object)) => objects.push(object),
            Some(Err(why)) => eprintln!("{}: {why}; the next run writes it anew", file.display()),
        }
    }
    let is_meant = |object: &&Value| {
        let is_here = args.namespace.as_deref().is_none_or(|here| text(object, "namespace") == here);
        is_here && (names.is_empty() || names.iter().any(|name| text(object, "name") == name))
    };
    let mut meant: Vec<(Kind, Vec<&Value>)> = Vec::new();
    for kind in &kinds {
        let is_kind = |object: &&Value| object.get("kind").and_then(Value::as_str) == Some(kind.name());
        let mut of_kind: Vec<_> = objects.iter().filter(is_kind).filter(is_meant).collect();
        of_kind.sort_by_key(|object| (text(object, "namespace"), text(object, "name")));
        let missing = names.iter().find(|name| of_kind.iter().all(|object| text(object, "name") != *name));
        if let Some(name) = missing {
            let namespace = args.namespace.as_ref().map(|one| format!("{one}/")).unwrap_or_default();
            return Err(Failure::NoSuchResource { what: format!("{kind} {namespace}{name}") });
        }
        if !of_kind.is_empty() {
            meant.push((*kind, of_kind));
        }
    }
    let is_one = names.len() == 1 && kinds.len() == 1;
    let answer = match args.output {
        Some(Form::Json) => json(&listed(&meant, is_one))?,
        Some(Form::Yaml) => yaml(&listed(&meant, is_one))?,
        None | Some(Form::Wide) => {
            let layout = Layout {
                has_namespace: args.namespace.is_none(),
                is_wide: args.output.is_some(),
                is_qualified: kinds.len() > 1,
                now: Timestamp::now(),
            };
            let tables = meant.iter().map(|(kind, objects)| table(*kind, objects, layout));
            tables.collect::<Vec<_>>().join("\n")
        }
    };
    if meant.is_empty() {
        let place = args.namespace.as_ref().map(|one| format!(" in namespace {one}")).unwrap_or_default();
        eprintln!("there are no resources of this kind{place}");
    }
    io::stdout().lock().write_all(answer.as_bytes()).map_err(Failure::Output)?;
    Ok(Ending::Good)
}

/// The kinds and names that are asked for; no names are all of them.
fn asked(args: &StatusArgs) -> Result<(Vec<Kind>, Vec<String>), Failure> {
    let Some(text) = &args.kind else { return Ok((Kind::ALL.into(), Vec::new())) };
    let (kinds, name) = match text.split_once('/') {
        Some((kinds, name)) => (kinds, Some(name.to_owned())),
        None => (text.as_str(), None),
    };
    let kinds = kinds::meant(kinds).map_err(|unknown| Failure::NoSuchKind {
        text: unknown.to_owned(),
        names: Kind::ALL.map(|kind| Names::of(kind).plural()).join(", "),
    })?;
    Ok((kinds, name.into_iter().chain(args.names.iter().cloned()).collect()))
}

fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    let text = object.get("metadata").and_then(|metadata| metadata.get(name));
    text.and_then(Value::as_str).unwrap_or_default()
}

/// As kubectl lists objects; the one that was named stands for itself.
fn listed(meant: &[(Kind, Vec<&Value>)], is_one: bool) -> Value {
    let mut items: Vec<_> = meant.iter().flat_map(|(_, objects)| objects.iter().copied().cloned()).collect();
    match items.pop() {
        Some(only) if is_one && items.is_empty() => only,
        last => {
            items.extend(last);
            json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items})
        }
    }
}

fn json(value: &Value) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value);
    text.map(|text| text + "\n").map_err(|error| Failure::Output(error.into()))
}

fn yaml(value: &Value) -> Result<String, Failure> {
    serde_saphyr::to_string(value).map_err(|error| Failure::Output(io::Error::other(error.to_string())))
}

/// Whether a run holds the state. The lock is tried only if the process that took it last seems to live: a run that begins just now must not
/// find it taken by us.
fn is_run_alive(state: &Path) -> bool {
    let lock = state.join("lock");
    let pid = fs::read_to_string(&lock).ok().and_then(|text| text.trim().parse().ok());
    let seems_alive = pid.and_then(Pid::from_raw).is_some_and(|pid| {
        // One of another user is alive too.
        !matches!(test_kill_process(pid), Err(error) if error == rustix::io::Errno::SRCH)
    });
    let is_taken = |file: File| flock(&file, FlockOperation::NonBlockingLockShared).is_err();
    seems_alive && File::open(lock).is_ok_and(is_taken)
}
