//! The reader over real files.

use std::fs;

use super::*;

const DOMAIN: &str = "apiVersion: posthouse.dev/v1alpha1
kind: MailDomain
metadata: {name: example-com, namespace: mail}
spec:
  gatewayRef: {name: edge}
  domain: example.com
  recipients: {policy: AcceptAll}
";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn read(files: &[(&str, &str)]) -> Reading {
    Reader::new(folder(files).path()).read(&Reading::default()).unwrap()
}

fn identities(reading: &Reading) -> Vec<String> {
    reading.documents.keys().map(ToString::to_string).collect()
}

fn lines(reading: &Reading) -> Vec<String> {
    reading.findings.iter().map(ToString::to_string).collect()
}

#[test]
fn objects_of_several_files_and_documents_are_read() {
    let reading = read(&[
        (
            "a.yaml",
            &format!(
                "---\n# nothing\n---\n{DOMAIN}---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: mail}}\n"
            ),
        ),
        (
            "b.json",
            r#"{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "b"}}"#,
        ),
        ("ignored.txt", "not yaml: ["),
        (".hidden.yaml", "not yaml: ["),
    ]);
    assert_eq!(identities(&reading), ["MailDomain mail/example-com", "Namespace mail", "Secret default/s"]);
    assert_eq!(lines(&reading), Vec::<String>::new());
    let resources = reading.resources();
    assert_eq!(resources.domains[0].spec.domain, "example.com");
    assert_eq!((resources.secrets.len(), resources.namespaces.len()), (1, 1));
}

#[test]
fn a_list_is_its_items() {
    let text = "apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Namespace
  metadata: {name: one}
- apiVersion: v1
  kind: Namespace
  metadata: {nam: two}
";
    let reading = read(&[("list.yaml", text)]);
    assert_eq!(identities(&reading), ["Namespace one"]);
    let found = lines(&reading);
    assert!(
        found.iter().any(|line| line.starts_with("Error list.yaml:9 metadata.nam: UnknownField: ")),
        "{found:#?}"
    );
}

#[test]
fn an_unknown_field_is_refused_with_file_line_and_cure() {
    let text =
        DOMAIN.replace("  recipients: {policy: AcceptAll}\n", "  recipients:\n    polycy: AcceptAll\n");
    let reading = read(&[("domain.yaml", &text)]);
    assert!(reading.documents.is_empty());
    let found = lines(&reading);
    let line = found.iter().find(|line| line.contains("UnknownField")).unwrap();
    assert!(
        line.starts_with("Error MailDomain mail/example-com spec.recipients.polycy: UnknownField: "),
        "{line}"
    );
    assert!(line.contains("did you mean policy?"), "{line}");
    assert!(line.ends_with("(domain.yaml:8)"), "{line}");
}

#[test]
fn a_boolean_of_yaml_1_1_is_no_text() {
    let text = DOMAIN.replace("domain: example.com", "domain: no");
    let found = lines(&read(&[("domain.yaml", &text)]));
    assert_eq!(found.len(), 1);
    assert!(
        found[0]
            .starts_with("Error MailDomain mail/example-com spec.domain: InvalidValue: false is not text"),
        "{found:?}"
    );
    let text = DOMAIN.replace("spec:\n", "spec:\n  suspend: on\n");
    let reading = read(&[("domain.yaml", &text)]);
    assert!(reading.resources().domains[0].spec.suspend, "{:?}", lines(&reading));
}

#[test]
fn string_data_wins_over_data() {
    let text = "apiVersion: v1
kind: Secret
metadata: {name: s, namespace: mail}
data: {a: b2xk, b: aW4gYmFzZTY0}
stringData: {a: new}
";
    let reading = read(&[("secret.yaml", text)]);
    let secret = reading.resources().secrets.remove(0);
    let data = secret.data.clone().unwrap();
    assert_eq!((data["a"].0.as_slice(), data["b"].0.as_slice()), (&b"new"[..], &b"in base64"[..]));
    assert_eq!(secret.metadata.namespace.as_deref(), Some("mail"));
}

/// What a real API server stores of these files, the first line of each: a test of the whole holds the server to it.
#[test]
fn a_secret_has_what_an_api_server_stores_of_it() {
    for file in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/secrets")).unwrap() {
        let file = file.unwrap().path();
        let text = fs::read_to_string(&file).unwrap();
        let told: serde_json::Value =
            serde_json::from_str(text.lines().next().unwrap().trim_start_matches("# ")).unwrap();
        let reading = read(&[("secret.yaml", &text)]);
        assert_eq!(lines(&reading), Vec::<String>::new(), "{}", file.display());
        let secret = reading.resources().secrets.remove(0);
        let data = serde_json::to_value(secret.data.clone().unwrap()).unwrap();
        assert_eq!(data, told, "{}", file.display());
    }
}

#[test]
fn a_wrong_secret_shows_no_value() {
    let text = "apiVersion: v1
kind: Secret
metadata: {name: s}
data:
  password: hunter2!
stringData:
  pin: 8861
";
    let reading = read(&[("secret.yaml", text)]);
    let found = lines(&reading);
    assert!(
        found[0].starts_with("Error Secret default/s data.password: InvalidValue: is not base64"),
        "{found:?}"
    );
    assert!(found[0].ends_with("(secret.yaml:5)"), "{found:?}");
    assert!(
        found[1].starts_with("Error Secret default/s stringData.pin: InvalidValue: is text"),
        "{found:?}"
    );
    assert!(!format!("{reading:?}").contains("hunter2") && !format!("{reading:?}").contains("8861"));
}

#[test]
fn kinds_that_are_not_ours_are_told_from_wrong_ones() {
    let found = lines(&read(&[
        ("a.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n"),
        ("b.yaml", "apiVersion: posthouse.dev/v1alpha1\nkind: MailDomian\nmetadata: {name: x}\n"),
        ("c.yaml", "apiVersion: posthouse.dev/v1\nkind: MailDomain\nmetadata: {name: x}\n"),
        ("d.yaml", "just: text\n"),
        ("e.yaml", "- a\n- b\n"),
    ]));
    for (line, start) in found.iter().zip(
        [
            "Warning a.yaml:2: ForeignKind: apps/v1 Deployment is ignored",
            "Error b.yaml:2 kind: UnknownKind: MailDomian is not one of the kinds MailGateway, MailDomain",
            "Error c.yaml:1 apiVersion: UnknownVersion: ",
            "Error d.yaml:1 apiVersion: MissingField: ",
            "Error e.yaml:1: NoObject: ",
        ]
        .iter(),
    ) {
        assert!(found.iter().any(|line| line.starts_with(start)), "{start} is not in {found:#?}");
        assert!(!line.is_empty());
    }
    assert_eq!(found.len(), 5);
}

#[test]
fn an_object_that_is_described_twice_is_told_and_the_first_holds() {
    let reading = read(&[
        ("a.yaml", DOMAIN),
        ("b.yaml", &DOMAIN.replace("domain: example.com", "domain: example.net")),
    ]);
    assert_eq!(reading.resources().domains[0].spec.domain, "example.com");
    let found = lines(&reading);
    assert!(found[0].contains("DuplicateObject: it is described in a.yaml:1 already"), "{found:?}");
}

#[test]
fn a_file_that_breaks_keeps_what_it_said_before() {
    let two = format!(
        "{DOMAIN}---\n{}",
        DOMAIN.replace("example-com", "example-net").replace("example.com", "example.net")
    );
    let folder = folder(&[("a.yaml", &two)]);
    let file = folder.path().join("a.yaml");
    let mut reader = Reader::new(folder.path());
    let good = reader.read(&Reading::default()).unwrap();
    assert_eq!(good.documents.len(), 2);

    fs::write(&file, "spec: [\n").unwrap();
    let reading = reader.read(&good).unwrap();
    assert_eq!(reading.documents.len(), 2, "nothing is known of a file that is no YAML");
    assert!(lines(&reading)[0].contains("InvalidYaml"));

    // One of two is wrong: it stays as it was, the other one follows the file.
    let edited =
        two.replace("AcceptAll}\n---", "Nobody}\n---").replace("metadata: {name: example-net", "# x\n$0");
    let edited = edited.replace("$0", "metadata: {name: example-net").replace("{policy: AcceptAll}", "{}");
    fs::write(&file, edited).unwrap();
    let reading = reader.read(&reading).unwrap();
    let domains = reading.resources().domains;
    let policies = domains.iter().map(|domain| format!("{:?}", domain.spec.recipients));
    let policies: Vec<_> = policies.collect();
    assert!(policies[0].contains("AcceptAll") && !policies[1].contains("AcceptAll"), "{policies:?}");
    assert_eq!(reading.findings.len(), 1);

    // What is taken out of a good file is gone.
    fs::write(&file, DOMAIN).unwrap();
    let reading = reader.read(&reading).unwrap();
    assert_eq!(identities(&reading), ["MailDomain mail/example-com"]);
    fs::remove_file(&file).unwrap();
    assert!(reader.read(&reading).unwrap().documents.is_empty());
}

#[test]
fn what_did_not_change_is_the_same_object_and_knows_its_new_line() {
    let part = |name: &str| {
        format!(
            "{}---\n",
            DOMAIN.replace("example-com", name).replace("example.com", &format!("{name}.example"))
        )
    };
    let text: String = ["a", "b", "c"].into_iter().map(part).collect();
    let folder = folder(&[("a.yaml", &text), ("b.yaml", &part("d"))]);
    let mut reader = Reader::new(folder.path());
    let before = reader.read(&Reading::default()).unwrap();
    fs::write(folder.path().join("a.yaml"), text.replace("name: b,", "name: b,\n\n ")).unwrap();
    let after = reader.read(&before).unwrap();
    let item = |reading: &Reading, name: &str| {
        let found = reading.documents.values().find(|document| document.identity.key.name == name).unwrap();
        let Item::Ours(object) = &found.item else { panic!("{found:?}") };
        (Arc::clone(object), found.place(Some("spec.domain")).line.unwrap())
    };
    for (name, is_same, moved) in [("a", true, 0), ("b", false, 2), ("c", true, 2), ("d", true, 0)] {
        let ((one, line), (other, other_line)) = (item(&before, name), item(&after, name));
        assert_eq!((Arc::ptr_eq(&one, &other), other_line - line), (is_same, moved), "{name}");
    }
    assert_eq!(after.findings, []);
}

#[test]
fn a_file_that_is_written_twice_within_one_step_of_the_clock_is_read_twice() {
    let folder = folder(&[("a.yaml", DOMAIN)]);
    let file = folder.path().join("a.yaml");
    let mut reader = Reader::new(folder.path());
    let mut reading = reader.read(&Reading::default()).unwrap();
    let modified = fs::metadata(&file).unwrap().modified().unwrap();
    for policy in ["Listed   ", "AcceptAll"] {
        fs::write(&file, DOMAIN.replace("AcceptAll", policy)).unwrap();
        fs::File::options().write(true).open(&file).unwrap().set_modified(modified).unwrap();
        assert!(reader.has_changed());
        reading = reader.read(&reading).unwrap();
        let recipients = format!("{:?}", reading.resources().domains[0].spec.recipients);
        assert!(recipients.contains(policy.trim()), "{recipients}");
    }
}

#[test]
fn a_mounted_config_map_is_followed_through_its_links() {
    use std::os::unix::fs::symlink;
    let folder = folder(&[]);
    let path = |name: &str| folder.path().join(name);
    for (version, policy) in [("..one", "AcceptAll"), ("..two", "Listed")] {
        fs::create_dir(path(version)).unwrap();
        fs::write(path(version).join("a.yaml"), DOMAIN.replace("AcceptAll", policy)).unwrap();
    }
    symlink("..one", path("..data")).unwrap();
    symlink("..data/a.yaml", path("a.yaml")).unwrap();
    let mut reader = Reader::new(folder.path());
    let before = reader.read(&Reading::default()).unwrap();
    assert_eq!(before.documents.len(), 1);
    symlink("..two", path("..data_new")).unwrap();
    fs::rename(path("..data_new"), path("..data")).unwrap();
    assert!(reader.has_changed());
    let after = reader.read(&before).unwrap();
    let policy = format!("{:?}", after.resources().domains[0].spec.recipients);
    assert!(policy.contains("Listed"), "{policy}");
}

#[test]
fn what_must_not_change_is_refused_and_stays_as_an_api_server_has_it() {
    let folder = folder(&[("a.yaml", DOMAIN)]);
    let mut reader = Reader::new(folder.path());
    let mut reading = reader.read(&Reading::default()).unwrap();
    let edited = DOMAIN.replace("domain: example.com", "domain: example.net");
    fs::write(folder.path().join("a.yaml"), &edited).unwrap();
    for _ in 0..2 {
        reading = reader.read(&reading).unwrap();
        assert_eq!(reading.resources().domains[0].spec.domain, "example.com");
        let found = lines(&reading);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("renamedFrom"), "{found:?}");
    }
    // Another file does not help, for it is the same object; a folder without it does: then it is made anew.
    fs::rename(folder.path().join("a.yaml"), folder.path().join("b.yaml")).unwrap();
    reading = reader.read(&reading).unwrap();
    assert_eq!(reading.resources().domains[0].spec.domain, "example.com");
    reading = reader.read(&Reading::default()).unwrap();
    assert_eq!(reading.resources().domains[0].spec.domain, "example.net");
}

#[test]
fn a_resource_that_was_never_good_is_told_as_refused_even_where_it_is_no_yaml() {
    let reading = read(&[
        ("a.yaml", &DOMAIN.replace("AcceptAll", "Nobody")),
        ("b.yaml", &format!("{}  aliases: [\n", DOMAIN.replace("example-com", "broken"))),
    ]);
    let key = |name: &str| (Kind::MailDomain, ObjectKey::new("mail", name));
    assert_eq!(reading.refused, [key("broken"), key("example-com")].into());
    assert!(reading.documents.is_empty());
}

#[test]
fn what_is_no_text_is_told() {
    let folder = folder(&[]);
    fs::write(folder.path().join("a.yaml"), b"kind: x\nname: \xff\n").unwrap();
    let reading = Reader::new(folder.path()).read(&Reading::default()).unwrap();
    assert_eq!(lines(&reading), ["Error a.yaml: Unreadable: it is not UTF-8 (line 2): save it as UTF-8"]);
}

#[test]
fn a_name_that_kubernetes_would_refuse_is_refused() {
    for (name, field) in
        [("Example", "name: example-com"), ("-a", "name: example-com"), ("a_b", "namespace: mail")]
    {
        let key = field.split(':').next().unwrap();
        let text = DOMAIN.replace(field, &format!("{key}: {name:?}"));
        let found = lines(&read(&[("a.yaml", &text)]));
        assert!(found[0].contains(&format!("metadata.{key}: InvalidName")), "{found:?}");
    }
}

#[test]
fn a_folder_that_is_not_there_is_an_error_that_names_it() {
    let error = Reader::new("/nowhere/at/all").read(&Reading::default()).unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/at/all: cannot be read: "), "{error}");
}

#[test]
fn the_examples_are_read_without_a_finding() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/api");
    let reading = Reader::new(examples).read(&Reading::default()).unwrap();
    assert_eq!(lines(&reading), Vec::<String>::new());
    assert!(reading.documents.len() >= 8);
}

/// What an edit costs with ten thousand domains: `cargo test --release -p posthouse-operator ten_thousand -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn ten_thousand_domains_are_read_again_in_milliseconds() {
    let domain = |number: usize| {
        let users = (0..10).map(|user| format!("    - name: user{user}\n")).collect::<Vec<_>>().concat();
        format!(
            "apiVersion: posthouse.dev/v1alpha1\nkind: MailDomain\nmetadata:\n  name: d{number}\n  namespace: mail\nspec:\n  \
             gatewayRef: {{name: edge}}\n  domain: d{number}.example\n  recipients:\n    users:\n{users}  localDelivery:\n    lmtp: {{host: \
             dovecot.mail.svc, port: 24}}\n"
        )
    };
    let memory = || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        status.lines().find(|line| line.starts_with("VmRSS")).unwrap().to_owned()
    };
    // Of this thread, in nanoseconds: the machine may have other things to do.
    let busy = || {
        let spent = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        std::time::Duration::from_nanos(spent.split(' ').next().unwrap().parse().unwrap())
    };
    for files in [10_000, 100, 1] {
        let each = 10_000 / files;
        let folder = tempfile::tempdir().unwrap();
        let path = |file: usize| folder.path().join(format!("f{file:05}.yaml"));
        for file in 0..files {
            let text: Vec<_> = (file * each..(file + 1) * each).map(domain).collect();
            fs::write(path(file), text.join("---\n")).unwrap();
        }
        std::thread::sleep(std::time::Duration::from_secs(3)); // until the stamps are trusted
        let mut reader = Reader::new(folder.path());
        let before = memory();
        let began = busy();
        let mut reading = reader.read(&Reading::default()).unwrap();
        assert_eq!((reading.documents.len(), reading.findings.len()), (10_000, 0));
        eprintln!(
            "{files} files: {:?} at first, {before}, after it {}",
            busy().saturating_sub(began),
            memory()
        );
        let mut took = Vec::new();
        for edit in 0..20 {
            let text = fs::read_to_string(path(files / 2)).unwrap();
            let beside = folder.path().join(".new");
            fs::write(&beside, text.replacen("name: user", &format!("name: user{edit}"), 1)).unwrap();
            fs::rename(&beside, path(files / 2)).unwrap();
            let began = busy();
            reading = reader.read(&reading).unwrap();
            took.push(busy().saturating_sub(began));
        }
        let began = busy();
        reader.has_changed();
        eprintln!("  a look {:?}, each edit {took:?}, {}", busy().saturating_sub(began), memory());
    }
}
