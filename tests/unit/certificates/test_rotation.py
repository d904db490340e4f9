"""When which step is due; and over years, that whoever has read `ca.crt` is not refused what is served."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import cycle

import pytest
from cryptography import x509
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from stanch.certificates.keys import Keys, settle
from stanch.certificates.rotation import (
    ANNOUNCE_BEFORE,
    LEAST_OVERLAP,
    SWITCH_BEFORE,
    Facts,
    Leaf,
    Span,
    Step,
    decide,
)

NOW = datetime(2026, 7, 1, tzinfo=UTC)
NAMES = frozenset({"stanch.safety.svc", "stanch.safety.svc.cluster.local"})
DAY = timedelta(days=1)


def days(begun: float, left: float) -> Span:
    """It began so many days ago, and ends in so many."""
    return Span(NOW - begun * DAY, NOW + left * DAY)


SIGNING = days(100, 900)
LEAF = Leaf(days(20, 70), NAMES, trusted=True)
WELL = Facts(SIGNING, None, LEAF, (SIGNING,))
OLD, NEXT = days(1000, 80), days(285, 800)
CHANGING = Facts(OLD, NEXT, replace(LEAF, span=days(20, 70)), (OLD, NEXT))


@pytest.mark.parametrize(
    ("facts", "step"),
    [
        pytest.param(WELL, Step.KEEP, id="nothing is due"),
        pytest.param(Facts(None, None, None, ()), Step.BEGIN, id="nothing is there"),
        pytest.param(replace(WELL, signing=days(1000, -1), leaf=None), Step.BEGIN, id="all has ended"),
        pytest.param(replace(WELL, signing=days(-1, 900), leaf=None), Step.BEGIN, id="of the future"),
        pytest.param(replace(WELL, leaf=None), Step.RENEW, id="no certificate"),
        pytest.param(replace(WELL, leaf=replace(LEAF, span=days(61, 29))), Step.RENEW, id="a third is left"),
        pytest.param(replace(WELL, leaf=replace(LEAF, span=days(91, -1))), Step.RENEW, id="it has ended"),
        pytest.param(replace(WELL, leaf=replace(LEAF, trusted=False)), Step.RENEW, id="somebody else's"),
        pytest.param(
            replace(WELL, leaf=replace(LEAF, names=frozenset({"stanch.other.svc"}))),
            Step.RENEW,
            id="for another namespace",
        ),
        pytest.param(
            replace(WELL, leaf=replace(LEAF, names=NAMES | {"alerts.example.test"})),
            Step.KEEP,
            id="one name more does no harm",
        ),
        pytest.param(replace(WELL, signing=days(1000, 364)), Step.ANNOUNCE, id="a year before the end"),
        pytest.param(CHANGING, Step.SWITCH, id="announced long ago"),
        pytest.param(
            replace(CHANGING, next=days(29, 1000)), Step.KEEP, id="announced too late: not everybody knows it"
        ),
        pytest.param(
            replace(
                CHANGING, signing=days(1000, 6), next=days(3, 1000), leaf=replace(LEAF, span=days(84, 6))
            ),
            Step.SWITCH,
            id="the last moment",
        ),
        pytest.param(
            replace(
                CHANGING, signing=days(1000, 20), next=days(9, 1000), leaf=replace(LEAF, span=days(9, 20))
            ),
            Step.KEEP,
            id="renewing gains nothing",
        ),
        pytest.param(replace(CHANGING, signing=None, leaf=None), Step.SWITCH, id="the signing key is lost"),
        pytest.param(replace(WELL, signing=None), Step.ANNOUNCE, id="it is lost, but what is served is good"),
        pytest.param(replace(WELL, bundle=(days(1095, -1), SIGNING)), Step.DROP, id="a former one has ended"),
        pytest.param(replace(WELL, bundle=(days(1000, 1), SIGNING)), Step.KEEP, id="it has not ended yet"),
    ],
)
def test_a_step_is_due(facts: Facts, step: Step) -> None:
    assert decide(facts, NAMES, NOW) is step


@dataclass
class Years:
    """Looks at one Secret: when each bundle could be read last, and when each certificate was made."""

    now: datetime = NOW
    keys: Keys = field(default_factory=Keys)
    published: dict[tuple[x509.Certificate, ...], datetime] = field(default_factory=dict)
    served: dict[x509.Certificate, datetime] = field(default_factory=dict)

    def look(self, later: float) -> tuple[Step, ...]:
        self.now += later * DAY
        self.keys, steps = settle(Keys.read(self.keys.wire()), NAMES, self.now)
        assert self.keys.certificate is not None
        self.published[self.keys.bundle] = self.now
        self.served.setdefault(self.keys.certificate, self.now)
        return steps

    @property
    def certificate(self) -> x509.Certificate:
        assert self.keys.certificate is not None
        return self.keys.certificate


def trusts(bundle: tuple[x509.Certificate, ...], leaf: x509.Certificate, at: datetime) -> bool:
    """As a sender judges it that wants a certificate for the Service's name."""
    store = verification.Store(list(bundle))
    judge = verification.PolicyBuilder().store(store).time(at)
    try:
        judge.build_server_verifier(x509.DNSName("stanch.safety.svc")).verify(leaf, [])
    except verification.VerificationError:
        return False
    return True


MOST_DAYS = 25
GAPS = st.lists(st.floats(8, MOST_DAYS), min_size=1, max_size=12)
"""Days between two looks, again and again."""


@given(GAPS)
@settings(max_examples=6, deadline=None)
def test_in_years_nobody_who_has_read_the_authorities_is_refused_and_one_look_settles_it(
    gaps: list[float],
) -> None:
    """However long ago it was read, up to the time between announcing an authority and signing with it; and
    what a replica that is late still serves is trusted by who reads only now.
    """
    years = Years()
    for gap in cycle(gaps):
        years.look(gap)
        assert years.look(0) == ()
        assert trusts(years.keys.bundle, years.certificate, years.now)
        assert years.certificate.not_valid_after_utc - years.now > (30 - MOST_DAYS) * DAY
        assert all(each.not_valid_after_utc > years.now for each in years.keys.bundle)
        if years.now > NOW + 5 * 365 * DAY:
            break
    assert len(years.published) >= 4, "an authority was announced, switched to, and the former one dropped"
    overlap = ANNOUNCE_BEFORE - SWITCH_BEFORE - MOST_DAYS * DAY
    for bundle, read in years.published.items():
        for leaf, made in years.served.items():
            met = max(read, made)
            if made - read <= overlap and met < leaf.not_valid_after_utc:
                assert trusts(bundle, leaf, met), (read, made)


@given(st.lists(st.floats(0, 2000), min_size=1, max_size=8))
@settings(max_examples=15, deadline=None)
def test_after_any_time_in_which_nothing_ran_something_good_is_served(gaps: list[float]) -> None:
    years = Years()
    for gap in gaps:
        years.look(gap)
        assert trusts(years.keys.bundle, years.certificate, years.now)


def test_of_a_former_authority_nothing_is_left_but_its_certificate() -> None:
    years = Years()
    years.look(0)
    first = years.keys.signing_key
    steps: list[Step] = []
    while Step.SWITCH not in steps:
        steps += years.look(10)
    assert steps[-1] is Step.SWITCH
    assert years.keys.signing_key != first
    assert years.keys.next_key is None
    assert len(years.keys.bundle) == 2
    while Step.DROP not in steps:
        steps += years.look(10)
    assert len(years.keys.bundle) == 1


@pytest.mark.parametrize("lost", ["ca.crt", "ca.key", "tls.crt", "tls.key", "next-ca.key"])
@pytest.mark.parametrize("left", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA", b"\xff\x00"])
def test_whatever_is_lost_or_garbled_is_made_good(lost: str, left: bytes) -> None:
    years = Years()
    years.look(0)
    years.look(740)  # the next authority is announced
    was = years.keys
    data = was.wire()
    assert lost in data
    made, _ = settle(Keys.read(data | {lost: left}), NAMES, years.now)
    assert made.certificate is not None
    assert trusts(made.bundle, made.certificate, years.now)
    if lost != "ca.crt":
        assert trusts(was.bundle, made.certificate, years.now), "who has read ca.crt is not refused"
        assert set(was.bundle) <= set(made.bundle)


def test_an_authority_that_is_announced_late_signs_when_senders_had_a_month() -> None:
    years = Years()
    years.look(0)
    years.look(3 * 365 - 80)
    assert len(years.keys.bundle) == 2
    announced = years.now
    while Step.SWITCH not in years.look(1):
        pass
    assert years.now - announced >= LEAST_OVERLAP - DAY


def test_the_certificate_is_for_servers_and_cannot_sign() -> None:
    years = Years()
    years.look(0)
    certificate = years.certificate
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert b"PRIVATE" in years.keys.served
    context = ssl.create_default_context(cadata=years.keys.wire()["ca.crt"].decode())
    assert len(context.get_ca_certs()) == 1
