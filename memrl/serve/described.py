"""The OpenAPI document as a page to read: one file, no scripts, nothing from elsewhere."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from starlette.responses import HTMLResponse, Response

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem }
body { color: #1b1b1b; background: #fff }
@media (prefers-color-scheme: dark) { body { color: #e6e6e6; background: #161616 } a { color: #8ab4f8 } }
summary { cursor: pointer; padding: .3rem 0 } code, pre { font: 14px/1.45 ui-monospace, monospace }
pre { overflow-x: auto; padding: .6rem; border: 1px solid #8886; border-radius: 4px }
table { border-collapse: collapse }
td { padding: .15rem .8rem .15rem 0; vertical-align: top }
.verb { display: inline-block; width: 4.5rem; font-weight: 600 }
"""
NO_SCRIPTS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'", "Cache-Control": "no-store"}


def described_page(document: dict[str, Any]) -> Response:
    """Return the page: each operation with its parameters, its body and its replies."""
    operations = [
        _operation(verb, path, told, document)
        for path, verbs in document["paths"].items()
        for verb, told in verbs.items()
    ]
    title = f"{escape(document['info']['title'])} {escape(document['info']['version'])}"
    html = (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{title}: REST</title>"
        f"<meta name='viewport' content='width=device-width'><style>{STYLE}</style></head><body><h1>{title}</h1>"
        "<p>The same for programs: <a href='/openapi.json'>/openapi.json</a>.</p><main>"
        f"{''.join(operations)}</main></body></html>"
    )
    return HTMLResponse(html, headers=NO_SCRIPTS)


def _operation(verb: str, path: str, told: dict[str, Any], document: dict[str, Any]) -> str:
    given = "".join(
        f"<tr><td><code>{escape(each['name'])}</code></td><td>{escape(each['in'])}</td>"
        f"<td>{escape(each.get('description') or each.get('schema', {}).get('description') or '')}</td></tr>"
        for each in told.get("parameters", ())
    )
    replies = "".join(
        f"<tr><td>{escape(status)}</td><td>{escape(each.get('description', ''))}</td></tr>"
        for status, each in sorted(told["responses"].items())
    )
    body = _schema(told.get("requestBody", {}), document)
    return (
        f"<details><summary><span class='verb'>{verb.upper()}</span><code>{escape(path)}</code></summary>"
        f"<p>{escape(told.get('description', ''))}</p>"
        f"{f'<h3>Parameters</h3><table>{given}</table>' if given else ''}"
        f"{f'<h3>Body</h3><pre>{body}</pre>' if body else ''}<h3>Replies</h3><table>{replies}</table></details>"
    )


def _schema(body: dict[str, Any], document: dict[str, Any]) -> str:
    schema = body.get("content", {}).get("application/json", {}).get("schema", {})
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    found = document["components"]["schemas"].get(name, schema)
    return escape(json.dumps(found.get("properties", found), indent=2, ensure_ascii=False)) if found else ""
