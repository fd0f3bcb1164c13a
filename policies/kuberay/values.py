"""Numbers, durations and names as KubeRay and Kubernetes read them."""

import re
from typing import Any

import yaml

from policies.documents.yaml_scalars import scalar_value
from policies.ray.pod import Container

_DURATION = re.compile(
    r"[-+]?(?:(?:[0-9]{1,18}\.?[0-9]{0,18}|\.[0-9]{1,18})(?:ns|us|µs|μs|ms|s|m|h))+"
)
_WHOLE = re.compile(r"[-+]?[0-9]{1,18}")
_ONLY_ZEROS = re.compile(r"[-+]?[0.a-zµμ]*")
# Parsing takes time in a request, and no real runtime environment comes near this length.
_MAX_YAML = 128 * 1024
# Longer than every text that is read as a number or duration.
_MAX_LENGTH = 200
_LABEL_PART = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_DNS_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
_MAX_SUBDOMAIN = 253


def as_int(value: Any) -> int | None:
    """`value` if it is a whole number, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def is_placeholder(value: Any) -> bool:
    """True for text that a template fills in, such as `${REPLICAS}` or `{{ .Values.replicas }}`."""
    return isinstance(value, str) and ("$" in value or "{{" in value)


def is_duration(text: str) -> bool:
    """True for a duration of Go, such as `1h30m`."""
    return len(text) <= _MAX_LENGTH and (text == "0" or _DURATION.fullmatch(text) is not None)


def is_positive_duration(text: str) -> bool:
    """True for a duration of Go, or a number of seconds, above 0."""
    if not (is_duration(text) or is_whole(text)):
        return False
    return not text.startswith("-") and _ONLY_ZEROS.fullmatch(text) is None


def is_whole(text: str) -> bool:
    """True for the digits of a whole number."""
    return _WHOLE.fullmatch(text) is not None


def is_label_value(text: str) -> bool:
    """True for text that the value of a label may have."""
    return text == "" or _LABEL_PART.fullmatch(text) is not None


def is_label_name(text: str) -> bool:
    """True for text that the name of a label may have, with or without a prefix."""
    prefix, slash, name = text.rpartition("/")
    if slash and not is_subdomain(prefix):
        return False
    return _LABEL_PART.fullmatch(name) is not None


def is_dns_label(text: str) -> bool:
    """True for a DNS label (RFC 1123)."""
    return _DNS_LABEL.fullmatch(text) is not None


def is_dns_1035_label(text: str) -> bool:
    """True for a DNS label that starts with a letter (RFC 1035)."""
    return _DNS_LABEL.fullmatch(text) is not None and not text[0].isdigit()


def is_subdomain(text: str) -> bool:
    """True for a DNS name (RFC 1123), as most objects of Kubernetes have."""
    return len(text) <= _MAX_SUBDOMAIN and _SUBDOMAIN.fullmatch(text) is not None


def may_be_yaml_object(text: str) -> bool:
    """False for text that is no YAML, or whose first document is neither an object nor null."""
    if len(text) > _MAX_YAML:
        return True
    is_first = True
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if isinstance(event, yaml.DocumentEndEvent):
                return True
            if isinstance(event, yaml.NodeEvent) and is_first:
                is_first = False
                is_null = isinstance(event, yaml.ScalarEvent) and scalar_value(event) is None
                if not (is_null or isinstance(event, yaml.MappingStartEvent)):
                    return False
    except (yaml.YAMLError, ValueError):
        return False
    return True


def variable(container: Container, name: str) -> str:
    """The literal that KubeRay reads of a variable: that of the first entry in `env`."""
    if name not in container.variables.names:
        return ""
    _, entry = container.variables.of(name)[0]
    value = entry.get("value")
    return value if isinstance(value, str) else ""
