"""The node's addresses and its link to this machine: what a new network namespace alone does not bring."""

from __future__ import annotations

import re
import secrets
import subprocess
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from sandbox.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Sequence

NODE_NAME = "real-0"
LABEL = ("stanch.dev/node", "real")  # of the node; its taint has the same key and value
TAINT = {"key": LABEL[0], "value": LABEL[1], "effect": "NoSchedule"}

# Every sandbox may use the same pod addresses: no packet with one leaves the node's network namespace.
# KWOK's pods have 10.0.0.0/16, Services 10.96.0.0/16.
POD_CIDR = IPv4Network("10.244.0.0/24")

# For the two ends of the link: RFC 2544 keeps these addresses for tests, so they are nobody's.
_LINKS = IPv4Network("198.18.0.0/15")


@dataclass(frozen=True)
class Link:
    """A pair of addresses, this machine's and the node's, of one of 32 768 networks."""

    number: int

    @classmethod
    def free(cls) -> Link:
        """One that this machine has no address in; of those any, so that two sandboxes starting differ."""
        taken = {
            IPv4Address(address)
            for address in re.findall(r"inet (\S+?)/", _run(["ip", "-oneline", "-4", "address"]))
        }
        while True:
            link = cls(secrets.randbelow(2 ** (30 - _LINKS.prefixlen)))
            if link.host not in taken:
                return link

    @property
    def _network(self) -> int:
        return int(_LINKS.network_address) + 4 * self.number

    @property
    def host(self) -> IPv4Address:
        return IPv4Address(self._network + 1)

    @property
    def node(self) -> IPv4Address:
        return IPv4Address(self._network + 2)

    def connect(self, init: int) -> None:
        """Join this machine and the network namespace of process `init`; gone when that namespace is.

        There is no default route: what is meant for anywhere else ends in the namespace.
        """
        outside = f"stanch{init}"
        _run(["ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", str(init)])
        _run(["ip", "address", "add", f"{self.host}/30", "dev", outside])
        _run(["ip", "link", "set", outside, "up"])
        inside = ["nsenter", f"--target={init}", "--net", "--"]
        for command in (
            ["ip", "link", "set", "lo", "up"],
            ["ip", "address", "add", f"{self.node}/30", "dev", "eth0"],
            ["ip", "link", "set", "eth0", "up"],
            ["sysctl", "-qw", "net.ipv4.ip_forward=1"],
            ["sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1"],
            # The API server knows no way back to a pod's address.
            [
                "iptables",
                "-t",
                "nat",
                "-A",
                "POSTROUTING",
                "-s",
                str(POD_CIDR),
                "-o",
                "eth0",
                "-j",
                "MASQUERADE",
            ],
        ):
            _run([*inside, *command])


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StartError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
    return done.stdout
