"""The network of the tests: a bridge, and a network namespace with an address for each pod."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Self

# The node, two pods of other namespaces, and the API server. The programs of all four run on the
# node, but NetworkPolicies tell them apart.
GATEWAY = "10.244.0.1"
DNS_ADDRESS, SIGNER_ADDRESS, API_SERVER_ADDRESS = "10.244.0.2", "10.244.0.3", "10.244.0.4"
_NETWORK = "10.244.0"
_BRIDGE = "pods"


def run(*command: str) -> str:
    """Run a command, which must succeed; returns its output."""
    process = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert process.returncode == 0, f"{' '.join(command)}: {process.stderr}"
    return process.stdout


def is_private() -> bool:
    """Whether this process has a private network namespace: only loopback may have an address."""
    lines = run("ip", "-oneline", "-4", "address").splitlines()
    return all(line.split()[1] == "lo" for line in lines)


def addresses() -> Iterator[str]:
    """Every address that a pod can have."""
    return (f"{_NETWORK}.{number}" for number in range(5, 255))


@dataclass
class Network:
    """A bridge in the network namespace of this process; both end with the process."""

    numbers: Iterator[int] = field(default_factory=count)

    def __enter__(self) -> Self:
        # `ip netns` stores namespaces below /run; do not use that of the machine.
        run("mount", "-t", "tmpfs", "tmpfs", "/run")
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", _BRIDGE, "type", "bridge")
        for address in (GATEWAY, DNS_ADDRESS, SIGNER_ADDRESS, API_SERVER_ADDRESS):
            run("ip", "address", "add", f"{address}/24", "dev", _BRIDGE)
        run("ip", "link", "set", _BRIDGE, "up")
        return self

    def __exit__(self, *_: object) -> None:
        run("ip", "link", "delete", _BRIDGE)

    def attach(self, address: str) -> Path:
        """Create a network namespace with this address; returns its file."""
        name = f"pod{next(self.numbers)}"
        run("ip", "netns", "add", name)
        outside = f"veth-{name}"
        run("ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "link", "set", outside, "master", _BRIDGE, "up")
        run("ip", "-netns", name, "link", "set", "lo", "up")
        run("ip", "-netns", name, "address", "add", f"{address}/24", "dev", "eth0")
        run("ip", "-netns", name, "link", "set", "eth0", "up")
        run("ip", "-netns", name, "route", "add", "default", "via", GATEWAY)
        place = Path("/run/netns") / name
        # Linux limits the rate of ICMP, by which a firewall says that a port is closed.
        run("nsenter", f"--net={place}", "sysctl", "-q", "-w", "net.ipv4.icmp_ratemask=0")
        return place

    def forward(self, address: str, port: int, local_port: int) -> None:
        """Forward an address of the bridge to a port on the loopback address; needs nft."""
        run("sysctl", "-q", "-w", f"net.ipv4.conf.{_BRIDGE}.route_localnet=1")
        run("nft", "add table ip forwarding")
        chain = "{ type nat hook prerouting priority -100; }"
        run("nft", f"add chain ip forwarding start {chain}")
        target = f"dnat to 127.0.0.1:{local_port}"
        run("nft", f"add rule ip forwarding start ip daddr {address} tcp dport {port} {target}")

    def detach(self, namespace: Path) -> None:
        """Delete a namespace whose processes have ended."""
        run("ip", "netns", "delete", namespace.name)
