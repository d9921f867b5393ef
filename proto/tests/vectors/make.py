#!/usr/bin/env python3
"""Makes the golden vectors of grants with an encoder that is not ours.

    pip install asn1tools && python3 make.py > grants.txt

One line a vector: a name, and the DER in hex. `grants.rs` beside this folder says what each means.
"""

import os

import asn1tools

here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "grant.asn1"), encoding="ascii") as file:
    text = file.read()
# The module's own OID has an arc that the parser does not take; it is not part of any encoding.
start = text.index("DEFINITIONS")
grants = asn1tools.compile_string("VmmGrant " + text[start:].replace("SIZE (4 | 16)", "SIZE (4..16)"), "der")


def bits(*set_bits):
    width = max(set_bits) + 1
    value = sum(1 << (width - 1 - bit) for bit in set_bits) << (-width % 8)
    return (value.to_bytes((width + 7) // 8, "big"), width)


def range4(first, last, gateway, prefix):
    return {"first": bytes(first), "last": bytes(last), "gateway": bytes(gateway), "prefix": prefix}


small = {"generation": 0, "machines": 0, "memory": 0, "cpus": [], "storage": 0, "bridges": []}
large = {
    "generation": 2**63 - 1, "machines": 65535, "memory": 2**32 - 1, "cpus": [0, 1, 127, 128, 4095],
    "storage": 2**32 - 1,
    "bridges": [
        {"name": "ext", "range": range4((10, 0, 0, 2), (10, 0, 0, 5), (10, 0, 0, 1), 24)},
        {"name": "int"},
        {"name": "br-6.x_0",
         "range6": range4(bytes.fromhex("fd" + "00" * 14 + "10"), bytes.fromhex("fd" + "00" * 13 + "01ff"),
                          bytes.fromhex("fe80" + "00" * 13 + "01"), 64)},
    ],
    "hosts": [bytes([7] * 32), bytes(range(32))],
}
walkthrough = {
    "generation": 1790000000, "machines": 2, "memory": 1024, "cpus": [1], "storage": 0,
    "bridges": [{"name": "ext", "range": range4((10, 0, 0, 2), (10, 0, 0, 5), (10, 0, 0, 1), 24)}],
}
named = {
    "image": ("digest", {"sha256": bytes(range(32)), "size": 2**30}), "memory": 512, "cpus": [1],
    "networks": [], "volumes": [], "arguments": [], "restart": ("never", None), "replace": False, "priority": 0,
}
full = {
    "image": ("embedded", {"encoding": "zstd", "size": 16777216, "data": bytes([0x28, 0xB5, 0x2F, 0xFD])}),
    "memory": 2**32 - 1, "cpus": [0, 1, 2],
    "networks": [{"device": "service", "bridge": "ext", "mac": bytes([2, 0, 0, 0, 0, 1])},
                 {"device": "management", "bridge": "int"}],
    "volumes": [{"device": "storage", "volume": "data", "sectorSize": 4096}, {"device": "log", "volume": "l0"}],
    "arguments": ["--name=hello", "grüß dich", ""], "restart": ("onFailure", {"codes": [1, 255], "limit": 65535}),
    "replace": True, "priority": 100,
}
always = dict(named, restart=("always", None), image=("embedded", {"encoding": "identity", "size": 1, "data": b"x"}))

for name, grant in [
    ("delegation-small", ("delegation", small)),
    ("delegation-large", ("delegation", large)),
    ("delegation-walkthrough", ("delegation", walkthrough)),
    ("permissions-all", ("permissions", bits(0))),
    ("permissions-info-console", ("permissions", bits(1, 2))),
    ("permissions-input", ("permissions", bits(12))),
    ("permissions-eight", ("permissions", bits(7))),
    ("machine-named", ("machine", named)),
    ("machine-full", ("machine", full)),
    ("machine-always", ("machine", always)),
]:
    print(name, grants.encode("Grant", grant).hex())
