//! A document as a page to read: without a script, and with nothing that is loaded.

#![expect(clippy::format_push_string, reason = "the page is made once")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mintgate_domain::TokenHash;
use serde_json::Value;

const STYLE: &str = include_str!("page.css");

/// The policy of the page (CSP Level 3): its own style, and nothing else.
pub(super) fn content_security_policy() -> String {
    let style = STANDARD.encode(TokenHash::of(STYLE).as_bytes());
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
}

/// The page about a document, which is answered beside it as `openapi.json`.
pub(super) fn page(document: &Value) -> String {
    let info = &document["info"];
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}: API</title><style>{STYLE}</style><h1>{title} \
         <small>{version}</small></h1>{description}<p>Made from <a href=\"openapi.json\">openapi.json</a>, \
         an OpenAPI 3.1 document.</p>",
        title = escaped(&info["title"]),
        version = escaped(&info["version"]),
        description = prose(&info["description"]),
    );
    let operations: Vec<_> = members(&document["paths"])
        .flat_map(|(path, methods)| members(methods).map(move |(method, it)| (path, method, it)))
        .collect();
    for tag in items(&document["tags"]).map(|tag| &tag["name"]) {
        html += &format!("<h2>{}</h2>", escaped(tag));
        for (path, method, it) in operations.iter().filter(|(_, _, it)| &it["tags"][0] == tag) {
            html += &operation(document, path, method, it);
        }
    }
    html += "<h2>Types</h2>";
    for (name, schema) in members(&document["components"]["schemas"]) {
        html += &format!(
            "<details><summary><code>{name}</code></summary><div id=\"{name}\">{}{}</div></details>",
            prose(&schema["description"]),
            table(&fields(schema)),
        );
    }
    html
}

fn operation(document: &Value, path: &str, method: &str, it: &Value) -> String {
    let id = escaped(&it["operationId"]);
    let mut html = format!(
        "<details><summary><b class=\"method {method}\">{}</b> <code>{path}</code> \
         <span>{}</span></summary><div id=\"{id}\">{}",
        method.to_uppercase(),
        escaped(&it["summary"]),
        prose(&it["description"]),
    );
    let schemes = items(&it["security"]).flat_map(|one| members(one).map(|(name, _)| name));
    let schemes: Vec<_> = schemes
        .map(|name| {
            let scheme = &document["components"]["securitySchemes"][name];
            let header =
                format!("Authorization: {}", scheme["scheme"].as_str().unwrap_or_default());
            let shown = scheme["name"].as_str().map(|cookie| format!("Cookie: {cookie}"));
            [code(&shown.unwrap_or(header)), String::new(), prose(&scheme["description"])]
        })
        .collect();
    html += &section("One of these credentials", &schemes);
    let parameters = items(&it["parameters"]).map(|parameter| {
        let place = parameter["in"].as_str().unwrap_or_default();
        let kind = format!("{place}, {}", kind(&parameter["schema"]));
        [
            code(parameter["name"].as_str().unwrap_or_default()),
            kind,
            prose(&parameter["description"]),
        ]
    });
    html += &section("Parameters", &parameters.collect::<Vec<_>>());
    let body = members(&it["requestBody"]["content"]).map(|(media_type, content)| {
        let need = if it["requestBody"]["required"] == true { "" } else { "may be left out" };
        [code(media_type), kind(&content["schema"]), need.to_owned()]
    });
    html += &section("Body", &body.collect::<Vec<_>>());
    let answers = members(&it["responses"]).map(|(status, answer)| {
        let answer = resolved(document, answer);
        let contents = members(&answer["content"]).map(|(_, content)| kind(&content["schema"]));
        let mut bodies: Vec<_> = contents.collect();
        bodies.dedup();
        [code(status), bodies.join(""), prose(&answer["description"])]
    });
    html += &section("Answers", &answers.collect::<Vec<_>>());
    html += &format!(
        "<h3>Try it</h3><pre>{}</pre></div></details>",
        escaped(&curl(document, path, method, it).into())
    );
    html
}

/// A command that sends the request.
fn curl(document: &Value, path: &str, method: &str, it: &Value) -> String {
    let server = document["servers"][0]["url"].as_str().unwrap_or_default();
    let mut command = format!("curl -i -X {} '{server}{path}'", method.to_uppercase());
    let scheme = members(&it["security"][0]).next().map_or("", |(name, _)| name);
    match document["components"]["securitySchemes"][scheme]["scheme"].as_str() {
        Some("basic") => command += " -u \"$CLIENT:$SECRET\"",
        Some(_) => command += " -H \"Authorization: Bearer $TOKEN\"",
        None if scheme.is_empty() => {}
        None => command += " -b cookies.txt",
    }
    if let Some((media_type, content)) = members(&it["requestBody"]["content"]).next() {
        let body = resolved(document, &content["schema"]);
        let example = &body["example"];
        if media_type.ends_with("json") && !example.is_null() {
            command += &format!(" -H 'Content-Type: {media_type}' -d '{example}'");
        } else if let Some(name) = body["required"][0].as_str() {
            command += &format!(" --data-urlencode '{name}@-'");
        }
    }
    command
}

fn section(title: &str, rows: &[[String; 3]]) -> String {
    if rows.is_empty() { String::new() } else { format!("<h3>{title}</h3>{}", table(rows)) }
}

fn table(rows: &[[String; 3]]) -> String {
    let rows = rows.iter().map(|[a, b, c]| format!("<tr><td>{a}<td>{b}<td>{c}"));
    format!("<table>{}</table>", rows.collect::<String>())
}

/// The members of an object, with those of its parts.
fn fields(schema: &Value) -> Vec<[String; 3]> {
    let parts = ["allOf", "anyOf"].into_iter().flat_map(|name| items(&schema[name]));
    let mut rows: Vec<_> = parts
        .flat_map(|part| match part["$ref"].as_str() {
            Some(_) => vec![["all of".to_owned(), kind(part), String::new()]],
            None => fields(part),
        })
        .collect();
    rows.extend(members(&schema["properties"]).map(|(name, member)| {
        let is_required = items(&schema["required"]).any(|required| required == name);
        let need = if is_required { "" } else { ", optional" };
        [code(name), format!("{}{need}", kind(member)), prose(&member["description"])]
    }));
    rows
}

/// The type of a schema, in few words.
fn kind(schema: &Value) -> String {
    if let Some((_, name)) = schema["$ref"].as_str().and_then(|it| it.rsplit_once('/')) {
        return format!("<a href=\"#{name}\">{name}</a>");
    }
    let of_many = items(&schema["oneOf"]).map(kind).collect::<Vec<_>>().join(" or ");
    // The second part narrows the first.
    let of_parts = items(&schema["allOf"]).next().map(kind).unwrap_or_default();
    let named = match &schema["type"] {
        Value::Array(names) => {
            names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or ")
        }
        name => name.as_str().unwrap_or_default().to_owned(),
    };
    let mut text = [of_many, of_parts, named].concat();
    if !schema["items"].is_null() {
        text += &format!(" of {}", kind(&schema["items"]));
    }
    match (schema["minLength"].as_u64(), schema["maxLength"].as_u64()) {
        (Some(min), Some(max)) => text += &format!(", {min} to {max} characters"),
        _ => text.extend(schema["format"].as_str().map(|format| format!(", {format}"))),
    }
    text
}

fn resolved<'a>(document: &'a Value, described: &'a Value) -> &'a Value {
    let reference = described["$ref"].as_str().and_then(|it| it.strip_prefix('#'));
    reference.and_then(|pointer| document.pointer(pointer)).unwrap_or(described)
}

fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A text of the document as HTML: paragraphs, lists, and what stands between backticks.
fn prose(text: &Value) -> String {
    let mut html = String::new();
    for block in text.as_str().unwrap_or_default().split("\n\n").filter(|block| !block.is_empty()) {
        let is_list = block.starts_with("- ");
        let parts = block.split(if is_list { "\n- " } else { "\n\n" });
        let marked = parts.map(|part| marked(part.trim_start_matches("- ")));
        if is_list {
            html += &format!(
                "<ul>{}</ul>",
                marked.map(|it| format!("<li>{it}")).collect::<Vec<_>>().concat()
            );
        } else {
            html += &format!("<p>{}", marked.collect::<String>());
        }
    }
    html
}

fn marked(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts
        .map(|(index, part)| if index % 2 == 1 { code(part) } else { escaped(&part.into()) })
        .collect()
}

fn code(text: &str) -> String {
    format!("<code>{}</code>", escaped(&text.into()))
}

fn escaped(text: &Value) -> String {
    let text = text.as_str().unwrap_or_default();
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_becomes_html_and_never_markup() {
        assert_eq!(
            prose(&json!("a `<b>` & \"c\"")),
            "<p>a <code>&lt;b&gt;</code> &amp; &quot;c&quot;"
        );
        assert_eq!(prose(&json!("- `A`: b\n- c")), "<ul><li><code>A</code>: b<li>c</ul>");
        assert_eq!(prose(&json!("one\ntwo\n\nthree")), "<p>one\ntwo<p>three");
        assert_eq!(prose(&Value::Null), "");
    }

    #[test]
    fn the_policy_allows_the_style_alone() {
        let policy = content_security_policy();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }
}
