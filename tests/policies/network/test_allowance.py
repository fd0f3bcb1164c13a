"""The grammar of `allowFrom` and `egress`."""

from typing import Any

import kubernetes_validate
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.network.allowance import Allowance, AllowanceError
from policies.network.parties import Certainty, PodParty
from policies.network.peers import Peer

_NAME = "kubernetes.io/metadata.name"

PEERS: dict[str, Any] = {
    "notebooks": {"namespaceSelector": {"matchLabels": {_NAME: "notebooks"}}},
    ".": {"podSelector": {}},
    "./app=x": {"podSelector": {"matchLabels": {"app": "x"}}},
    "*": {"namespaceSelector": {}},
    "*/a.b/c=": {
        "namespaceSelector": {},
        "podSelector": {"matchLabels": {"a.b/c": ""}},
    },
    "n/a=1,b=2": {
        "namespaceSelector": {"matchLabels": {_NAME: "n"}},
        "podSelector": {"matchLabels": {"a": "1", "b": "2"}},
    },
    "10.1.2.3": {"ipBlock": {"cidr": "10.1.2.3/32"}},
    "10.1.2.3/8:443": {"ipBlock": {"cidr": "10.0.0.0/8"}},
    "[fd00::1]": {"ipBlock": {"cidr": "fd00::1/128"}},
    "[FD00::/8]:1-65535": {"ipBlock": {"cidr": "fd00::/8"}},
}


@pytest.mark.parametrize("text", PEERS)
def test_the_peer_of_a_text(text: str) -> None:
    assert Allowance.ingress(text).peer() == PEERS[text]
    assert Allowance.egress(text).peer() == PEERS[text]


def test_ports_are_merged_and_ranges_keep_both_ends() -> None:
    ports = Allowance.ingress("a:8265,10001-10003,10003-10010,1").ports
    assert ports == (range(1, 2), range(8265, 8266), range(10001, 10011))
    assert Allowance.ingress("a").ports == ()


REFUSED = {
    "": "'' is not the name of a namespace",
    "Notebooks": "is not the name of a namespace",
    "-a": "is not the name of a namespace",
    "a" * 64: "is not the name of a namespace",
    "fd00::1": "is not a port",
    "a/": "'' is not a label: write NAME=VALUE",
    "a/b": "'b' is not a label",
    "a/b=c,": "'' is not a label",
    "a/b=c,b=d": "b is there twice",
    "a/x..y/b=c": "is not a label",
    "a/-x/b=c": "is not a label",
    f"a/{'a.' * 127}/b=c": "is not a label",
    "a:": "'' is not a port",
    "a:0": "'0' is not a port",
    "a:65536": "'65536' is not a port",
    "a:9-8": "'9-8' is not a port",
    "a:dashboard": "'dashboard' is not a port",
    "a:\u0668": "is not a port",
    "10.0.0.0/33": "is not an address or a CIDR",
    "10.0.0.256": "is not an address or a CIDR",
    "[fd00::/129]": "is not an address or a CIDR",
    "[::ffff:10.0.0.1]": "is an IPv4 address: write it as one",
    "10.0.0.1x": "is not a port",
    "a:" + "1," * 200: "longer than 300 characters",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_refused_and_why(text: str) -> None:
    for parse in (Allowance.ingress, Allowance.egress):
        with pytest.raises(AllowanceError) as raised:
            parse(text)
        assert REFUSED[text] in str(raised.value)


def test_what_has_a_name_is_for_egress_only() -> None:
    for name in ("api-server", "dns", "internet"):
        assert Allowance.egress(f" {name} ").name == name
        with pytest.raises(AllowanceError, match="for egress only"):
            Allowance.ingress(name)


def test_only_the_internet_takes_ports() -> None:
    assert Allowance.egress("internet:443").ports == (range(443, 444),)
    for text in ("dns:53", "api-server:6443"):
        with pytest.raises(AllowanceError, match="has ports of its own"):
            Allowance.egress(text)


_alphabet = st.sampled_from([*"ab0159.-_/:,=*[]%\u0660é \n", "fd00::", "10.0.0.0", "/8", "dns"])
_texts = st.text(max_size=40) | st.lists(_alphabet, max_size=12).map("".join)
_namespaces = st.from_regex(r"\A(\*|\.|[a-z]([a-z0-9-]{0,8}[a-z0-9])?)\Z")
_labels = st.dictionaries(
    st.from_regex(r"\A([a-z]{1,3}\.[a-z]{1,3}/)?[a-zA-Z][a-zA-Z0-9_.-]{0,5}[a-z]\Z"),
    st.from_regex(r"\A([a-z]([a-z0-9_.]{0,5}[a-z0-9])?)?\Z"),
    max_size=3,
)
_ports = st.lists(st.integers(1, 65535), max_size=4)


@given(_texts)
def test_a_text_is_refused_or_gives_a_peer_that_kubernetes_takes(text: str) -> None:
    try:
        allowance = Allowance.egress(text)
    except AllowanceError:
        return
    if allowance.name:
        return
    assert _is_valid(allowance)


@given(_namespaces, _labels, _ports)
def test_what_is_written_is_what_is_read(
    namespace: str, labels: dict[str, str], ports: list[int]
) -> None:
    text = namespace
    if labels:
        text += "/" + ",".join(f"{name}={value}" for name, value in labels.items())
    if ports:
        text += ":" + ",".join(map(str, ports))
    allowance = Allowance.egress(text)
    if allowance.name:
        return
    assert dict(allowance.labels) == labels
    assert {port for span in allowance.ports for port in span} == set(ports)
    assert _is_valid(allowance)
    peer = Peer.of(allowance.peer())
    own = "own" if namespace == "." else "another"
    where = {"*": "anywhere", ".": own}.get(namespace, namespace)
    assert peer.includes(PodParty(where, labels), own) is Certainty.YES


def _is_valid(allowance: Allowance) -> bool:
    rule = {"from": [dict(allowance.peer())]}
    spec = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [rule]}
    kubernetes_validate.validate(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "x", "namespace": "y"},
            "spec": spec,
        },
        "1.37",
        strict=True,
    )
    return True
