"""Values as YAML in one line, for remediations."""

import json
import re
from typing import Any

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9./_-]*")
# Words that YAML reads as something else than text.
_NOT_TEXT = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null"})


def as_flow(value: Any) -> str:
    """`value` in YAML's flow style: `{ports: [{port: 53, protocol: UDP}]}`."""
    if isinstance(value, dict):
        entries = (f"{as_flow(name)}: {as_flow(entry)}" for name, entry in value.items())
        return f"{{{', '.join(entries)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(as_flow, value))}]"
    text = str(value)
    is_plain = _PLAIN.fullmatch(text) and text.lower() not in _NOT_TEXT
    if isinstance(value, str):
        return text if is_plain else json.dumps(text)
    return text
