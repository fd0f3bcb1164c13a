"""An HTML page that needs no network and no other file: a template with our style and script."""

import base64
import hashlib
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

_FOLDER = "reports/html"


def html_document(template: str, page: Any) -> str:
    """The page of a template; the template escapes every text in `page`."""
    environment = Environment(
        loader=PackageLoader("webhook", _FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = _part("page.css"), _part("page.js")
    return environment.get_template(template).render(
        page=page,
        # These two are ours; nothing else is exempt from escaping.
        style=Markup(style),
        script=Markup(script),
        content_security_policy=_policy(style, script),
    )


def _part(name: str) -> str:
    return (files("webhook") / _FOLDER / name).read_text("utf-8")


def _policy(style: str, script: str) -> str:
    """Allows the page's own style and script, and nothing else."""
    return "; ".join(
        [
            "default-src 'none'",
            f"style-src '{_hash(style)}'",
            f"script-src '{_hash(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
