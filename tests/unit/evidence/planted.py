"""Credentials to plant, and workloads to plant them in."""

from __future__ import annotations

import base64
import string
from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]

ALNUM = string.ascii_letters + string.digits
URLSAFE = ALNUM + "-_"


def _text(alphabet: str, minimum: int, maximum: int) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=minimum, max_size=maximum)


def _sk() -> st.SearchStrategy[str]:
    """As issued: a random part in which capitals occur."""
    return st.builds(
        "{}{}Q".format, st.sampled_from(["sk-", "sk-proj-", "sk-ant-api03-"]), _text(ALNUM, 20, 60)
    )


JWTS = st.builds(
    "eyJ{}.eyJ{}.{}".format, _text(URLSAFE, 10, 60), _text(URLSAFE, 10, 60), _text(URLSAFE, 10, 60)
)
PEM_BODIES = st.lists(_text(ALNUM + "+/", 64, 64), min_size=1, max_size=12)

# Of these the shape alone tells what they are.
ISSUED: dict[str, st.SearchStrategy[str]] = {
    "JWT": JWTS,
    "AWS access key": st.builds(
        "{}{}".format, st.sampled_from(["AKIA", "ASIA"]), _text("ABCDEFGHIJ234567", 16, 16)
    ),
    "sk-": _sk(),
    "GitHub": st.builds(
        "{}{}".format, st.sampled_from(["ghp_", "gho_", "github_pat_"]), _text(ALNUM, 36, 60)
    ),
    "Slack": st.builds("xox{}-{}".format, st.sampled_from("abps"), _text(ALNUM + "-", 12, 60)),
    "Hugging Face": st.builds("hf_{}".format, _text(ALNUM, 34, 40)),
    "NVIDIA": st.builds("nvapi-{}".format, _text(URLSAFE, 40, 64)),
    "Google": st.builds("AIza{}".format, _text(URLSAFE, 35, 35)),
}
NAMES = (
    "API_KEY",
    "apiKey",
    "AUTH",
    "AWS_SECRET_ACCESS_KEY",
    "client-secret",
    "CONNECTION_STRING",
    "DB_PASSWD",
    "DB_PASS",
    "GITHUB_PAT",
    "GOOGLE_APPLICATION_CREDENTIALS_JSON",
    "HF_TOKEN",
    "HfToken",
    "OPENAI_API_KEYS",
    "PGPASSWORD",
    "SENTRY_DSN",
    "X-Api-Key",
)
# Anything at all that a shell could hold, but distinguishable from every name and word around it.
ARBITRARY = _text(string.ascii_letters + string.digits + string.punctuation + "äß中 ", 1, 40).map(
    lambda text: f"Zq7{text}9vW"
)
# Only what a URL can hold unescaped.
PASSWORDS = _text(ALNUM + "-._~!$&*+,;=@", 8, 40).map(lambda text: f"Zq7{text}9vW")


def pem(body: list[str]) -> str:
    lines = "\n".join(body)
    return f"-----BEGIN RSA PRIVATE KEY-----\n{lines}\n-----END RSA PRIVATE KEY-----"


def deployment(*, env: list[Json] | None = None, args: list[str] | None = None) -> Json:
    container = {
        "name": "vllm",
        "image": "registry.example/vllm@sha256:" + "0123456789abcdef" * 4,
        "command": ["vllm", "serve"],
        "args": args or ["--model=meta-llama/Llama-3.1-8B-Instruct", "--max-num-batched-tokens", "8192"],
        "env": env or [],
        "ports": [{"containerPort": 8000, "name": "http"}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": 8000}},
        "resources": {"limits": {"nvidia.com/gpu": "1"}},
        "volumeMounts": [{"mountPath": "/secrets", "name": "secrets", "readOnly": True}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "annotations": {"deployment.kubernetes.io/revision": "3"},
            "name": "sk-learn-inference-server",
            "namespace": "chat",
            "uid": "7d1b1f0e-37ab-4a6e-9a52-4f1a9d5c8f11",
        },
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "llm"}},
            "template": {
                "metadata": {"labels": {"app": "llm"}},
                "spec": {
                    "containers": [container],
                    "automountServiceAccountToken": False,
                    "imagePullSecrets": [{"name": "registry-token"}],
                    "serviceAccountName": "llm",
                    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
                    "volumes": [{"name": "secrets", "secret": {"secretName": "llm-api-key"}}],
                },
            },
        },
    }


def secret(name: str, values: dict[str, bytes]) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": name, "namespace": "chat"},
        "data": {key: base64.b64encode(value).decode() for key, value in values.items()},
    }
