"""What can go wrong with the sandbox, said so that the reader knows what to do next."""

from __future__ import annotations


class SandboxError(Exception):
    """The sandbox could not do what was asked; the message says what, why, and what to do."""


class DownloadError(SandboxError):
    """A release binary could not be fetched or did not match its published checksum."""


class UnreachableError(DownloadError):
    """A release site did not answer at once."""

    def __init__(self, site: str, why: str) -> None:
        super().__init__(f"{site} does not answer ({why})")


class BuildError(SandboxError):
    """The Go toolchain was missing or refused; the message carries the end of its output."""


class StartError(SandboxError):
    """A part of the control plane did not come up; the message carries the end of its log."""
