//! Every block of YAML says what it is, and is that: see CONTRIBUTING.md for the words.

use serde_json::{Value, json};

use super::markdown::{Block, pages};
use super::{assert_none, root};
use crate::api::{API_VERSION, GROUP};
use crate::source::directory::Directory;

/// What is wrong with a block of YAML.
fn faults(block: &Block) -> Vec<String> {
    let copied = block.text.lines().next().and_then(|line| line.strip_prefix("# examples/"));
    if let Some(file) = copied {
        let part = block.text.split_once('\n').unwrap_or_default().1;
        let file = format!("examples/{file}");
        let whole = std::fs::read_to_string(root().join(&file)).unwrap_or_default();
        if !whole.contains(part) {
            return vec![format!("{file} does not have these lines")];
        }
    }
    match block.info.strip_prefix("yaml").unwrap_or_default().trim() {
        "" => objects(&block.text),
        "values.yaml" => values(&block.text),
        "part" => parsed(&block.text).err().into_iter().collect(),
        kind => match placed(kind, &block.text) {
            Ok(object) => objects(&object.to_string()),
            Err(fault) => vec![fault],
        },
    }
}

/// What an agent would say of a file with these objects; of those of others that they are objects.
fn objects(text: &str) -> Vec<String> {
    let (mut ours, mut wrong) = (Vec::new(), Vec::new());
    for document in format!("\n{text}").split("\n---") {
        match parsed(document) {
            Err(fault) => wrong.push(fault),
            Ok(Value::Null) => {}
            Ok(object) => match object["apiVersion"].as_str() {
                Some(version) if version.starts_with(GROUP) => ours.push(document.to_owned()),
                Some(_) if object["kind"].is_string() => {}
                _ => wrong.push("neither a whole object nor said what it is a part of".to_owned()),
            },
        }
    }
    if !ours.is_empty() {
        wrong.extend(refused(&ours.join("\n---\n")));
    }
    wrong
}

fn refused(manifest: &str) -> Vec<String> {
    let (manifests, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(manifests.path().join("block.yaml"), manifest).unwrap();
    let batch = Directory::read_once(manifests.path(), state.path()).unwrap();
    assert!(!batch.events.is_empty() || !batch.problems.is_empty(), "nothing was read of {manifest}");
    batch.problems.iter().map(ToString::to_string).collect()
}

fn parsed(text: &str) -> Result<Value, String> {
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}

/// An object of the kind with these fields of its spec, besides those that it must have.
fn placed(kind: &str, text: &str) -> Result<Value, String> {
    let mut spec = match kind {
        "Network" => json!({"physicalNetworkRef": {"name": "datacentre"}}),
        "Subnet" => json!({"networkRef": {"name": "lan"}, "cidr": "10.0.0.0/24"}),
        "Port" => json!({"networkRef": {"name": "lan"}}),
        "PhysicalNetwork" => json!({}),
        _ => return Err(format!("what is yaml {kind}?")),
    };
    let fields = parsed(text)?;
    let fields = fields.as_object().ok_or("not the fields of a spec")?;
    for (field, value) in fields {
        spec[field] = value.clone();
    }
    let object = json!({"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": "x"}, "spec": spec});
    Ok(object)
}

/// Values of the chart.
fn values(text: &str) -> Vec<String> {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let schema = parsed(&read("deploy/helm/kube-dhcp/values.schema.json")).unwrap();
    let schema = jsonschema::draft202012::new(&schema).unwrap();
    let values = match parsed(text) {
        Ok(values) => values,
        Err(fault) => return vec![fault],
    };
    schema.iter_errors(&values).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn every_block_of_yaml_is_what_it_says() {
    let mut wrong = Vec::new();
    for page in pages() {
        for block in page.blocks().iter().filter(|block| block.info.starts_with("yaml")) {
            let faults = faults(block).into_iter();
            wrong.extend(faults.map(|fault| format!("{}:{}: {fault}", page.name, block.line)));
        }
    }
    assert_none(&wrong);
}

#[test]
fn a_wrong_block_is_found() {
    let fault = |info: &str, text: &str| {
        let block = Block { line: 1, info: info.to_owned(), text: text.to_owned() };
        !faults(&block).is_empty()
    };
    assert!(!fault("yaml Network", "mtu: 1450"));
    assert!(fault("yaml Network", "mtu: 500") && fault("yaml Network", "mtv: 1450"));
    assert!(fault("yaml Subnet", "options:\n- {name: ntp-server, values: [x]}"));
    assert!(fault("yaml", "mtu: 1450") && fault("yaml Netzwerk", "mtu: 1450"));
    assert!(!fault("yaml part", "[a]") && fault("yaml part", "[a"));
    assert!(!fault("yaml", "apiVersion: v1\nkind: Namespace") && fault("yaml", "kind: Namespace"));
    assert!(!fault("yaml values.yaml", "agent: {createBridges: true}"));
    assert!(fault("yaml values.yaml", "agent: {createBridge: true}"));
    assert!(!fault("yaml part", "# examples/vip/ports.yaml\n  hostname: web1\n"));
    assert!(fault("yaml part", "# examples/vip/ports.yaml\n  hostname: web3\n"));
}
