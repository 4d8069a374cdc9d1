//! With real files and real inotify. Nothing sleeps: each test waits for the batch that it caused.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;
use crate::source::{Event, Object, Problem};

struct Setup {
    root: TempDir,
    dir: PathBuf,
}

impl Setup {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("manifests");
        fs::create_dir(&dir).unwrap();
        fs::create_dir(root.path().join("state")).unwrap();
        Self { root, dir }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.join(name), text).unwrap();
    }

    fn open(&self) -> Directory {
        Directory::open(&self.dir, &self.root.path().join("state")).unwrap()
    }

    /// Starts the source; what it says first is all there is.
    async fn start(&self) -> (Directory, Batch) {
        let mut source = self.open();
        let first = next(&mut source).await;
        (source, first)
    }
}

async fn next(source: &mut Directory) -> Batch {
    let batch = tokio::time::timeout(Duration::from_secs(20), source.next()).await;
    batch.expect("no batch").expect("the source ended")
}

fn port(name: &str, hostname: &str) -> String {
    format!(
        "---\napiVersion: kube-dhcp.io/v1alpha1\nkind: Port\nmetadata:\n  name: {name}\nspec:\n  networkRef: {{name: lan}}\n  hostname: {hostname}\n"
    )
}

fn subnet(cidr: &str, gateway: &str) -> String {
    format!(
        "apiVersion: kube-dhcp.io/v1alpha1\nkind: Subnet\nmetadata: {{name: s}}\nspec:\n  networkRef: {{name: lan}}\n  cidr: {cidr}\n  gateway: {{type: {gateway}}}\n"
    )
}

/// The events in short: `+name=hostname@generation` and `-name`.
fn events(batch: &Batch) -> Vec<String> {
    let shown = |event: &Event| match event {
        Event::Apply(Object::Port(p)) => format!(
            "+{}={}@{}",
            p.metadata.name.as_deref().unwrap(),
            p.spec.hostname.as_deref().unwrap(),
            p.metadata.generation.unwrap()
        ),
        Event::Apply(object) => format!("+{}", object.key()),
        Event::Delete(key) => format!("-{}", key.name),
        Event::PortsSeen(..) => panic!("a directory has no revisions"),
    };
    batch.events.iter().map(shown).collect()
}

fn problems(batch: &Batch) -> Vec<String> {
    let shown = |p: &Problem| p.to_string().rsplit_once("manifests").unwrap().1.to_owned();
    batch.problems.iter().map(shown).collect()
}

#[tokio::test]
async fn changes_are_told_and_nothing_else() {
    let setup = Setup::new();
    setup.write("a.yaml", &port("a", "x"));
    setup.write("b.yml", &format!("# two\n{}{}", port("b", "x"), port("c", "x")));
    setup.write(".hidden.yaml", &port("h", "x"));
    setup.write("note.txt", "no manifest");
    let (mut source, first) = setup.start().await;
    assert_eq!(events(&first), ["+a=x@1", "+b=x@1", "+c=x@1"]);
    assert_eq!(first.problems, []);

    setup.write("a.yaml", &format!("# the same\n{}", port("a", "x")));
    setup.write("b.yml", &format!("{}{}", port("b", "w"), port("d", "x")));
    assert_eq!(events(&next(&mut source).await), ["+b=w@2", "+d=x@1", "-c"]);
    let labelled = port("a", "x").replace("name: a\n", "name: a\n  labels: {l: v}\n");
    setup.write("a.yaml", &labelled);
    assert_eq!(events(&next(&mut source).await), ["+a=x@1"]);
    fs::rename(setup.dir.join("a.yaml"), setup.dir.join("z.yaml")).unwrap();
    fs::remove_file(setup.dir.join("b.yml")).unwrap();
    let mut gone = Vec::new();
    while !["-b", "-d"].iter().all(|name| gone.iter().any(|g| g == name)) {
        gone.extend(events(&next(&mut source).await));
    }
}

#[tokio::test]
async fn an_empty_directory_deletes_everything() {
    let setup = Setup::new();
    setup.write("a.yaml", &port("a", "x"));
    let (mut source, _) = setup.start().await;
    fs::remove_file(setup.dir.join("a.yaml")).unwrap();
    assert_eq!(events(&next(&mut source).await), ["-a"]);
    drop(source);
    let (_source, first) = setup.start().await;
    assert_eq!(first, Batch::default());
}

#[tokio::test]
async fn objects_have_stable_uids() {
    let setup = Setup::new();
    setup.write("a.yaml", &port("a", "x"));
    let (_source, first) = setup.start().await;
    let Event::Apply(Object::Port(port)) = &first.events[0] else {
        panic!("{first:?}");
    };
    let uid = crate::source::object_uid(crate::source::Kind::Port, "default", "a");
    assert_eq!(port.metadata.uid, Some(uid));
    assert_eq!(port.metadata.namespace.as_deref(), Some("default"));
    assert_eq!(port.status.as_ref().unwrap().observed_generation, -1);
}

#[tokio::test]
async fn a_broken_file_serves_on_and_heals() {
    let setup = Setup::new();
    setup.write("a.yaml", &format!("{}{}", port("a", "x"), port("b", "x")));
    let (mut source, _) = setup.start().await;

    setup.write("a.yaml", &format!("{}---\nkind: [\n", port("a", "w")));
    let batch = next(&mut source).await;
    assert_eq!(events(&batch), ["+a=w@2"]);
    assert!(problems(&batch)[0].starts_with("/a.yaml:10: not valid YAML"), "{batch:?}");

    setup.write("a.yaml", &format!("{}{}", port("a", "w"), port("b", "1e5")));
    let batch = next(&mut source).await;
    assert_eq!(events(&batch), Vec::<String>::new());
    let message =
        "/a.yaml:16: Port default/b: spec.hostname: Invalid value: 100000: must be of type string: integer";
    assert_eq!(problems(&batch), [message]);

    setup.write("a.yaml", &format!("{}{}", port("a", "w"), port("b", "z")));
    let batch = next(&mut source).await;
    assert_eq!((events(&batch), batch.problems), (vec!["+b=z@2".to_owned()], vec![]));
}

#[tokio::test]
async fn a_restart_with_a_broken_file_serves_what_was_good() {
    let setup = Setup::new();
    setup.write("a.yaml", &port("a", "x"));
    let (mut source, _) = setup.start().await;
    setup.write("a.yaml", &port("a", "w"));
    next(&mut source).await;
    drop(source);

    setup.write("a.yaml", "]");
    let (mut source, first) = setup.start().await;
    assert_eq!(events(&first), ["+a=w@2"]);
    assert_eq!(first.problems.len(), 1);
    setup.write("a.yaml", &port("a", "z"));
    assert_eq!(events(&next(&mut source).await), ["+a=z@3"]);
}

#[tokio::test]
async fn what_is_immutable_stays_over_a_restart() {
    let setup = Setup::new();
    setup.write("a.yaml", &subnet("10.0.0.0/24", "Auto"));
    let (mut source, _) = setup.start().await;
    let message = ["/a.yaml:6: Subnet default/s: spec.cidr: Invalid value: field is immutable"];
    setup.write("a.yaml", &subnet("10.0.1.0/24", "None"));
    let batch = next(&mut source).await;
    assert_eq!((events(&batch).len(), problems(&batch)), (0, message.map(String::from).to_vec()));
    drop(source);

    let (mut source, first) = setup.start().await;
    assert_eq!(events(&first), ["+Subnet default/s"]);
    assert_eq!(problems(&first), message);
    setup.write("a.yaml", &subnet("10.0.0.0/24", "None"));
    let batch = next(&mut source).await;
    assert_eq!((events(&batch).len(), problems(&batch).len()), (1, 0));
}

#[tokio::test]
async fn the_first_file_has_an_object() {
    let setup = Setup::new();
    setup.write("b.yaml", &port("a", "second"));
    let (mut source, first) = setup.start().await;
    assert_eq!(events(&first), ["+a=second@1"]);
    setup.write("a.yaml", &port("a", "first"));
    let batch = next(&mut source).await;
    assert_eq!(events(&batch), ["+a=first@2"]);
    let expected = format!("{}/a.yaml:2, and that one counts", setup.dir.display());
    assert!(batch.problems[0].message.ends_with(&expected), "{batch:?}");
    assert!(
        batch.problems[0].to_string().contains("/b.yaml:2: Port default/a: metadata.name: Duplicate value")
    );
    fs::remove_file(setup.dir.join("a.yaml")).unwrap();
    let batch = next(&mut source).await;
    assert_eq!((events(&batch), batch.problems), (vec!["+a=second@3".to_owned()], vec![]));
}

#[tokio::test]
async fn foreign_objects_are_problems_only() {
    let setup = Setup::new();
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n";
    setup.write("a.yaml", &format!("{pod}{}", port("a", "x")));
    let (mut source, first) = setup.start().await;
    assert_eq!(events(&first), ["+a=x@1"]);
    assert_eq!(problems(&first), ["/a.yaml:1: apiVersion: v1 Pod is not a kube-dhcp.io kind"]);
    setup.write("a.yaml", pod);
    assert_eq!(events(&next(&mut source).await), ["-a"]);
}

#[tokio::test]
async fn a_directory_that_vanishes_deletes_nothing_and_is_watched_again() {
    let setup = Setup::new();
    setup.write("a.yaml", &port("a", "x"));
    let (mut source, _) = setup.start().await;
    let away = setup.root.path().join("away");
    fs::rename(&setup.dir, &away).unwrap();
    let batch = next(&mut source).await;
    assert_eq!(events(&batch), Vec::<String>::new());
    assert!(batch.problems[0].message.starts_with("the directory cannot be read"), "{batch:?}");

    fs::rename(&away, &setup.dir).unwrap();
    assert_eq!(next(&mut source).await, Batch::default());
    setup.write("a.yaml", &port("a", "w"));
    assert_eq!(events(&next(&mut source).await), ["+a=w@2"]);
}

#[tokio::test]
async fn a_start_without_the_directory_serves_what_was_good() {
    let setup = Setup::new();
    setup.write("a.yaml", &port("a", "x"));
    drop(setup.start().await);
    fs::rename(&setup.dir, setup.root.path().join("away")).unwrap();
    let (_source, first) = setup.start().await;
    assert_eq!(events(&first), ["+a=x@1"]);
    assert_eq!(first.problems.len(), 1);
}

#[tokio::test]
async fn a_file_that_cannot_be_read_keeps_its_objects() {
    let setup = Setup::new();
    setup.write("a.yaml", &port("a", "x"));
    let (mut source, _) = setup.start().await;
    fs::write(setup.dir.join("a.yaml"), [0xff]).unwrap();
    let batch = next(&mut source).await;
    assert_eq!(events(&batch), Vec::<String>::new());
    assert!(problems(&batch)[0].starts_with("/a.yaml: the file cannot be read"), "{batch:?}");
}

#[tokio::test]
async fn a_mounted_config_map_changes_by_its_link() {
    let setup = Setup::new();
    let version = |name: &str, text: &str| {
        fs::create_dir(setup.dir.join(name)).unwrap();
        fs::write(setup.dir.join(name).join("a.yaml"), text).unwrap();
        symlink(name, setup.dir.join("..data_tmp")).unwrap();
        fs::rename(setup.dir.join("..data_tmp"), setup.dir.join("..data")).unwrap();
    };
    version("..1", &port("a", "x"));
    symlink("..data/a.yaml", setup.dir.join("a.yaml")).unwrap();
    let (mut source, first) = setup.start().await;
    assert_eq!(events(&first), ["+a=x@1"]);
    version("..2", &port("a", "w"));
    assert_eq!(events(&next(&mut source).await), ["+a=w@2"]);
    fs::remove_dir_all(setup.dir.join("..1")).unwrap();
    version("..3", &port("a", "z"));
    assert_eq!(events(&next(&mut source).await), ["+a=z@3"]);
}

#[tokio::test]
async fn a_file_is_not_read_while_it_is_written() {
    let setup = Setup::new();
    setup.write("a.yaml", &format!("{}{}", port("a", "x"), port("b", "x")));
    let (mut source, _) = setup.start().await;
    let mut file = fs::File::create(setup.dir.join("a.yaml")).unwrap();
    file.write_all(port("a", "w").as_bytes()).unwrap();
    setup.write("c.yaml", &port("c", "x"));
    assert_eq!(events(&next(&mut source).await), ["+c=x@1"]);
    file.write_all(port("b", "w").as_bytes()).unwrap();
    drop(file);
    assert_eq!(events(&next(&mut source).await), ["+a=w@2", "+b=w@2"]);
}

#[tokio::test]
async fn one_of_a_thousand_objects_is_one_event() {
    let setup = Setup::new();
    let mut text = String::new();
    for i in 0..1000 {
        setup.write(&format!("f{i}.yaml"), &port(&format!("f{i}"), "x"));
        write!(text, "{}", port(&format!("g{i}"), "x")).unwrap();
    }
    if std::env::var("ONLYF").is_err() {
        setup.write("many.yaml", &text);
    }
    let t = Instant::now();
    let (mut source, first) = setup.start().await;
    println!("start {:?} {}", t.elapsed(), first.events.len());

    setup.write("f500.yaml", &port("f500", "w"));
    let since = Instant::now();
    assert_eq!(events(&next(&mut source).await), ["+f500=w@2"]);
    println!("one file of 1,000: {:?}", since.elapsed());
    tokio::time::sleep(Duration::from_millis(500)).await;
    for i in 0..15 {
        setup.write("f501.yaml", &port("f501", &format!("z{i}")));
        let since = Instant::now();
        next(&mut source).await;
        println!("again {:?}", since.elapsed());
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    setup.write("many.yaml", &text.replacen("hostname: x", "hostname: w", 1));
    let since = Instant::now();
    assert_eq!(events(&next(&mut source).await), ["+g0=w@2"]);
    println!("one document of 1,000: {:?}", since.elapsed());
}

#[tokio::test]
async fn a_slow_writer_removes_nothing_until_it_closes() {
    let setup = Setup::new();
    setup.write("a.yaml", &format!("{}{}", port("a", "x"), port("b", "x")));
    let (mut source, _) = setup.start().await;
    let mut file = fs::File::create(setup.dir.join("a.yaml")).unwrap();
    // It comes to rest at the end of a document, and a change of its mode closes nothing.
    file.write_all(port("a", "w").as_bytes()).unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(events(&next(&mut source).await), ["+a=w@2"]);
    tokio::time::sleep(SETTLE * 2).await;
    setup.write("c.yaml", &port("c", "x"));
    assert_eq!(events(&next(&mut source).await), ["+c=x@1"]);
    drop(file);
    assert_eq!(events(&next(&mut source).await), ["-b"]);
    setup.write("a.yaml", "");
    assert_eq!(events(&next(&mut source).await), ["-a"]);
}

#[tokio::test]
async fn a_start_while_a_file_is_half_written_takes_two_looks() {
    let setup = Setup::new();
    setup.write("a.yaml", &port("a", "x"));
    setup.write("b.yaml", &port("b", "x"));
    setup.write("c.yaml", &port("c", "x"));
    drop(setup.start().await);
    setup.write("b.yaml", "");
    fs::remove_file(setup.dir.join("c.yaml")).unwrap();
    let mut file = fs::File::create(setup.dir.join("a.yaml")).unwrap();
    let (mut source, first) = setup.start().await;
    assert_eq!(events(&first), ["+a=x@1", "+b=x@1"]);
    file.write_all(b"# soon\n").unwrap();
    assert_eq!(events(&next(&mut source).await), ["-b"]);
    file.write_all(port("a", "w").as_bytes()).unwrap();
    drop(file);
    assert_eq!(events(&next(&mut source).await), ["+a=w@2"]);
}

#[tokio::test]
async fn a_link_that_leads_nowhere_deletes_nothing() {
    let setup = Setup::new();
    let share = setup.root.path().join("share");
    fs::create_dir(&share).unwrap();
    fs::write(share.join("a.yaml"), port("a", "x")).unwrap();
    symlink(share.join("a.yaml"), setup.dir.join("a.yaml")).unwrap();
    drop(setup.start().await);
    fs::rename(&share, setup.root.path().join("away")).unwrap();
    let (mut source, first) = setup.start().await;
    assert_eq!(events(&first), ["+a=x@1"]);
    assert_eq!(problems(&first), ["/a.yaml: the file cannot be read: the link leads nowhere"]);
    fs::remove_file(setup.dir.join("a.yaml")).unwrap();
    assert_eq!(events(&next(&mut source).await), ["-a"]);
}
