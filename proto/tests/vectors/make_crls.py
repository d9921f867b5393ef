#!/usr/bin/env python3
"""Makes the golden revocation lists in `crls/` with encoders that are not ours.

    pip install cryptography && python3 make_crls.py

Needs `openssl` too, which makes `openssl.crl`. Each file is a list in PEM and the chain of its issuer; `crls.rs`
beside this folder says what each means.
"""

import datetime
import os
import subprocess
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

here = os.path.dirname(os.path.abspath(__file__))
out = os.path.join(here, "crls")
GRANT = x509.ObjectIdentifier("2.25.2342026648582221423.1")
with open(os.path.join(here, "grants.txt"), encoding="ascii") as file:
    grants = {name: bytes.fromhex(der) for name, der in (line.split() for line in file)}


def day(year, month=1, day=1):
    return datetime.datetime(year, month, day, tzinfo=datetime.timezone.utc)


def name(label):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, label)])


def hash_of(key):
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


class Ca:
    def __init__(self, label, key, above=None, grant=None):
        self.label, self.key, self.above = label, key, above
        issuer = above or self
        self.key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = (
            x509.CertificateBuilder().subject_name(name(label)).issuer_name(name(issuer.label))
            .public_key(key.public_key()).serial_number(0x1001 if above else 1)
            .not_valid_before(day(2026)).not_valid_after(day(2036 if above else 2046))
            .add_extension(x509.BasicConstraints(True, None), True).add_extension(usage, True)
            .add_extension(self.key_id, False))
        if above:
            builder = (
                builder.add_extension(self.authority(issuer), False)
                .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
                .add_extension(x509.UnrecognizedExtension(GRANT, grants[grant]), False))
        self.cert = builder.sign(issuer.key, hash_of(issuer.key))

    @staticmethod
    def authority(issuer):
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer.key_id)

    def chain(self):
        below_root = self.above is not None
        return self.pem() + self.above.chain() if below_root else b""

    def pem(self):
        return self.cert.public_bytes(serialization.Encoding.PEM)

    def crl(self, number, entries):
        builder = (
            x509.CertificateRevocationListBuilder().issuer_name(name(self.label))
            .last_update(day(2026, 5, 1)).next_update(day(2026, 7, 1))
            .add_extension(x509.CRLNumber(number), False).add_extension(self.authority(self), False))
        for serial, extensions in entries:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(day(2026, 4, 30))
            for extension in extensions:
                entry = entry.add_extension(extension, False)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.key, hash_of(self.key)).public_bytes(serialization.Encoding.PEM)


def write(file, *parts):
    with open(os.path.join(out, file), "wb") as target:
        target.write(b"".join(parts))


def openssl_crl(ca):
    """The list of `openssl ca -gencrl`: number 0x1000, serials 0x1234 and 0xff of which the first is on hold."""
    with tempfile.TemporaryDirectory() as directory:
        def path(file, content=None):
            file = os.path.join(directory, file)
            if content is not None:
                with open(file, "wb") as target:
                    target.write(content)
            return file

        path("index.txt", b"R\t360101000000Z\t260430000000Z,certificateHold\t1234\tunknown\t/CN=x\n"
                          b"R\t360101000000Z\t260430000000Z\tFF\tunknown\t/CN=y\n")
        path("crlnumber", b"1000\n")
        pem = ca.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                   serialization.NoEncryption())
        config = path("ca.cnf", f"""
            [ca]
            default_ca = one
            [one]
            database = {directory}/index.txt
            crlnumber = {directory}/crlnumber
            default_md = sha256
            crl_extensions = list
            [list]
            authorityKeyIdentifier = keyid
            """.encode())
        subprocess.run(
            ["openssl", "ca", "-gencrl", "-config", config, "-cert", path("ca.pem", ca.pem()), "-keyfile",
             path("ca.key", pem), "-crl_lastupdate", "20260501000000Z", "-crl_nextupdate", "20260701000000Z",
             "-out", path("list.crl")], check=True)
        with open(path("list.crl"), "rb") as file:
            return file.read()


root = Ca("ca root", ed25519.Ed25519PrivateKey.from_private_bytes(bytes([1] * 32)))
dev = Ca("dev", ed25519.Ed25519PrivateKey.from_private_bytes(bytes([2] * 32)), root, "delegation-large")
alice = Ca("alice", ec.derive_private_key(3, ec.SECP256R1()), dev, "delegation-small")
bob = Ca("bob", ec.derive_private_key(4, ec.SECP384R1()), dev, "delegation-small")

os.makedirs(out, exist_ok=True)
write("root.pem", root.pem())
write("root.crl", root.crl(1, [(0x1001, [])]))
write("dev.crl", dev.crl(2**159 - 1, [
    (2**159 - 1, [x509.CRLReason(x509.ReasonFlags.key_compromise), x509.InvalidityDate(day(2026, 4, 1))]),
    (0x80, [x509.CRLReason(x509.ReasonFlags.certificate_hold)]),
    (1, []),
]), dev.chain())
write("dev-with-root.crl", dev.crl(0, []), dev.chain(), root.pem())
write("alice.crl", alice.crl(7, [(5, [])]), alice.chain())
write("bob.crl", bob.crl(8, [(6, [])]), bob.chain())
write("openssl.crl", openssl_crl(alice), alice.chain())
