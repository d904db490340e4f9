from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from stanch.evidence.reading import Limits
from stanch.evidence.store import StoreOptions
from stanch.settings import Settings


def test_evidence_is_stored_nowhere_unless_it_is_said_where(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().evidence_url is None
    monkeypatch.setenv("STANCH_EVIDENCE_URL", "s3://evidence/prod")
    monkeypatch.setenv("STANCH_EVIDENCE_ENDPOINT", "https://s3.example")
    monkeypatch.setenv("STANCH_EVIDENCE_CREDENTIALS_DIR", "/var/run/secrets/evidence")
    monkeypatch.setenv("STANCH_EVIDENCE_LOG_BYTES", "65536")
    settings = Settings()
    assert settings.evidence_url == "s3://evidence/prod"
    options = StoreOptions.of(settings)
    assert (options.endpoint, options.region) == ("https://s3.example", None)
    assert options.credentials == Path("/var/run/secrets/evidence")
    assert Limits.of(settings).log_bytes == 65_536
    assert Limits.of(settings).total_bytes == settings.evidence_bytes


@pytest.mark.parametrize("wrong", [{"evidence_log_bytes": 0}, {"evidence_bytes": 1}])
def test_a_limit_that_leaves_room_for_nothing_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(wrong)
