"""Certificates for tests: authorities, and what they sign, as PEM files."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_HOUR: Final = dt.timedelta(hours=1)


class Signed(NamedTuple):
    """Files of a certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates of servers and clients. Its own is in the file `certificate`."""

    def __init__(self, place: Path, name: str) -> None:
        """Make its key and certificate below `place`."""
        place.mkdir(parents=True, exist_ok=True)
        self._place = place
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _subject(name)
        self._count = 0
        own = _builder(self._name, self._name, self._key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.certificate = place / "ca.crt"
        self.certificate.write_bytes(_pem(own.sign(self._key, hashes.SHA256())))

    @property
    def pem(self) -> str:
        """Its certificate."""
        return self.certificate.read_text()

    def server(self, name: str = "localhost") -> Signed:
        """Sign the certificate of a server at 127.0.0.1 and ::1."""
        names = [
            x509.DNSName(name),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            x509.IPAddress(ipaddress.ip_address("::1")),
        ]
        return self._sign(_subject(name), ExtendedKeyUsageOID.SERVER_AUTH, names)

    def client(self, name: str, *groups: str) -> Signed:
        """Sign the certificate of a client: its common name and organizations."""
        return self._sign(_subject(name, *groups), ExtendedKeyUsageOID.CLIENT_AUTH, [])

    def _sign(
        self, subject: x509.Name, use: x509.ObjectIdentifier, names: list[x509.GeneralName]
    ) -> Signed:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(subject, self._name, key.public_key()).add_extension(
            x509.ExtendedKeyUsage([use]), critical=False
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        self._count += 1
        signed = Signed(self._place / f"{self._count}.crt", self._place / f"{self._count}.key")
        signed.certificate.write_bytes(_pem(builder.sign(self._key, hashes.SHA256())))
        signed.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return signed


def client_context(authority: Authority, client: Signed | None = None) -> ssl.SSLContext:
    """Trust servers that an authority signed, and show a client's certificate."""
    context = ssl.create_default_context(cafile=str(authority.certificate))
    if client is not None:
        context.load_cert_chain(client.certificate, client.key)
    return context


def _subject(name: str, *groups: str) -> x509.Name:
    return x509.Name(
        [
            *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _HOUR)
        .not_valid_after(now + 24 * _HOUR)
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
