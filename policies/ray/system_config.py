"""The option `--system-config` of `ray start`: JSON that overrides Ray's internal settings.

The names are those of `RayConfig` (Ray `src/ray/common/ray_config_def.h`, and the names in the
compiled part of Ray 2.52.0 to 2.60.0). Ray compares them exactly, and stops at an unknown one.
"""

import re
from collections.abc import Iterator, Mapping

import orjson

_TLS = "controls TLS inside Ray"
_AUTH = "controls authentication inside Ray"
# The settings that turn a protection off or load code, and what each does.
_HARMS: Mapping[str, str] = {
    "AUTH_MODE": _AUTH,
    "ENABLE_K8S_TOKEN_AUTH": _AUTH,
    "TLS_CA_CERT": _TLS,
    "TLS_SERVER_CERT": _TLS,
    "TLS_SERVER_KEY": _TLS,
    "USE_TLS": _TLS,
    "enable_cluster_auth": _AUTH,
    "preload_python_modules": "loads code into every worker",
    "testing_rpc_failure": "makes calls between Ray's processes fail",
}
# The parts of a word to bash: '...', "..." and characters that mean themselves.
_PART = re.compile(r"""'([^']*)'|"((?:[^"\\]|\\.)*)"|([^'"]+)""", re.DOTALL)


def harmful_settings(word: str) -> Iterator[tuple[str, str]] | None:
    """Each harmful setting in a value of `--system-config` and what it does, sorted by name.

    `word` is the value as it stands in a bash command line, one word without expansions. None if it
    is not a JSON object.
    """
    try:
        config = orjson.loads(unquoted(word))
    except orjson.JSONDecodeError:
        return None
    if not isinstance(config, dict):
        return None
    return ((name, _HARMS[name]) for name in sorted(_HARMS.keys() & config.keys()))


def unquoted(word: str) -> str:
    """The text that bash makes of a word without expansions: the quotes are gone."""
    parts = []
    for single, double, bare in _PART.findall(word):
        parts.append(single or double.replace('\\"', '"') or bare)
    return "".join(parts)
