# SPDX-License-Identifier: MIT
"""Read an HTML report as its front end does: boot block, columns, end. See reports/FORMAT.md."""

import base64
import gzip
import json
import re
import struct

from fttest import check, check_equal

BLOCK = re.compile(rb'<script type="application/octet-stream" id="(\w+)">([^<]*)</script>')


def blocks(html):
    """{id: bytes} of all data blocks."""
    return {name.decode(): gzip.decompress(base64.b64decode(text, validate=True))
            for name, text in BLOCK.findall(html)}


def varints(data):
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7f) << shift
        shift += 7
        if byte < 0x80:
            yield value
            value = shift = 0


def decode_chunk(data):
    magic, version, kind, codec, _zero, _column, _part, _first, count = struct.unpack_from("<IBBBBIIQQ", data)
    check_equal((magic, version), (0x43475246, 1), "header of a chunk")
    payload = data[32:]
    if codec == 0:
        return list(payload)
    if codec == 2:
        return list(struct.unpack("<%dd" % count, bytes(payload[b * count + i] for i in range(count) for b in range(8))))
    values, previous = [], 0
    for code in varints(payload):
        previous = (previous + (code >> 1 ^ -(code & 1))) % (1 << 64)
        values.append(previous - (1 << 64) if kind == 4 and previous >> 63 else previous)
    check_equal(len(values), count, "values of a chunk")
    return values


def read_report(path):
    """(boot document, {column: values}, bytes of the file)."""
    with open(path, "rb") as file:
        html = file.read()
    found = blocks(html)
    boot = json.loads(found["boot"])
    columns = {}
    for column in boot["columns"]:
        columns[column["name"]] = [value for part in range(column["chunks"])
                                   for value in decode_chunk(found["c%d" % (column["chunk"] + part)])]
        check_equal(len(columns[column["name"]]), column["n"], "values of " + column["name"])
    end = re.search(rb'<i id="eof" hidden data-n="(\d+)">', html)
    check(end, "the report has no end")
    check_equal(int(end.group(1)), len(found) - 1, "chunks as the end counts them")
    return boot, columns, html
