//! The document as a page: plain HTML without a script.

use std::fmt::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};

const STYLE: &str = include_str!("page.css");

/// The page, and what a browser may do with it (Content Security Policy Level 3).
pub(super) struct DocumentPage {
    pub html: String,
    pub policy: String,
}

/// Writes a document down for people.
pub(super) fn render(document: &Value) -> DocumentPage {
    let style = BASE64_STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    let title = escaped(text(document, "/info/title"));
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>{STYLE}</style></head><body><h1>{title} {}</h1><p>{}</p>",
        escaped(text(document, "/info/version")),
        escaped(text(document, "/info/description")),
    );
    let operations = operations(document);
    html.push_str("<nav><ul>");
    for (method, path, operation) in &operations {
        let id = escaped(text(operation, "/operationId"));
        let (path, summary) = (escaped(path), escaped(text(operation, "/summary")));
        let _ = write!(
            html,
            "<li><a href=\"#{id}\"><code>{method} {path}</code></a> {summary}</li>"
        );
    }
    html.push_str("</ul></nav><main>");
    for (method, path, operation) in &operations {
        write_operation(&mut html, method, path, operation);
    }
    html.push_str("<section><h2>Bodies</h2>");
    for (name, schema) in members(document, "/components/schemas") {
        let name = escaped(name);
        let _ = write!(html, "<h3 id=\"{name}\">{name}</h3>");
        write_schema(&mut html, schema);
    }
    html.push_str("</section></main></body></html>");
    DocumentPage { html, policy }
}

/// The methods, paths and descriptions of all operations; HEAD stands with the GET that it is like.
fn operations(document: &Value) -> Vec<(String, &str, &Value)> {
    let paths = members(document, "/paths");
    let operations = paths.flat_map(|(path, item)| {
        let has = |method| item.get(method).is_some();
        let methods = members(item, "").filter(move |(it, _)| *it != "head" || !has("get"));
        methods.map(move |(method, it)| {
            let method = match method.as_str() {
                "get" if has("head") => "GET, HEAD".to_owned(),
                other => other.to_uppercase(),
            };
            (method, path.as_str(), it)
        })
    });
    operations.collect()
}

fn write_operation(html: &mut String, method: &str, path: &str, operation: &Value) {
    let id = escaped(text(operation, "/operationId"));
    let (path, summary) = (escaped(path), escaped(text(operation, "/summary")));
    let more = marked(text(operation, "/description"));
    let _ = write!(
        html,
        "<section id=\"{id}\"><h2><code>{method} {path}</code></h2><p>{summary}. {more}</p>"
    );
    let parameters = operation.get("parameters").and_then(Value::as_array);
    write_table(
        html,
        "Parameters",
        parameters.into_iter().flatten().map(parameter_row),
    );
    let bodies = members(operation, "/requestBody/content");
    let bodies = bodies.map(|(kind, content)| [kind.clone(), shape(content.get("schema"))]);
    write_table(
        html,
        "Body",
        bodies.map(|[kind, shape]| [escaped(&kind), shape]),
    );
    write_table(
        html,
        "Answers",
        members(operation, "/responses").map(answer_row),
    );
    html.push_str("</section>");
}

fn parameter_row(parameter: &Value) -> [String; 2] {
    let needed = if parameter["required"] == true {
        "needed"
    } else {
        "optional"
    };
    let (name, place) = (text(parameter, "/name"), text(parameter, "/in"));
    let name = format!(
        "<code>{}</code>, {}, {needed}",
        escaped(name),
        escaped(place)
    );
    [name, marked(text(parameter, "/description"))]
}

fn answer_row((status, answer): (&String, &Value)) -> [String; 2] {
    let mut says = marked(text(answer, "/description"));
    for (kind, content) in members(answer, "/content") {
        let (kind, shape) = (escaped(kind), shape(content.get("schema")));
        let _ = write!(says, "<br>{kind}: {shape}");
    }
    for (name, header) in members(answer, "/headers") {
        let (name, header) = (escaped(name), marked(text(header, "/description")));
        let _ = write!(says, "<br><code>{name}</code>: {header}");
    }
    [format!("<code>{}</code>", escaped(status)), says]
}

/// A heading and two columns of HTML; nothing where there is no row.
fn write_table(html: &mut String, heading: &str, rows: impl Iterator<Item = [String; 2]>) {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return;
    }
    let _ = write!(html, "<h3>{heading}</h3><table>");
    for [left, right] in rows {
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{left}</th><td>{right}</td></tr>"
        );
    }
    html.push_str("</table>");
}

fn write_schema(html: &mut String, schema: &Value) {
    let says = text(schema, "/description");
    let shown = serde_json::to_string_pretty(schema).unwrap_or_default();
    let (says, shown) = (marked(says), escaped(&shown));
    let _ = write!(html, "<p>{says}</p><pre><code>{shown}</code></pre>");
}

/// What a schema is called, as HTML: a link to its definition where it has one.
fn shape(schema: Option<&Value>) -> String {
    let Some(schema) = schema else {
        return String::new();
    };
    let all = schema.get("allOf").and_then(Value::as_array);
    let named = all.and_then(|all| all.first()).unwrap_or(schema);
    let link = text(named, "/$ref").rsplit_once('/');
    if let Some((_, name)) = link {
        let name = escaped(name);
        return format!("<a href=\"#{name}\">{name}</a>");
    }
    let either = schema.get("oneOf").and_then(Value::as_array);
    if let Some(either) = either {
        let shapes: Vec<_> = either.iter().map(|it| shape(Some(it))).collect();
        return shapes.join(", or ");
    }
    let parts = members(schema, "/properties").map(|(name, it)| part(schema, name, it));
    let parts: Vec<_> = parts.collect();
    if parts.is_empty() {
        escaped(
            schema
                .get("type")
                .and_then(Value::as_str)
                .unwrap_or("object"),
        )
    } else {
        parts.join(", ")
    }
}

/// A property as HTML: whether it has to be there, and what it is.
fn part(schema: &Value, name: &str, property: &Value) -> String {
    let required = schema.get("required").and_then(Value::as_array);
    let is_needed = required.is_some_and(|all| all.iter().any(|it| it == name));
    let needed = if is_needed { "" } else { " (optional)" };
    let says = text(property, "/description");
    let says = if says.is_empty() {
        String::new()
    } else {
        format!(": {}", marked(says.trim_end_matches('.')))
    };
    format!("<code>{}</code>{needed}{says}", escaped(name))
}

/// The members of the object at a JSON pointer (RFC 6901).
fn members<'a>(
    value: &'a Value,
    pointer: &str,
) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
    let object = value.pointer(pointer).and_then(Value::as_object);
    object.into_iter().flat_map(Map::iter)
}

/// The text at a JSON pointer, or none.
fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.unwrap_or_default()
}

/// A text as HTML in which what stands between backticks is code, as in Markdown.
fn marked(text: &str) -> String {
    let parts: Vec<_> = text.split('`').collect();
    let last = parts.len() - 1;
    let parts = parts.iter().enumerate().map(|(at, part)| {
        let part = escaped(part);
        match at % 2 {
            // Nothing ends it.
            1 if at == last => format!("`{part}"),
            1 => format!("<code>{part}</code>"),
            _ => part,
        }
    });
    parts.collect()
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_body_of_several_shapes_has_the_fields_of_each_and_backticks_are_code() {
        let either = json!({ "oneOf": [
            { "properties": { "a": { "description": "One `x`." } }, "required": ["a"] },
            { "properties": { "b": {} } },
        ]});
        let shown = shape(Some(&either));
        let expected = "<code>a</code>: One <code>x</code>, or <code>b</code> (optional)";
        assert_eq!(shown, expected);
        assert_eq!(marked("a `b` < c"), "a <code>b</code> &lt; c");
        assert_eq!(marked("a ` b"), "a ` b");
    }

    #[test]
    fn text_never_becomes_markup() {
        let evil = "<img src=x onerror=\"alert(1)\">&";
        let document = json!({
            "info": { "title": evil, "version": evil, "description": evil },
            "paths": { evil: { "get": { "operationId": evil, "summary": evil } } },
            "components": { "schemas": { evil: { "description": evil } } },
        });
        let page = render(&document);
        assert!(!page.html.contains("<img"), "{}", page.html);
        assert!(!page.html.contains("x onerror=\"alert"), "{}", page.html);
        assert!(page.html.contains("&lt;img src=x"));
    }
}
