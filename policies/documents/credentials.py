"""What a credential looks like: names of variables, and forms of keys and tokens.

The forms are those of gitleaks (`config/gitleaks.toml`, July 2026) for the services that programs
on Ray use. Each repetition at the end of a form is exact, and each form that could start anywhere
has a lookbehind, so a search is linear in hostile text.
"""

import re
from collections.abc import Collection, Iterator, Mapping

_NAMES = re.compile(
    r"PASSWORD$|(?:^|_)(?:PASS|PASSWD|PASSPHRASE|SECRETS?|TOKEN|CREDENTIALS?|CONNECTION_STRING"
    r"|(?:API|ACCESS|PRIVATE|SECRET|ENCRYPTION|SIGNING|MASTER|ACCOUNT|STORAGE"
    r"|WANDB|COMET|NEPTUNE|NGC|OPENAI|ANTHROPIC|COHERE|MISTRAL|GEMINI)_?KEY"
    r"|ACCESS_KEY_(?:ID|SECRET))$|_(?:PWD|PAT)$"
)
# Every match of _NAMES ends in one of these, before words are parted by underscores.
_ENDINGS = (
    *("KEY", "KEY_ID", "KEY-ID", "KEYID", "TOKEN", "SECRET", "SECRETS", "PASS", "PASSWORD"),
    *("PASSWD", "PASSPHRASE", "CREDENTIAL", "CREDENTIALS", "STRING", "PWD", "PAT"),
)
# Every match of _NAMES contains one of these, so that one search is enough for many names.
_NAME_MARKS = ("KEY", "TOKEN", "SECRET", "PASS", "CREDENTIAL", "STRING", "PWD", "PAT")
# Special tokens of language models, and prices.
_OTHER_TOKENS = re.compile(
    r"(?:^|_)(?:PAD|EOS|BOS|UNK|MASK|SEP|CLS|STOP|START|END|IMAGE|AUDIO|VIDEO|SPECIAL|PER)_TOKEN$"
)
# Variables that hold the name of a Secret.
_SECRET_NAMES = re.compile(
    r"(?:^|_)(?:PULL|M?TLS|SSL|CA|CERT|CERTIFICATE|INGRESS|K8S|KUBE|KUBERNETES)_SECRETS?$"
)
_OBJECT_NAMES = re.compile(r"[a-z0-9][a-z0-9., -]{0,252}")
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[-. ]")

_VALUES = re.compile(
    r"A[KS]IA[0-9A-Z]{16}|LTAI[0-9A-Za-z]{12}|AIza[0-9A-Za-z_-]{35}"
    r"|gh[pousr]_[0-9A-Za-z]{36}|github_pat_\w{22}|glpat-[\w-]{20}|dckr_[op]at_[\w-]{20}"
    r"|hf_[0-9A-Za-z]{30}|nvapi-[\w-]{40}|xox[abeoprs]-[0-9A-Za-z-]{10}"
    r"|(?<![\w-])sk-(?=[A-Za-z_-]{0,40}[0-9])[\w-]{20}"
    r"|(?<![\w-])eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10}"
    r"|(?:Account|SharedAccess)Key=[0-9A-Za-z+/]{20}|[?&;]sig=[0-9A-Za-z%+/]{30}"
    r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----"
)
# Every match of _VALUES, and every URL with a password, contains one of these: a text, and if that
# is frequent, one of the texts beside it. A single rare character is found fastest.
_MARKS: Mapping[str, tuple[str, ...]] = {
    "@": (),
    "I": ("AKIA", "ASIA", "LTAI", "AIza"),
    "J": ("eyJ",),
    "=": ("Key=", "sig="),
    "Y": ("PRIVATE KEY",),
    "gh": ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
    "at_": ("github_pat_", "dckr_"),
    **dict.fromkeys(("hf_", "sk-", "xox", "glpat-", "nvapi-"), ()),
}
# The bounds keep the time of a search linear in hostile input.
_URL_WITH_PASSWORD = re.compile(r"://[^/\s:@$]{0,200}:[^/\s@$(<{]{1,200}@")

# Switches, numbers, and what people write where no key is needed or one is still missing.
_PLACEHOLDERS = re.compile(
    r"true|false|yes|no|on|off|none|null|nil|n/?a|empty|dummy|fake|unused|placeholder|redacted"
    r"|not[-_ ]?(?:needed|required|used|set|applicable)"
    r"|(?:sk-)?no[-_ ]?(?:key|token|auth|password)(?:[-_ ](?:required|needed))?"
    r"|(?:your|insert|replace|enter|put|add|todo)[-_ ][^\n]{0,100}"
    r"|(?:[a-z]{1,8}[-_])?x{3,}|\*{3,}|\.{3,}|[0-9.]{0,9}|<[^<>]{0,100}>|\[\w{0,30}\]",
    re.IGNORECASE,
)
_REFERENCES = re.compile(
    r"(?:Bearer )?(?:\$\(\w+\)|\$\{[^{}]{1,200}\}|\$[A-Z_][A-Z0-9_]*|\{\{[^{}]{1,200}\}\}|%\w+%)+"
    r"|(?:arn|acs|vault|bao|ssm|secretref|secretsmanager|azurekeyvault|keyvault|awskms|gcpkms|kms)"
    r":\S*|ref\+\S*|projects/[^/\s]{1,100}/secrets/\S*|ENC\[\S*"
)
_PATHS = re.compile(
    r"(?:file:|~)?/(?:app|certs?|config|credentials|data|dev|etc|home|keys?|mnt|opt|proc|root|run"
    r"|secrets?|srv|tmp|tokens?|usr|var|vault|workspace)(?:/[\w.@-]+)+/?"
)
_ANY_PATH = re.compile(r"/[\w./-]+")
# A URL with a query could hold the credential there; the URL of a webhook is one.
_URL = re.compile(r"(?!\S*hook)[a-z][a-z0-9+.-]{0,20}://[^\s?]*")

# `NAME=value`, `--name=value`, `--name value` and `"name": "value"` in a command line.
_ASSIGNMENTS = re.compile(
    r"(?<![\w-])(?:(-{0,2}[A-Za-z_][\w-]{0,80})(?:=[\"']?|\\?[\"']\s{0,3}:\s{0,3}\\?[\"'])"
    r"|(--[A-Za-z][\w-]{0,80})[ \n][\"']?(?!-))([^\s\"'\\;|&,}]{1,200})"
)
# A shell or a template replaces these.
_SUBSTITUTED = ("$", "`", "{", "%")


def may_name_credentials(names: str) -> bool:
    """False if no name in the text is a credential's; cheap for many names at once."""
    upper = names.upper()
    return any(map(upper.__contains__, _NAME_MARKS))


def may_be_named_credential(name: str) -> bool:
    """False for most names that are not a credential's, without a regex."""
    return name.upper().endswith(_ENDINGS)


def that_may_name_credentials(names: Collection[str]) -> set[str]:
    """The names for which `may_be_named_credential` is true."""
    pairs = zip(names, map(str.upper, names), strict=True)
    return {name for name, upper in pairs if upper.endswith(_ENDINGS)}


def marks_of_credentials(text: str) -> list[str]:
    """The marks in the text; without one, `contains_credential` is false for every part of it."""
    found: list[str] = []
    for mark in filter(text.__contains__, _MARKS):
        found += filter(text.__contains__, _MARKS[mark] or (mark,))
    return found


def contains_credential(text: str) -> bool:
    """The text contains a credential that is recognizable by its form."""
    if not marks_of_credentials(text):
        return False
    return bool(_VALUES.search(text)) or ("@" in text and bool(_URL_WITH_PASSWORD.search(text)))


def is_credential(name: str, value: str) -> bool:
    """The literal is a credential by its form, or by the name of its variable.

    References to a Secret and placeholders are no credentials.
    """
    if not value:
        return False
    return contains_credential(value) or _is_named_credential(name, value)


def assigns_credential(command: str) -> bool:
    """A command line gives a literal to a variable or an option that is named like a credential."""
    if not may_name_credentials(command):
        return False
    return any(
        not value.startswith(_SUBSTITUTED) and _is_named_credential(name, value)
        for name, value in _assignments(command)
    )


def _assignments(command: str) -> Iterator[tuple[str, str]]:
    for match in _ASSIGNMENTS.finditer(command):
        yield (match[1] or match[2]).lstrip("-"), match[3]


def _is_named_credential(name: str, value: str) -> bool:
    if not may_be_named_credential(name):
        return False
    upper = _WORDS.sub("_", name).upper()
    if not _NAMES.search(upper) or _OTHER_TOKENS.search(upper):
        return False
    if _SECRET_NAMES.search(upper) and _OBJECT_NAMES.fullmatch(value):
        return False
    # Variables such as GOOGLE_APPLICATION_CREDENTIALS hold the path of a file.
    if upper.endswith(("CREDENTIAL", "CREDENTIALS")) and _ANY_PATH.fullmatch(value):
        return False
    return not any(
        pattern.fullmatch(value) for pattern in (_PLACEHOLDERS, _REFERENCES, _PATHS, _URL)
    )
