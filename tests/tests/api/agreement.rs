//! The reader agrees with a real API server about manifests that have a mistake, whatever it is: what the one refuses, the other refuses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use posthouse_tests::api_server::{ApiServer, text};
use posthouse_tests::binaries::{product, workspace};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::{api, manifests, mutation};

/// Where the reader and the server may differ: what the one says, what the other says, and why that is right.
const EXCUSED: &[(&str, &str, &str)] = &[
    (
        "no matches for kind",
        "is ignored: what is read is",
        "a folder may hold what is for others: it is told of, and left alone",
    ),
    (
        "Error from server (NotFound): error when creating",
        "",
        "a folder has every namespace that is named in it",
    ),
    (
        "unknown object type \"nil\" in Secret",
        "",
        "kubectl looks into a List by rules of its own; the server takes the same Secret (tests/secrets/nulls.yaml)",
    ),
];

/// What one object shows by itself; what it names elsewhere is not there.
const FORM: &[&str] = &[
    "InvalidValue",
    "UnknownField",
    "MissingField",
    "InvalidName",
    "NoObject",
    "InvalidYaml",
    "UnknownKind",
    "UnknownVersion",
];

/// How many files `kubectl` is given at once: it takes longer to start than to ask.
const AT_ONCE: usize = 50;

/// A manifest with a mistake.
struct Case {
    file: PathBuf,
    /// The names of its objects.
    names: Vec<String>,
    change: String,
}

/// `POSTHOUSE_MUTATIONS` says how many (200), `POSTHOUSE_SEED` from which seed (1: the same ones each time; another finds others).
#[test]
fn the_reader_agrees_with_the_server_about_mutated_examples() {
    let shared = api();
    let api = &shared.0;
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seed = number("POSTHOUSE_SEED").unwrap_or(1);
    let mut random = StdRng::seed_from_u64(seed);
    eprintln!("POSTHOUSE_SEED={seed}");
    let folder = tempfile::tempdir().unwrap();
    let examples = examples();
    let count = usize::try_from(number("POSTHOUSE_MUTATIONS").unwrap_or(200)).unwrap();
    let cases: Vec<Case> = (0..count)
        .map(|round| {
            case(&examples, &folder.path().join(format!("{:03}", round / AT_ONCE)), round, &mut random)
        })
        .collect();
    let mut complaints = Vec::new();
    for cases in cases.chunks(AT_ONCE) {
        let (created, findings) = both(api, cases[0].file.parent().unwrap());
        let (taken, said) =
            (String::from_utf8_lossy(&created.stdout), String::from_utf8_lossy(&created.stderr));
        for case in cases {
            let is_taken = |name: &String| taken.contains(&format!("/{name} created"));
            let server_takes = !said.contains(case.file.to_str().unwrap()) && case.names.iter().all(is_taken);
            if server_takes == is_refused(&findings, &case.file) {
                // Among others its words may be told as theirs: once more, alone.
                complaints.extend(disagreement(api, case));
            }
        }
    }
    assert!(
        complaints.is_empty(),
        "{} of them, POSTHOUSE_SEED={seed}:\n{}",
        complaints.len(),
        complaints.join("\n")
    );
}

/// What the server says to a file or a folder, and what the reader finds in it.
fn both(api: &ApiServer, path: &Path) -> (std::process::Output, Vec<Value>) {
    let create = ["create", "--validate=strict", "--dry-run=server", "-f", path.to_str().unwrap()];
    let mut validate = Command::new(product("posthouse-operator").unwrap());
    let reader = validate.args(["validate", "-o", "json", "-f"]).arg(path).output().unwrap();
    (api.kubectl(&create).unwrap(), serde_json::from_slice(&reader.stdout).unwrap())
}

fn is_refused(findings: &[Value], file: &Path) -> bool {
    let name = file.file_name().unwrap().to_str().unwrap();
    findings.iter().any(|one| one["file"] == name && FORM.iter().any(|reason| one["reason"] == *reason))
}

fn disagreement(api: &ApiServer, case: &Case) -> Option<String> {
    let (server, findings) = both(api, &case.file);
    let (is_refused, said) = (is_refused(&findings, &case.file), text(&server));
    if is_refused != server.status.success() || is_excused(&said, &findings) {
        return None;
    }
    let errors: Vec<_> = findings.iter().filter(|one| one["severity"] == "Error").collect();
    let manifest = fs::read_to_string(&case.file).unwrap();
    Some(format!("{}:\n  server: {said}  reader: {errors:?}\n{manifest}", case.change))
}

fn is_excused(server: &str, findings: &[Value]) -> bool {
    EXCUSED.iter().any(|(of_server, of_reader, _why)| {
        let told = |one: &Value| one["message"].as_str().is_some_and(|message| message.contains(of_reader));
        server.contains(of_server) && (of_reader.is_empty() || findings.iter().any(told))
    })
}

/// Writes an example with a mistake: alone, in a list, with an anchor, beside another document.
fn case(examples: &[Value], folder: &Path, round: usize, random: &mut StdRng) -> Case {
    let name = format!("mutated-{round}");
    let mut names = vec![name.clone()];
    let mut document = examples.choose(random).unwrap().clone();
    document["metadata"]["name"] = name.as_str().into();
    let of_kind = document["kind"].clone();
    let change = if of_kind == "Secret" || random.random_range(0..8) == 0 {
        mutation::mutate_but_kind(&mut document, random)
    } else {
        mutation::mutate(&mut document["spec"], random)
    };
    let mut change = format!("{round}, {of_kind} {change}");
    if document.is_null() {
        document = examples[0].clone(); // no document at all, which kubectl has nothing to say to
        document["metadata"]["name"] = name.into();
    }
    if random.random_range(0..8) == 0 {
        document = json!({"apiVersion": "v1", "kind": "List", "items": [document]});
    }
    let mut text = serde_json::to_string_pretty(&document).unwrap();
    if random.random_range(0..4) == 0 {
        let (anchored, how) = mutation::with_anchor(&document, random);
        (text, change) = (anchored, format!("{change}, {how}"));
    }
    if random.random_range(0..4) == 0 {
        let mut other = examples.choose(random).unwrap().clone();
        names.push(format!("another-{round}"));
        other["metadata"]["name"] = names[1].as_str().into();
        let other = serde_json::to_string(&other).unwrap();
        text = match random.random_range(0..3) {
            0 => format!("---\n{text}\n---\n{other}\n"),
            1 => format!("# first\n{other}\n---\n# second\n{text}\n...\n"),
            _ => format!("---\n\n---\n{other}\n--- \n{text}\n---\n"),
        };
        change.push_str(", one of several documents");
    }
    fs::create_dir_all(folder).unwrap();
    let file = folder.join(format!("{round:05}.json.yaml"));
    fs::write(&file, mutation::plain(&text)).unwrap();
    Case { file, names, change }
}

/// The resources of the examples, and a Secret of each sort that a manifest may have.
fn examples() -> Vec<Value> {
    let mut files = manifests(&workspace().join("examples/api"));
    files.extend(manifests(&workspace().join("examples/quickstart")));
    let mut documents = Vec::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|ending| ending == "yaml")) {
        for document in serde_yaml::Deserializer::from_str(&fs::read_to_string(file).unwrap()) {
            let document = Value::deserialize(document).unwrap();
            if document["kind"] != "Secret" {
                documents.push(document);
            }
        }
    }
    assert_eq!(documents.len(), 8 + 5);
    for rest in [
        json!({"data": {"a": "b2xk", "b": "AA=="}, "stringData": {"a": "new", "c": "text"}}),
        json!({"type": "kubernetes.io/basic-auth", "immutable": true, "stringData": {"username": "a", "password": "b"}}),
        json!({"type": "kubernetes.io/tls", "data": {"tls.crt": "AA==", "tls.key": "AA=="}}),
    ] {
        let metadata =
            json!({"name": "s", "namespace": "mail", "labels": {"a": "b"}, "annotations": {"note": "B c"}});
        let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata});
        secret.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        documents.push(secret);
    }
    documents
}
