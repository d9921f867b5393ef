#!/usr/bin/env python3
"""Puts the golden vectors of `proto` into the corpora of the `proto-*` targets."""

import base64
import os
import re

here = os.path.dirname(os.path.abspath(__file__))
vectors = os.path.join(here, "..", "proto", "tests", "vectors")


def seed(target, name, content):
    folder = os.path.join(here, "corpus", target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as file:
        file.write(content)


def lines(file):
    with open(os.path.join(vectors, file), encoding="ascii") as text:
        return [(name, bytes.fromhex(der)) for name, der in (line.split() for line in text)]


def sections(pem):
    pattern = rb"-----BEGIN ([A-Z0-9 ]+)-----\n(.*?)-----END"
    return [(label, base64.b64decode(body)) for label, body in re.findall(pattern, pem, re.DOTALL)]


for name, der in lines("grants.txt"):
    seed("proto-grant", name, der)
# The first byte tells the target of which kind a message is: see proto_message.rs.
kinds = {"spawn": (2, 3), "console": (4, 5), "log": (6, 7), "stats": (8, 9), "hello": (10,)}
for name, message in lines("messages.txt"):
    for kind in kinds.get(name.split("-")[0], (0, 1)):
        seed("proto-message", f"{name}-{kind}", bytes([kind]) + message)
    header = len(message).to_bytes(4, "big") + (7).to_bytes(4, "big")
    seed("proto-frame", name, (header + message) * 2)
for name in sorted(os.listdir(os.path.join(vectors, "crls"))):
    with open(os.path.join(vectors, "crls", name), "rb") as file:
        pem = file.read()
    seed("proto-crl", name, pem)
    for label, der in sections(pem):
        if label == b"X509 CRL":
            seed("proto-crl", name + ".der", der)
    seed("proto-chain", name, b"".join(der for label, der in sections(pem) if label == b"CERTIFICATE"))
