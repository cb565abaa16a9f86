//! Forms as odd clients send them, side by side with Werkzeug, which the older service took them
//! with: what that takes is taken, with the same name, description and bytes, or refused with a
//! code that says why.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};

use crate::common::process::{Node, start};
use crate::common::random::Random;
use crate::common::raw_http::{Answer, get, head, send};
use crate::common::venv;

const TYPE: &str = "multipart/form-data; boundary=x";
const FILE: &str = "Content-Disposition: form-data; name=\"file\"; filename=\"a.txt\"";

/// Werkzeug, in a process of its own.
struct Werkzeug {
    child: Child,
    forms: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Werkzeug {
    fn start() -> Self {
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/python/werkzeug_forms.py"
        );
        let mut command = venv::command("python3");
        command
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        Self {
            forms: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    /// The file that it takes from a form, if it takes one.
    fn takes(&mut self, content_type: &str, body: &[u8]) -> Option<Value> {
        let body = BASE64_STANDARD.encode(body);
        let form = json!({"content_type": content_type, "body": body});
        writeln!(self.forms, "{form}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        (!answer.is_null()).then_some(answer)
    }
}

impl Drop for Werkzeug {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn upload(node: &Node, content_type: &str, body: &[u8]) -> Answer {
    let content_type = format!("Content-Type: {content_type}");
    let length = format!("Content-Length: {}", body.len());
    let head = head("POST", "/api/p2p/upload", &[&content_type, &length]);
    send(node.address, &[&head, body].concat())
}

/// The file that the node has made of a form, as Werkzeug tells it.
fn taken(node: &Node, answer: &Answer) -> Value {
    let file = &answer.json()["file"];
    let path = format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap());
    let content = BASE64_STANDARD.encode(get(node.address, &path, &[]).body);
    json!({
        "name": file["original_name"],
        "description": file["description"],
        "content": content,
    })
}

/// A form of one part, with this disposition.
fn disposed(disposition: &str) -> Vec<u8> {
    format!("--x\r\nContent-Disposition: {disposition}\r\n\r\nhello\r\n--x--\r\n").into_bytes()
}

/// A form of one file, with more behind the lines of its head.
fn with_lines(lines: &str) -> Vec<u8> {
    format!("--x\r\n{FILE}\r\n{lines}\r\n\r\nhello\r\n--x--\r\n").into_bytes()
}

/// A form of one file and other parts, each with its head.
fn beside(parts: &[&str]) -> Vec<u8> {
    let parts = parts.iter().map(|part| format!("--x\r\n{part}\r\n"));
    let parts: String = parts.collect();
    format!("{parts}--x\r\n{FILE}\r\n\r\nhello\r\n{parts}--x--\r\n").into_bytes()
}

/// Dispositions of a part that is a file, all of which Werkzeug takes.
const DISPOSITIONS: [&str; 43] = [
    "form-data; name=\"file\"; filename=\"a\"; filename==x",
    "form-data; name=\"file\"; filename=\"a\"; filename =b; filename= c",
    "form-data; name=\"file\"; filename=\"a\"; filename*=\\name=name=",
    "form-data; name=\"file\"; filename=\"a\"",
    "form-data; name=file; filename=a.txt",
    "form-data; name=file; filename=a b.txt",
    "form-data; name=file; filename=a/b.txt",
    "form-data;name=file;filename=a.txt",
    "FORM-DATA; NAME=\"file\"; FileName=\"A.TXT\"",
    "attachment; name=\"file\"; filename=\"x\"",
    "file; name=\"file\"; filename=\"x\"",
    "form-data; filename=\"x\"; name=\"file\"",
    "form-data; name=\"file\"; filename=\"x\"; foo",
    "form-data; foo; name=\"file\"; filename=\"x\"",
    "form-data; name=\"file\"; filename=\"x\";",
    "form-data;; name=\"file\";; filename=\"x\" ;",
    "form-data; name=\"file\" ; filename=\"x\" more",
    "form-data; name=\"file\"; filename=\"a;b.txt\"",
    "form-data; name=\"file\"; filename=\"a\\\"b.txt\"",
    "form-data; name=\"file\"; filename=\"a%22b.txt\"",
    "form-data; name=\"file\"; filename=\"a%0D%0Ab.txt\"",
    "form-data; name=\"file\"; filename=\"100%25.txt\"",
    "form-data; name=\"file\"; filename=\"C:\\Users\\me\\a.txt\"",
    "form-data; name=\"file\"; filename=\"a\\\\b.txt\"",
    "form-data; name=\"file\"; filename=\"../../etc/passwd\"",
    "form-data; name=\"file\"; filename=\"фото 1.jpg\"",
    "form-data; name=\"file\"; filename=\"=?utf-8?B?ZsO8?=\"",
    "form-data; name=\"file\"; filename=\" spaces \"",
    "form-data; name=\"file\"; filename=\"x\"; filename*=UTF-8''%e2%82%ac.txt",
    "form-data; name=\"file\"; filename*=utf-8'en'a%20b; filename=\"x\"",
    "form-data; name=\"file\"; filename*=ISO-8859-1''%A3.txt",
    "form-data; name=\"file\"; filename*=us-ascii''a%FFb",
    "form-data; name=\"file\"; filename*=koi8-r''%C1.txt",
    "form-data; name=\"file\"; filename*=UTF-8''%FF%FEa",
    "form-data; name=\"file\"; filename*=''x.txt",
    "form-data; name=\"file\"; filename*=plain.txt",
    "form-data; name=\"file\"; filename*=\"UTF-8''a.txt\"",
    "form-data; name=\"file\"; filename*0=\"a-\"; filename*1=\"b.txt\"",
    "form-data; name=\"file\"; filename*0*=UTF-8''%c3%a4; filename*1=\"b\"; filename*2*=%c3%b6",
    "form-data; name*=UTF-8''file; filename=x",
    "form-data; name=\"other\"; name=\"file\"; filename=\"x\"; filename=\"y\"",
    "form-data; name=\"file\"; filename=\"a\";\r\n size=5",
    "form-data; name=\"file\";\r\n\tfilename=\"a.txt\"",
];

/// Lines in the head of a file that nobody needs.
const LINES: [&str; 13] = [
    "Content-Type: text/plain",
    "Content-Type: image/jpeg; name=\"фото.jpg\"",
    "Content-Type:",
    "Content-Type: text/plain\r\nContent-Type: text/html",
    "content-type : TEXT/PLAIN",
    "No colon here",
    ": no name",
    "Content-Disposition: form-data; name=\"second\"",
    "Content-Length: 1",
    "Content-Transfer-Encoding: base64",
    "Content-Transfer-Encoding: quoted-printable",
    "X-Folded: a\r\n b\r\n\tc",
    "Content-Type: multipart/mixed; boundary=y",
];

/// Parts that stand before and behind the file.
const PARTS: [&str; 15] = [
    "Content-Disposition: form-data; name=\"description\"\r\n\r\ntext",
    "Content-Disposition: form-data; name=\"description\"\r\n\r\n",
    "Content-Disposition: form-data; name=\"description\"\r\n\r\ntwo\r\nlines\r\n",
    "Content-Disposition: form-data; name=\"description\"\r\n\
     Content-Type: text/plain; charset=iso-8859-1\r\n\r\ntext",
    "Content-Disposition: form-data; name=\"description\"\r\n\
     Content-Type: text/plain; charset=utf-16\r\n\r\nt\0e\0",
    "Content-Disposition: attachment; name=\"description\"\r\n\r\ntext",
    "Content-Disposition: form-data; name=\"description\"; filename=\"d.txt\"\r\n\r\ntext",
    "Content-Disposition: form-data; name=\"file\"\r\n\r\ntext",
    "Content-Disposition: form-data; name=\"other\"; filename=\"o.bin\"\r\n\r\ntext",
    "Content-Disposition: form-data\r\n\r\ntext",
    "Content-Disposition: form-data; name=\"\"\r\n\r\ntext",
    "Content-Disposition: nonsense\r\n\r\ntext",
    "Content-Disposition: form-data; name=\"open\r\n\r\ntext",
    "Content-Disposition: form-data; name=\"_charset_\"\r\n\r\niso-8859-1",
    "Content-Disposition: form-data; name=\"files\"\r\n\
     Content-Type: multipart/mixed; boundary=y\r\n\r\n\
     --y\r\nContent-Disposition: attachment; filename=\"n.txt\"\r\n\r\nnested\r\n--y--",
];

/// Whole bodies, with their content types.
fn bodies() -> Vec<(String, Vec<u8>)> {
    let file = |line_end: &str, content: &str| {
        let lines = [
            "--x",
            FILE,
            "Content-Type: text/plain",
            "",
            content,
            "--x--",
            "",
        ];
        lines.join(line_end).into_bytes()
    };
    let mut bodies = Vec::new();
    let mut plain = |body: Vec<u8>| bodies.push((TYPE.to_owned(), body));
    for line_end in ["\r\n", "\n", "\r"] {
        for content in [
            "hello",
            "",
            "a\r\nb",
            "a\n",
            "\n\r\na",
            "--x",
            "--",
            "\r\n--xy\r\n--x-\r\n",
        ] {
            plain(file(line_end, content));
        }
    }
    for body in [
        format!("\r\n--x\r\n{FILE}\r\n\r\nhello\r\n--x--"),
        format!("preamble\r\n--x\r\n{FILE}\r\n\r\nhello\r\n--x--\r\nepilogue"),
        format!("no line end--x\r\n{FILE}\r\n\r\nhello\r\n--x--more"),
        format!(
            "--x \t\r\n{FILE}\r\n\r\nhello\r\n--x \r\n{FILE2}\r\n\r\n\r\n--x-- \r\n",
            FILE2 = PARTS[8]
        ),
        format!("--x\r\n{FILE}\n\nhello\r\n--x--\r\n"),
        format!("--x\n{FILE}\r\n\r\nhello\n--x--\n"),
        format!("--x\r\n{FILE}\r\n\r\n--x--\r\n"),
        format!("--x\r\n{FILE}\r\n\r\nhello\r\n--xx\r\n--x--\r\n"),
        format!("--x\r\n{FILE}\r\n\r\nhello\r\n --x\r\n--x--\r\n"),
        format!(
            "--x\r\n{FILE}\r\n\r\n{}\r\n--x--\r\n",
            "long ".repeat(40_000)
        ),
        // Without an end Werkzeug takes nothing either.
        format!("--x\r\n{FILE}\r\n\r\nhello"),
        format!("--x\r\n{FILE}\r\n\r\nhello\r\n--x"),
        format!("--x\r\n{FILE}\r\n\r\nhello\r\n--x\r\n"),
    ] {
        plain(body.into_bytes());
    }
    bodies
}

/// Boundaries as content types name them.
fn boundaries() -> Vec<(String, Vec<u8>)> {
    let mut bodies = Vec::new();
    let body = |boundary: &str| {
        format!("--{boundary}\r\n{FILE}\r\n\r\nhello\r\n--{boundary}--\r\n").into_bytes()
    };
    for (content_type, boundary) in [
        ("multipart/form-data; boundary=\"a b\"", "a b"),
        ("multipart/form-data; boundary=\"a\\\"b\"", "a\"b"),
        ("multipart/form-data; boundary=a b", "a"),
        ("multipart/form-data; boundary='a'", "'a'"),
        ("Multipart/Form-Data; Boundary=Ab", "Ab"),
        ("multipart/form-data;boundary=a;charset=utf-8", "a"),
        ("multipart/form-data; charset; boundary=a", "a"),
        ("multipart/form-data; charset=\"open; boundary=a", "a"),
        (
            "multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxk",
            "----WebKitFormBoundary7MA4YWxk",
        ),
        ("multipart/form-data; boundary=b; boundary=a", "a"),
        ("multipart/form-data; boundary=--", "--"),
        (
            "multipart/form-data; boundary=\"=_?:/,()+.'\"",
            "=_?:/,()+.'",
        ),
    ] {
        bodies.push((content_type.to_owned(), body(boundary)));
    }
    let longest = "b".repeat(200);
    bodies.push((
        format!("multipart/form-data; boundary={longest}"),
        body(&longest),
    ));
    bodies
}

/// What Werkzeug takes and a node refuses, each for a reason of its own.
fn refused() -> Vec<(String, Vec<u8>, &'static str)> {
    let two = beside(&[&format!("{FILE}\r\n\r\nsecond")]);
    let long_name = format!("form-data; name=file; filename=\"{}\"", "n".repeat(4097));
    let long_text = format!(
        "Content-Disposition: form-data; name=\"description\"\r\n\r\n{}",
        "d".repeat(16 * 1024 + 1)
    );
    let long_line = format!("X-Long: {}", "l".repeat(33_000));
    let boundary = "b".repeat(201);
    let of_boundary = format!("--{boundary}\r\n{FILE}\r\n\r\nhello\r\n--{boundary}--\r\n");
    let long_boundary = format!("multipart/form-data; boundary={boundary}");
    vec![
        (TYPE.to_owned(), two, "second_file"),
        (TYPE.to_owned(), disposed(&long_name), "file_name_too_long"),
        (
            TYPE.to_owned(),
            beside(&[&long_text]),
            "description_too_long",
        ),
        (TYPE.to_owned(), with_lines(&long_line), "broken_multipart"),
        (long_boundary, of_boundary.into_bytes(), "broken_multipart"),
    ]
}

fn assert_taken_alike(
    node: &Node,
    werkzeug: &mut Werkzeug,
    content_type: &str,
    body: &[u8],
) -> bool {
    let what = format!("{content_type}: {}", String::from_utf8_lossy(body));
    let what = what.get(..2000).unwrap_or(&what);
    let answer = upload(node, content_type, body);
    if let Some(expected) = werkzeug.takes(content_type, body) {
        assert_eq!(answer.status, 200, "{what}\n{answer:?}");
        assert_eq!(taken(node, &answer), expected, "{what}");
        return true;
    }
    if answer.status != 200 {
        let (status, _) = answer.refusal();
        assert!((400..500).contains(&status), "{what}\n{answer:?}");
    }
    false
}

#[test]
fn every_form_that_werkzeug_takes_is_taken_with_the_same_name() {
    let (_dir, node) = start();
    let mut werkzeug = Werkzeug::start();
    let of_parts = PARTS.iter().map(|part| beside(&[part]));
    let forms = DISPOSITIONS.iter().map(|it| disposed(it));
    let forms = forms
        .chain(LINES.iter().map(|it| with_lines(it)))
        .chain(of_parts);
    let mut all: Vec<_> = forms.map(|body| (TYPE.to_owned(), body)).collect();
    let certain = all.len();
    all.extend(bodies());
    all.extend(boundaries());
    for (number, (content_type, body)) in all.iter().enumerate() {
        let taken = assert_taken_alike(&node, &mut werkzeug, content_type, body);
        // Else the comparison would be with nothing.
        let what = String::from_utf8_lossy(body);
        assert!(taken || number >= certain, "Werkzeug does not take {what}");
    }
}

#[test]
fn what_only_werkzeug_takes_is_refused_with_the_reason() {
    let (_dir, node) = start();
    let mut werkzeug = Werkzeug::start();
    for (content_type, body, code) in refused() {
        assert!(werkzeug.takes(&content_type, &body).is_some(), "{code}");
        let answer = upload(&node, &content_type, &body);
        assert_eq!(answer.refusal(), (400, code.to_owned()));
    }
}

#[test]
fn forms_put_together_at_random_are_taken_as_werkzeug_takes_them() {
    const PIECES: [&str; 24] = [
        "form-data",
        "attachment",
        "; ",
        ";",
        " ",
        "name=",
        "name=file",
        "name=\"file\"",
        "; name=\"file\"",
        "filename=",
        "; filename=\"a.txt\"",
        "; filename=b",
        "filename*=",
        "filename*0=\"c\"",
        "; filename*1*=%41",
        "UTF-8''%C3%A4",
        "iso-8859-1''%E4",
        "\"",
        "\\",
        "=",
        "x",
        "'",
        "%22",
        "\r\n ",
    ];
    const ENDS: [&str; 4] = ["\r\n", "\r\n", "\n", "\r"];
    let (_dir, node) = start();
    let mut werkzeug = Werkzeug::start();
    let mut random = Random::from_environment();
    let mut pick =
        |of: &[&'static str]| of[usize::try_from(random.below(of.len() as u64)).unwrap()];
    let mut taken = 0;
    for round in 0..400 {
        let mut disposition = "form-data; name=\"file\"; filename=\"a\"".to_owned();
        for _ in 0..round % 7 {
            disposition += pick(&PIECES);
        }
        let line_end = pick(&ENDS);
        let content = [pick(&ENDS), pick(&PIECES), pick(&ENDS), "--xy"].concat();
        let lines = [
            "--x",
            &format!("Content-Disposition: {disposition}"),
            "",
            &content,
            "--x--",
            "",
        ];
        let body = lines.join(line_end);
        taken += u32::from(assert_taken_alike(
            &node,
            &mut werkzeug,
            TYPE,
            body.as_bytes(),
        ));
    }
    assert!(taken > 100, "Werkzeug took {taken} of them");
}
