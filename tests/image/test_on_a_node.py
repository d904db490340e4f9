"""The image and the chart together, on a node with a real kubelet: Helm's pods are the operator."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from sandbox import Sandbox
from sandbox.node.availability import real_node_available
from tests.charts.chart import CHART, run
from tests.cluster import kubectl_of
from tests.image.container import SOMEBODY
from tests.operator_process import Space, shape
from tests.real_node import ON_NODE, RealSpace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.image.conftest import Images

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]  # whichever comes first waits for the builds

NAMESPACE = "safety"
REPOSITORY = "sandbox.invalid/stanch"
PEOPLE_SAY = ("scale", "deployment/chat", "--replicas=2")


@dataclass(frozen=True)
class Installed:
    """A release of the chart with the built image, named by its digest, where only restricted pods may be."""

    sandbox: Sandbox
    home: Path
    digest: str

    @property
    def safety(self) -> Space:
        return Space(NAMESPACE, kubectl_of(self.sandbox, self.home), self.sandbox)

    def helm(self, *arguments: str) -> tuple[int, str]:
        kubeconfig = self.sandbox.admin_kubeconfig
        return run(*arguments, f"--namespace={NAMESPACE}", kubeconfig=kubeconfig, home=self.home)

    def install(self) -> None:
        values = self.home / "values.json"
        image = {"repository": REPOSITORY, "digest": self.digest}
        operator = {**ON_NODE, "runAsUser": SOMEBODY}
        values.write_text(json.dumps({"image": image, "operator": operator}))
        code, said = self.helm("install", "guard", str(CHART), f"--values={values}", "--wait", "--timeout=2m")
        assert code == 0, f"{said}\n{self.told()}"

    def told(self) -> str:
        """What a person would look at next."""
        looked = self.safety.kubectl("-n", NAMESPACE, "get", "pods,events").stdout
        return looked + self.log()

    def log(self) -> str:
        return self.safety.kubectl(
            "-n", NAMESPACE, "logs", "deployment/stanch", "--all-pods", "--tail=30"
        ).stdout


@pytest.fixture
def installed(images: Images, tmp_path: Path) -> Iterator[Installed]:
    available = real_node_available()
    if not available:
        pytest.skip(available.reason)
    sandbox = Sandbox.start(tmp_path / "real", real_node=True)
    try:
        assert sandbox.node is not None
        image = images.first
        sandbox.node.import_image(image.archive, REPOSITORY, image.digest)
        installed = Installed(sandbox, tmp_path, image.digest)
        installed.safety.kubectl("create", "namespace", NAMESPACE, check=True)
        restricted = "pod-security.kubernetes.io/enforce=restricted"
        installed.safety("label", "namespace", NAMESPACE, restricted)
        installed.install()
        yield installed
        print(installed.told())  # noqa: T201 - captured by pytest
    finally:
        sandbox.leave()
        sandbox.wait_end()


def test_helm_installs_it_it_contains_holds_and_gives_back_and_is_not_uninstalled_before(
    installed: Installed,
) -> None:
    safety = installed.safety
    pods = safety.pods()
    assert len(pods) == 2
    for pod in pods:
        (status,) = pod["status"]["containerStatuses"]
        assert status["ready"]
        assert status["restartCount"] == 0
        assert status["imageID"].endswith(installed.digest)
    assert "not found" in safety.refused("exec", "deployment/stanch", "--", "sh")
    doctor = ("python3", "-m", "stanch", "doctor", f"--operator-namespace={NAMESPACE}")
    safety("exec", "deployment/stanch", "--", *doctor)  # ends well where nothing has failed

    chat = safety.elsewhere(f"chat-{secrets.token_hex(4)}")
    chat.kubectl("create", "namespace", chat.name, check=True)
    space = RealSpace(installed.sandbox, chat.kubectl, chat.name)
    (server,) = space.run(space.model_server("chat"))
    before = shape(chat.get("deployment", "chat"))
    chat.contain("toxic", "Deployment/chat", steps=[{"scaleToZero": {}}])
    assert space.processes(server) == []
    assert "held by AIIncident toxic" in chat.refused(*PEOPLE_SAY)

    code, said = installed.helm("uninstall", "guard")
    assert code != 0, said
    assert f"still contained: {chat.name}/toxic" in safety("logs", "job/stanch-uninstall-check")
    assert "held by AIIncident toxic" in chat.refused(*PEOPLE_SAY)

    chat.release("toxic")
    assert shape(chat.get("deployment", "chat")) == before
    code, said = installed.helm("uninstall", "guard")
    assert code == 0, said
    chat.until_allowed(*PEOPLE_SAY)
    safety("wait", "pods", "--all", "--for=delete", "--timeout=60s")
