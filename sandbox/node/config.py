"""The configuration files of the node's parts. Paths are those inside its mount namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.node.network import NODE_NAME, POD_CIDR, TAINT

if TYPE_CHECKING:
    from ipaddress import IPv4Address
    from pathlib import Path

HERE = "/run/node"  # the sandbox's directory for the node, as the node sees it
SOCKET = "/run/containerd/containerd.sock"
HEALTH_PORT = 10256  # kube-proxy's default


def containerd(plugins: Path, pause: str) -> str:
    return f"""\
version = 2
root = "{HERE}/containerd"
state = "/run/containerd"
oom_score = 0
disabled_plugins = [
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.opt",
]
[grpc]
address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = true # lowering the score takes a capability that a container does not have
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "{HERE}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "runc"
SystemdCgroup = false
"""


def pod_network() -> dict[str, Any]:
    """Pods on a bridge, where packets pass iptables (br_netfilter)."""
    addresses = {
        "type": "host-local",
        "dataDir": f"{HERE}/addresses",
        "ranges": [[{"subnet": str(POD_CIDR)}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "hairpinMode": True, "ipam": addresses}
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]}


def kubelet(address: IPv4Address, cgroup: str) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": str(address),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{HERE}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{HERE}/kubelet-server.crt",
        "tlsPrivateKeyFile": f"{HERE}/kubelet-server.key",
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup,
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "maxOpenFiles": 65536,
        "enforceNodeAllocatable": ["none"],
        # This machine's disk is not the node's to judge: nothing is evicted, no image deleted, for space.
        "evictionHard": {},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "registerWithTaints": [TAINT],
        "resolvConf": f"{HERE}/resolv.conf",
        "volumePluginDir": f"{HERE}/volume-plugins",
        "serializeImagePulls": False,
        "syncFrequency": "10s",
        "crashLoopBackOff": {"maxContainerRestartPeriod": "2s"},
        "logging": {"verbosity": 2},
    }


def kube_proxy(address: IPv4Address) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "bindAddress": str(address),
        "healthzBindAddress": f"{address}:{HEALTH_PORT}",
        "metricsBindAddress": "127.0.0.1:10249",
        "clientConnection": {"kubeconfig": f"{HERE}/kube-proxy.kubeconfig"},
        "hostnameOverride": NODE_NAME,
        "clusterCIDR": str(POD_CIDR),
        "detectLocalMode": "ClusterCIDR",
        "conntrack": {"maxPerCore": 0, "min": 0},  # the machine's, not this namespace's
        "iptables": {"minSyncPeriod": "50ms", "syncPeriod": "30s"},
        "oomScoreAdj": 0,
    }
