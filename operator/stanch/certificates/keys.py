"""Authorities and certificates of the receiver as they stand in a Secret, and what a step makes of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from stanch.certificates.rotation import AUTHORITY_LIFE, LEAF_LIFE, Facts, Leaf, Span, Step, decide

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

BUNDLE, SIGNING_KEY, NEXT_KEY = "ca.crt", "ca.key", "next-ca.key"
CERTIFICATE, KEY = "tls.crt", "tls.key"

Key = ec.EllipticCurvePrivateKey
_EARLIER = timedelta(hours=1)
"""Clocks of senders may be late by this."""
_MOST_STEPS = 6


@dataclass(frozen=True, slots=True)
class Keys:
    """An authority is a certificate of the bundle and the key that fits it. What is garbled is not there."""

    bundle: tuple[x509.Certificate, ...] = ()
    signing_key: Key | None = None
    next_key: Key | None = None
    certificate: x509.Certificate | None = None
    key: Key | None = None

    @classmethod
    def read(cls, data: Mapping[str, bytes]) -> Self:
        """Of the Secret's decoded data."""
        certificate, *_ = (*_certificates(data.get(CERTIFICATE, b"")), None)
        return cls(
            _certificates(data.get(BUNDLE, b"")),
            _key(data.get(SIGNING_KEY, b"")),
            _key(data.get(NEXT_KEY, b"")),
            certificate,
            _key(data.get(KEY, b"")),
        )

    def wire(self) -> dict[str, bytes]:
        """The same, in PEM."""
        certificates = {CERTIFICATE: _pem(self.certificate)} if self.certificate else {}
        keys = {SIGNING_KEY: self.signing_key, NEXT_KEY: self.next_key, KEY: self.key}
        return {
            BUNDLE: b"".join(_pem(each) for each in self.bundle),
            **certificates,
            **{name: _private(key) for name, key in keys.items() if key is not None},
        }

    @property
    def served(self) -> bytes:
        """Certificate and key in one, as TLS wants them. Empty: there is none."""
        if self.certificate is None or self.key is None:
            return b""
        return _pem(self.certificate) + _private(self.key)

    def facts(self) -> Facts:
        signing, following = self.authority(self.signing_key), self.authority(self.next_key)
        return Facts(
            _span(signing) if signing else None,
            _span(following) if following else None,
            self._leaf(),
            tuple(_span(each) for each in self.bundle),
        )

    def authority(self, key: Key | None) -> x509.Certificate | None:
        if key is None:
            return None
        return next((each for each in self.bundle if _fits(each, key)), None)

    def _leaf(self) -> Leaf | None:
        certificate = self.certificate
        if certificate is None or self.key is None or not _fits(certificate, self.key):
            return None
        signers = [each for each in self.bundle if _signed(certificate, each)]
        return Leaf(_span(certificate), _names(certificate), trusted=bool(signers))


def settle(keys: Keys, names: frozenset[str], now: datetime) -> tuple[Keys, tuple[Step, ...]]:
    """What has to stand there now, and the steps that lead to it: none, if it does already."""
    steps: tuple[Step, ...] = ()
    while (step := decide(keys.facts(), names, now)) is not Step.KEEP:
        if len(steps) == _MOST_STEPS:
            raise RuntimeError(f"the steps do not come to an end: {', '.join(steps)}")
        keys = _perform(keys, step, names, now)
        steps += (step,)
    return keys, steps


def _perform(keys: Keys, step: Step, names: frozenset[str], now: datetime) -> Keys:
    match step:
        case Step.BEGIN:
            key, authority = _new_authority(now)
            begun = Keys((authority, *keys.bundle), key)
            return _with_leaf(begun, names, now)
        case Step.ANNOUNCE:
            key, authority = _new_authority(now)
            return replace(keys, bundle=(*keys.bundle, authority), next_key=key)
        case Step.SWITCH:
            return _with_leaf(replace(keys, signing_key=keys.next_key, next_key=None), names, now)
        case Step.RENEW:
            return _with_leaf(keys, names, now)
        case Step.DROP:
            return replace(keys, bundle=tuple(each for each in keys.bundle if _span(each).ends > now))
        case Step.KEEP:
            return keys


def _new_authority(now: datetime) -> tuple[Key, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    # A name of its own: some look for an issuer by that alone.
    name = _name(f"stanch receiver CA {serial:x}"[:40])
    usage = _usage(signs_certificates=True)
    public = key.public_key()
    certificate = (
        _begun(name, Span(now - _EARLIER, now + AUTHORITY_LIFE), key, serial)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    return key, certificate


def _with_leaf(keys: Keys, names: frozenset[str], now: datetime) -> Keys:
    signing_key, authority = keys.signing_key, keys.authority(keys.signing_key)
    if signing_key is None or authority is None:
        raise ValueError("there is no authority to sign with")
    key = ec.generate_private_key(ec.SECP256R1())
    ends = min(now + LEAF_LIFE, _span(authority).ends)
    ordered = sorted(names, key=lambda name: (len(name), name))
    certificate = (
        _begun(_name("stanch receiver"), Span(now - _EARLIER, ends), key, x509.random_serial_number())
        .issuer_name(authority.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in ordered]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), critical=False
        )
        .sign(signing_key, hashes.SHA256())
    )
    return replace(keys, certificate=certificate, key=key)


def _begun(subject: x509.Name, span: Span, key: Key, serial: int) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(span.begins)
        .not_valid_after(span.ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _span(certificate: x509.Certificate) -> Span:
    return Span(certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def _names(certificate: x509.Certificate) -> frozenset[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return frozenset()
    return frozenset(extension.value.get_values_for_type(x509.DNSName))


def _fits(certificate: x509.Certificate, key: Key) -> bool:
    try:
        return certificate.public_key() == key.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return False


def _signed(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, TypeError, ValueError, UnsupportedAlgorithm):
        return False
    return True


def _certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    try:
        return tuple(x509.load_pem_x509_certificates(pem))
    except (ValueError, x509.InvalidVersion):
        return ()


def _key(pem: bytes) -> Key | None:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, ec.EllipticCurvePrivateKey) else None


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
