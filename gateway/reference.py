"""The API reference as one page of plain HTML made from the OpenAPI document; reading it fetches nothing."""

from __future__ import annotations

import base64
import hashlib
import re
from html import escape
from importlib import resources
from typing import Any

Json = dict[str, Any]

_HERE = resources.files("gateway")
STYLE = (_HERE / "reference.css").read_text()
SCRIPT = (_HERE / "reference.js").read_text()


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


# The page may run its own script and nothing else, and load nothing from anywhere.
POLICY = (
    f"default-src 'none'; style-src {_hash(STYLE)}; script-src {_hash(SCRIPT)}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page(document: Json) -> str:
    """The whole page."""
    groups = _groups(document)
    info = document["info"]
    body = [f"<h1>{escape(info['title'])} API</h1><p class=dim>version {escape(info['version'])} · "]
    body += ['<a href="/openapi.json">openapi.json</a></p>', prose(info["description"])]
    body += ["<p id=none hidden>Nothing has all of these words.</p>"]
    for tag, operations in groups.items():
        about = next(t["description"] for t in document["tags"] if t["name"] == tag)
        body += [f'<section><h2 id="{_anchor(tag)}">{escape(tag)}</h2>{prose(about)}']
        body += [_operation(document, *operation) for operation in operations]
        body += ["</section>"]
    body += ["<section><h2 id=reasons>Reasons</h2>", *map(_reason, document["x-reasons"]), "</section>"]
    body += ["<section><h2 id=shapes>Shapes</h2>"]
    body += [_shape(name, schema) for name, schema in document["components"]["schemas"].items()]
    body += ["</section>"]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(info['title'])} API</title><style>{STYLE}</style>"
        f"<nav>{_contents(groups)}</nav><main>{''.join(body)}</main><script>{SCRIPT}</script></html>"
    )


def prose(text: str) -> str:
    """A comment as paragraphs: code in backticks, strong words, reasons that lead to their meaning."""
    made = []
    for paragraph in text.split("\n\n"):
        html = escape(paragraph.strip(), quote=False)
        html = re.sub(r"`([^`]+)`", r"<code>\1</code>", html)
        html = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", html)
        made.append(f"<p>{html}</p>" if html else "")
    return "".join(made)


def _groups(document: Json) -> dict[str, list[tuple[str, str, Json]]]:
    found: dict[str, list[tuple[str, str, Json]]] = {}
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            found.setdefault(operation["tags"][0], []).append((path, verb, operation))
    return found


def _contents(groups: dict[str, list[tuple[str, str, Json]]]) -> str:
    made = ['<input id="find" type="search" placeholder="Search ( / )" aria-label="Search the reference">']
    for tag, operations in groups.items():
        made.append(f"<div><h2>{escape(tag)}</h2>")
        for path, verb, operation in operations:
            made.append(
                f'<a href="#{_anchor(operation["operationId"])}" data-find="{_words(path, verb, operation)}">'
                f"{escape(operation['operationId'].rpartition('.')[2])}</a>"
            )
        made.append("</div>")
    return "".join([*made, '<h2><a href="#reasons">Reasons</a></h2><h2><a href="#shapes">Shapes</a></h2>'])


def _anchor(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)


def _words(path: str, verb: str, operation: Json) -> str:
    told = (path, verb, operation["operationId"], operation["summary"], operation["x-permission"])
    return escape(" ".join(told).lower())


def _operation(document: Json, path: str, verb: str, operation: Json) -> str:
    name = operation["operationId"]
    made = [f'<article id="{_anchor(name)}" data-find="{_words(path, verb, operation)}"><header>']
    made += [f"<span class='verb {verb}'>{verb.upper()}</span><h3><code>{escape(path)}</code></h3>"]
    name = name.partition(":")[0]
    made += [f"<span class=dim>{escape(name.rpartition('.')[2])}</span></header><div>"]
    made += [prose(operation["description"])]
    effects = "has effects" if operation["x-effects"] else "only reads"
    made += [f"<p class=dim>permission <code>{escape(operation['x-permission'])}</code> · "]
    made += [f"{operation['x-scope'].lower()} · {effects} · gRPC <code>{escape(name)}</code></p></div>"]
    given = [p for p in operation["parameters"] if "$ref" not in p]
    if given:
        rows = [_row(p["name"], p, p["schema"], p.get("required", False)) for p in given]
        made += [f"<details><summary>Parameters</summary><div><table>{''.join(rows)}</table></div></details>"]
    if "requestBody" in operation:
        schema = next(iter(operation["requestBody"]["content"].values()))["schema"]
        made += [f"<details><summary>Body</summary><div>{_fields(schema)}</div></details>"]
    made += [f"<details><summary>Answers</summary><div>{_answers(operation['responses'])}</div></details>"]
    return "".join([*made, "</article>"])


def _answers(responses: Json) -> str:
    rows = []
    for status, response in responses.items():
        if status == "200":
            schema = next(iter(response["content"].values()))["schema"]
            rows.append(f"<tr><td>200</td><td>{_type(schema)}</td></tr>")
        elif "x-reasons" in response:
            links = ", ".join(f'<a href="#reason-{name}">{name}</a>' for name in response["x-reasons"])
            rows.append(f"<tr><td>{status}</td><td>{links}</td></tr>")
    return f"<table>{''.join(rows)}</table>"


def _fields(schema: Json) -> str:
    if "$ref" in schema:
        return f"<p>{_type(schema)}</p>"
    must = schema.get("required", ())
    rows = [_row(name, each, each, name in must) for name, each in schema.get("properties", {}).items()]
    return f"<table>{''.join(rows)}</table>"


def _row(name: str, said: Json, schema: Json, must: bool) -> str:
    mark = " class=must" if must else ""
    note = " <span class=dim>(kept by the server)</span>" if said.get("readOnly") else ""
    about = prose(said.get("description", ""))
    return f"<tr><td><code{mark}>{escape(name)}</code></td><td>{_type(schema)}{note}{about}</td></tr>"


def _type(schema: Json) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{_anchor(name)}">{escape(name)}</a>'
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    kind = schema.get("format") or schema.get("type", "anything")
    rules = [f"{key} {schema[key]}" for key in _RULES if key in schema]
    said = " ".join([kind if isinstance(kind, str) else kind[0], *rules])
    return f"<span class=dim>{escape(said)}</span>"


_RULES = (
    "minLength", "maxLength", "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
    "minItems", "maxItems",
)  # fmt: skip


def _reason(reason: Json) -> str:
    name, sentence = reason["reason"], reason["sentence"]
    find = escape(f"{name} {reason['service']} {sentence['en']} {sentence['zh']}".lower())
    english, chinese = escape(sentence["en"]), escape(sentence["zh"])
    return (
        f'<article id="reason-{name}" data-find="{find}"><header><h3><code>{name}</code></h3>'
        f"<span class=dim>{escape(reason['service'])} · {reason['status']} · {reason['code']}</span></header>"
        f'<div><p>{english}</p><p lang="zh">{chinese}</p>{prose(reason["description"])}</div></article>'
    )


def _shape(name: str, schema: Json) -> str:
    values = schema.get("enum")
    inner = f"<p>{', '.join(f'<code>{escape(v)}</code>' for v in values)}</p>" if values else _fields(schema)
    about = prose(schema.get("description", ""))
    return (
        f'<article id="{_anchor(name)}" data-find="{escape(name.lower())}">'
        f"<header><h3>{escape(name)}</h3></header><div>{about}{inner}</div></article>"
    )
