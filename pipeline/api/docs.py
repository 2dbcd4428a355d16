"""The OpenAPI page: our own rendering of openapi.json, because the usual one loads its scripts from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

METHODS = ("get", "post", "put", "patch", "delete")


def page(spec: dict[str, Any]) -> str:
    """HTML of the OpenAPI document `spec`. No script; everything in one file."""
    info = spec["info"]
    body = "".join(_tags(spec))
    return (
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{escape(info['title'])}</title>"
        f"<meta name=viewport content='width=device-width, initial-scale=1'>"
        "<link rel=stylesheet href=/assets/docs.css></head><body><main>"
        f"<h1>{escape(info['title'])}</h1><p>{escape(info.get('description', ''))}</p>"
        f"<p>Machine-readable: <a href=/api/v1/openapi.json>openapi.json</a> · <a href=/>console</a></p>"
        f"{body}<h2>Shapes</h2>{''.join(_schemas(spec))}</main></body></html>"
    )


def _tags(spec: dict[str, Any]) -> Iterator[str]:
    groups: dict[str, list[str]] = {}
    for path, methods in spec["paths"].items():
        for method in METHODS:
            if method in methods:
                operation = methods[method]
                tag = operation.get("tags", ["other"])[0]
                groups.setdefault(tag, []).append(_operation(path, method, operation))
    for tag, operations in groups.items():
        yield f"<h2>{escape(tag)}</h2>{''.join(operations)}"


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    parameters = "".join(_parameter(p) for p in operation.get("parameters", []))
    body = _content(operation.get("requestBody", {}))
    responses = "".join(
        f"<tr><td>{code}</td><td>{escape(r.get('description', ''))} {_content(r)}</td></tr>"
        for code, r in operation.get("responses", {}).items()
    )
    return (
        f"<details><summary><b class={method}>{method.upper()}</b><code>{escape(path)}</code>"
        f"<span>{escape(operation.get('summary', ''))}</span></summary><div>"
        f"<p>{escape(operation.get('description', ''))}</p>"
        + (f"<h4>Parameters</h4><table>{parameters}</table>" if parameters else "")
        + (f"<h4>Body</h4><p>{body}</p>" if body else "")
        + f"<h4>Responses</h4><table>{responses}</table></div></details>"
    )


def _parameter(p: dict[str, Any]) -> str:
    schema = p.get("schema", {})
    facts = [p["in"], _type(schema), "required" if p.get("required") else ""]
    if schema.get("default") is not None:
        facts.append(f"default {schema['default']}")
    words = escape(p.get("description", schema.get("description", "")))
    return f"<tr><td>{escape(p['name'])}</td><td>{', '.join(filter(None, facts))}</td><td>{words}</td></tr>"


def _content(holder: dict[str, Any]) -> str:
    return " ".join(f"{escape(kind)} {_type(c.get('schema', {}))}" for kind, c in holder.get("content", {}).items())


def _type(schema: dict[str, Any]) -> str:
    """A short name of a JSON schema, linked to its shape if it has one."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f"<a href='#{name}'>{name}</a>"
    if "anyOf" in schema:
        return " or ".join(_type(s) for s in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(escape(str(v)) for v in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    kind = schema.get("format") or schema.get("type", "any")
    return escape(schema.get("title", "object") if kind == "object" else kind)


def _schemas(spec: dict[str, Any]) -> Iterator[str]:
    for name, schema in spec.get("components", {}).get("schemas", {}).items():
        rows = "".join(
            f"<tr><td>{escape(key)}</td><td>{_type(value)}</td></tr>"
            for key, value in schema.get("properties", {}).items()
        )
        words = escape(schema.get("description", ""))
        yield (
            f"<details id='{escape(name)}' open><summary><code>{escape(name)}</code><span>{words}</span></summary>"
            f"<div><table>{rows}</table></div></details>"
        )
