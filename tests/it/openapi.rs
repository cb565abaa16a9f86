//! The interface is what its `OpenAPI` document says.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use url::Url;

use crate::common::forms::uploaded;
use crate::common::process::Node;
use crate::common::raw_http::{get, head, send};
use crate::common::venv;

/// What a path may be asked by.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

fn start(arguments: &[&str]) -> (TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, arguments);
    (dir, node)
}

fn document(node: SocketAddr) -> Value {
    let answer = get(node, "/api/openapi.json", &[]);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/json");
    answer.json()
}

#[test]
fn each_path_takes_the_methods_of_the_document_and_no_other() {
    let (_dir, node) = start(&[]);
    let document = document(node.address);
    let paths = document["paths"].as_object().unwrap();
    for (path, item) in paths {
        let described: BTreeSet<_> = item.as_object().unwrap().keys().collect();
        let target = path.replace(['{', '}'], "");
        // What is endless is not asked for.
        for method in METHODS.iter().filter(|_| path != "/api/events") {
            let request = format!(
                "{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
            );
            let answer = send(node.address, request.as_bytes());
            let code = answer_code(&answer.body);
            let is_taken = answer.status != 405 && code != "method_not_allowed";
            let is_described = described.contains(&method.to_lowercase());
            assert_eq!(is_taken, is_described, "{method} {path}: {answer:?}");
            // No file of the page is called as the segment.
            let is_there = code != "unknown_path" || path == "/page/{name}";
            assert!(is_there, "{method} {path}");
        }
    }
}

/// What parsers say, which tells nobody what to change.
const OF_PARSERS: [&str; 9] = [
    "invalid type",
    "invalid value",
    "missing field",
    "unknown field",
    "unknown variant",
    "duplicate field",
    "EOF",
    "invalid digit",
    "deserialize",
];

/// Fails unless a request is refused with a message for people that has this word.
fn assert_told(node: &Node, request: &[u8], word: &str) {
    let answer = send(node.address, request);
    let request = String::from_utf8_lossy(request);
    assert_eq!(answer.status, 400, "{request}: {answer:?}");
    let told = answer.json()["message"].to_string();
    let of_parser = OF_PARSERS.iter().find(|it| told.contains(**it));
    assert_eq!(of_parser, None, "{request}: {told}");
    assert!(told.contains(word), "{request}: {told}");
}

#[test]
fn what_is_wrong_with_a_body_or_a_query_is_told_by_its_key_and_never_as_a_parser_has_it() {
    let (_dir, node) = start(&[]);
    let file = uploaded(node.address, "a.txt", b"hello");
    let document = document(node.address);
    let (mut bodies, mut values) = (0, 0);
    for (path, item) in document["paths"].as_object().unwrap() {
        let mut target = path.clone();
        for (segment, key) in [
            ("{hash}", "hash"),
            ("{peer}", "peer_id"),
            ("{file}", "file_id"),
            ("{id}", "file_id"),
        ] {
            target = target.replace(segment, file[key].as_str().unwrap());
        }
        for (method, operation) in item.as_object().unwrap() {
            let method = method.to_uppercase();
            let body = &operation["requestBody"]["content"]["application/json"];
            if body.is_object() {
                bodies += 1;
                for (body, word) in [
                    ("", "the body is empty"),
                    ("{\n  \"peer_id\": x", "no JSON from line 2"),
                    ("[1]", "one object in braces"),
                    ("\"text\"", "one object in braces"),
                    ("{\"file_id\": \"a\", \"peer_id\": [], \"address\": 1}", "`"),
                ] {
                    let length = format!("Content-Length: {}", body.len());
                    let lines = ["Content-Type: application/json", &length];
                    let head = head(&method, &target, &lines);
                    assert_told(&node, &[&head, body.as_bytes()].concat(), word);
                }
            }
            let parameters = operation["parameters"].as_array();
            for parameter in parameters.into_iter().flatten() {
                let (schema, name) = (&parameter["schema"], parameter["name"].as_str().unwrap());
                let is_any_text =
                    schema["enum"].is_null() && !schema["type"].to_string().contains("integer");
                if parameter["in"] != "query" || is_any_text || method != "GET" {
                    continue;
                }
                values += 1;
                for query in [format!("{name}=x"), format!("{name}=1&{name}=1")] {
                    let target = format!("{target}?{query}");
                    assert_told(&node, &head(&method, &target, &[]), &format!("{name} "));
                }
            }
        }
    }
    assert!(bodies >= 3 && values >= 8, "{bodies} {values}");
}

#[test]
fn the_document_says_where_the_node_is_by_where_it_was_got_itself() {
    for base_url in ["http://localhost:5004", "https://example.org/larder"] {
        let (_dir, node) = start(&["--base-url", base_url]);
        let servers = document(node.address)["servers"].clone();
        // Wherever a proxy has it.
        for prefix in ["", "/larder", "/a/b"] {
            let got = format!("https://example.org{prefix}/api/openapi.json");
            let server = servers[0]["url"].as_str().unwrap();
            let server = Url::parse(&got).unwrap().join(server).unwrap();
            assert_eq!(server.as_str(), format!("https://example.org{prefix}/"));
        }
        assert_eq!(servers.as_array().unwrap().len(), 1);
    }
}

#[test]
fn refusals_before_any_route_have_codes_of_the_document() {
    let (_dir, node) = start(&[]);
    let document = document(node.address);
    let coded = head(
        "POST",
        "/api/p2p/upload",
        &["Transfer-Encoding: gzip, chunked"],
    );
    let two_hosts = head("GET", "/health", &["Host: localhost", "Host: localhost"]);
    let long = head("GET", "/health", &[&format!("X: {}", "a".repeat(33_000))]);
    let fields: Vec<_> = (0..101).map(|n| format!("X-{n}: a")).collect();
    let fields: Vec<_> = fields.iter().map(String::as_str).collect();
    let many = head("GET", "/health", &fields);
    let no_http = b"GET /health HTTP/1.1\r\nno field\r\n\r\n".to_vec();
    for (request, path, method, code) in [
        (long, "/health", "get", "head_too_large"),
        (many, "/health", "get", "head_too_large"),
        (no_http, "/health", "get", "bad_request"),
        (coded, "/api/p2p/upload", "post", "transfer_coded"),
        (two_hosts, "/health", "get", "bad_request"),
    ] {
        let answer = send(node.address, &request);
        let (status, told) = answer.refusal();
        assert_eq!(told, code);
        let described = &document["paths"][path][method]["responses"][status.to_string()];
        let described = described["description"].as_str().unwrap();
        assert!(described.split(", ").any(|it| it == code), "{described}");
    }
}

#[test]
fn the_page_of_the_document_shows_the_fields_of_bodies_and_no_marks() {
    let (_dir, node) = start(&[]);
    let html = String::from_utf8(get(node.address, "/api/docs", &[]).body).unwrap();
    let start = html.find("<section id=\"keep\">").unwrap();
    let end = start + html[start..].find("</section>").unwrap();
    for field in ["hash", "file_id", "peer_id", "original_name"] {
        let shown = format!("<code>{field}</code>");
        let body = html[start..end].split("<h3>Body</h3>").nth(1).unwrap();
        let body = body.split("<h3>").next().unwrap();
        assert!(body.contains(&shown), "{field}: {body}");
    }
    let (said, _) = html.split_once("<h2>Bodies</h2>").unwrap();
    assert!(!said.contains('`'));
}

/// The code of a refusal; nothing of another answer.
fn answer_code(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    body["code"].as_str().unwrap_or_default().to_owned()
}

/// Every method of every path, with its description; what is endless is left out.
fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let paths = paths.filter(|(path, _)| *path != "/api/events");
    let operations = paths.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, it)| (method.to_uppercase(), path.replace(['{', '}'], ""), it))
    });
    operations.collect()
}

#[test]
fn a_request_needs_a_token_where_the_document_says_so_and_nowhere_else() {
    let token = ["--token", "0123456789abcdef"];
    let (_dir, private) = start(&[&token[..], &["--private"]].concat());
    let (_other, public) = start(&token);
    let document = document(private.address);
    for (method, target, operation) in operations(&document) {
        let request = head(&method, &target, &["Content-Length: 0"]);
        let says = operation["security"].is_array();
        let status = send(private.address, &request).status;
        assert_eq!(status == 401, says, "{method} {target}: {status}");
        // Who may read may do this, who may write that.
        let says = operation["responses"]["403"]["description"]
            .as_str()
            .unwrap();
        let says = says.split(", ").any(|code| code == "read_only_token");
        let status = send(public.address, &request).status;
        assert_eq!(status == 401, says, "{method} {target}: {status}");
    }
}

#[test]
fn the_page_needs_nothing_from_elsewhere_and_no_token() {
    let (_dir, node) = start(&["--private", "--token", "0123456789abcdef"]);
    assert_eq!(get(node.address, "/api/p2p/files", &[]).status, 401);
    let document = document(node.address);
    let page = get(node.address, "/api/docs", &[]);
    let policy = page.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
    let html = String::from_utf8(page.body).unwrap();
    for outside in ["<script", "<link", "<img", "http://", "https://", " style="] {
        assert!(!html.contains(outside), "{outside}");
    }
    for (path, item) in document["paths"].as_object().unwrap() {
        let methods = item.as_object().unwrap();
        for method in methods.keys() {
            let with_get = methods.contains_key("get") && methods.contains_key("head");
            let method = match method.as_str() {
                "get" | "head" if with_get => "GET, HEAD",
                other => other,
            };
            let heading = format!("<h2><code>{} {path}</code></h2>", method.to_uppercase());
            assert!(html.contains(&heading), "{heading}");
        }
    }
}

#[test]
fn any_request_is_answered_as_the_document_says() {
    let (dir, node) = start(&["--peer-rate", "0", "--max-upload", "1048576"]);
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
    let url = format!("http://{}/api/openapi.json", node.address);
    let output = venv::command("schemathesis")
        .arg("--config-file")
        .arg(python.join("schemathesis.toml"))
        .args(["run", &url, "--seed", "1"])
        // It does not resolve what the document says of that by where the document was.
        .args(["--url", &format!("http://{}", node.address)])
        .args(["--max-examples", "50", "--request-timeout", "10"])
        .args(["--generation-database", "none", "--no-color"])
        // Their answers never end, that of the second where it is asked so.
        .args(["--exclude-path", "/api/events"])
        .args(["--exclude-path", "/api/p2p/moment"])
        .env("PYTHONPATH", &python)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("SCHEMATHESIS_HOOKS", "tus_bodies")
        .current_dir(dir.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{output:?}");
    let operations = document(node.address)["paths"]
        .as_object()
        .unwrap()
        .values()
        .map(|item| item.as_object().unwrap().len())
        .sum::<usize>();
    // Where the document came from is left out, too.
    let tested = format!("Tested: {}", operations - 5);
    assert!(told.contains(&tested), "{tested}: {told}");
    assert_eq!(get(node.address, "/ready", &[]).status, 200);
}

#[test]
fn a_client_generated_from_the_document_uploads_lists_downloads_and_removes() {
    let token = "0123456789abcdef";
    let (dir, node) = start(&["--token", token]);
    let document = dir.path().join("openapi.json");
    let answer = get(node.address, "/api/openapi.json", &[]);
    std::fs::write(&document, answer.body).unwrap();
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
    let generated = dir.path().join("generated");
    std::fs::create_dir(&generated).unwrap();
    let mut generator = venv::command("openapi-python-client");
    generator.args(["generate", "--meta", "none", "--path"]);
    generator.arg(&document).arg("--config");
    generator.arg(scripts.join("openapi_client.yml"));
    generator.arg("--output-path");
    let output = generator.arg(generated.join("larder_client")).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut client = venv::command("python3");
    client
        .arg(scripts.join("openapi_client.py"))
        .arg(&generated);
    let output = client.args([&node.url(""), token]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
