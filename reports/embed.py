#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""embed.py TEMPLATE.html OUT.c: put the report's template into the program as C.

Fills `@csp:style@` with the hash of the page's own style element where the web build has not done so
(floor.html): the content security policy names what may run by hash alone.
"""
import base64
import hashlib
import re
import sys


def main():
    source, target = sys.argv[1:]
    with open(source, encoding='utf-8') as file:
        text = file.read()
    style = re.search(r'<style>(.*?)</style>', text, re.S)
    if style:
        digest = base64.b64encode(hashlib.sha256(style.group(1).encode()).digest()).decode()
        text = text.replace('@csp:style@', f"'sha256-{digest}'")
    data = text.encode()
    with open(target, 'w', encoding='ascii') as out:
        out.write('/* Made by embed.py. */\n#include <stddef.h>\n\n')
        out.write('extern const char rp_template[];\nextern const size_t rp_template_size;\n\n')
        out.write(f'const size_t rp_template_size = {len(data)};\nconst char rp_template[] = {{\n')
        for at in range(0, len(data), 24):
            values = (b if b < 128 else b - 256 for b in data[at:at + 24])
            out.write(','.join(map(str, values)) + ',\n')
        out.write('0};\n')


main()
