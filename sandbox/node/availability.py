"""Whether a real node can run here, found by trying what it does, and else the reason."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sandbox import versions
from sandbox.errors import SandboxError

# Commands, each with the Debian package it comes with.
_COMMANDS = {
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "containerd": "containerd",
    "containerd-shim-runc-v2": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables-restore": "iptables",
}
_PLUGINS = ("bridge", "host-local", "loopback")
_PLUGIN_PACKAGE = "containernetworking-plugins"
_PLUGIN_DIRECTORIES = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))

# What the kernel (and a container around us) has to allow: tried in namespaces that end with the trial.
_TRIAL = """
set -e
fail() { echo "$1" >&2; exit 1; }
mount -t tmpfs trial /mnt || fail "mounting a file system is refused"
mkdir /mnt/lower /mnt/upper /mnt/work /mnt/merged
mount -t overlay overlay -o lowerdir=/mnt/lower,upperdir=/mnt/upper,workdir=/mnt/work /mnt/merged \
  || fail "the kernel has no overlay file system"
ip link add trial0 type bridge || fail "the kernel makes no bridge"
ip link add trial1 type veth peer name trial2 || fail "the kernel makes no veth pair"
[ -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || fail "the kernel has no br_netfilter"
iptables -t nat -A POSTROUTING -j MASQUERADE || fail "iptables cannot masquerade"
iptables -A FORWARD -m conntrack --ctstate ESTABLISHED -j RETURN || fail "iptables has no conntrack"
"""


@dataclass(frozen=True)
class Availability:
    """True when a real node can run here; `reason` is empty then."""

    reason: str = ""

    def __bool__(self) -> bool:
        return not self.reason


@functools.cache
def real_node_available() -> Availability:
    """Ask the machine, once a process."""
    elsewhere = _belongs_elsewhere()
    if elsewhere:
        return Availability(elsewhere)
    packages = _missing_packages()
    if packages:
        return Availability(
            f"a real node needs the Debian packages {' '.join(packages)}: `make node` installs them"
        )
    controllers = Path("/sys/fs/cgroup")
    if not any(os.access(place, os.W_OK) for place in (controllers / "pids", controllers)):
        return Availability("a real node needs to write to /sys/fs/cgroup, which is read-only here")
    namespaces = ["unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--mount-proc"]
    done = subprocess.run([*namespaces, "sh", "-c", _TRIAL], capture_output=True, text=True, check=False)
    if done.returncode:
        return Availability(f"a real node cannot run here: {done.stderr.strip()}")
    return Availability()


def _belongs_elsewhere() -> str:
    if versions.chosen() != versions.MODULE_DIRECTORY:
        return f"a real node has a newer kubelet than {versions.CHOICE} has servers: unset it"
    if sys.platform != "linux":
        return f"a real node needs Linux, this is {sys.platform}"
    if os.geteuid() != 0:
        return "a real node needs root: run as root, or use a virtual machine"
    return ""


def require_real_node() -> Path:
    """The directory of the CNI plugins, where a real node can run.

    Raises:
        SandboxError: it cannot; the message says why.
    """
    available = real_node_available()
    plugins = plugin_directory()
    if not available or plugins is None:
        raise SandboxError(available.reason)
    return plugins


def plugin_directory() -> Path | None:
    """Where the CNI plugins are; None when some are missing."""
    for directory in _PLUGIN_DIRECTORIES:
        if all(os.access(directory / plugin, os.X_OK) for plugin in _PLUGINS):
            return directory
    return None


def _missing_packages() -> list[str]:
    missing = {package for command, package in _COMMANDS.items() if shutil.which(command) is None}
    if plugin_directory() is None:
        missing.add(_PLUGIN_PACKAGE)
    return sorted(missing)
