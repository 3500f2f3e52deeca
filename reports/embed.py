#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""embed.py PROGRAM.html MACHINE.html OUT.c: put the report's templates into the program as C.

Fills `@csp:style@` with the hash of the page's own style element where the web build has not done so
(floor.html): the content security policy names what may run by hash alone.
"""
import base64
import hashlib
import re
import sys


def read(source):
    with open(source, encoding='utf-8') as file:
        text = file.read()
    style = re.search(r'<style>(.*?)</style>', text, re.S)
    if style:
        digest = base64.b64encode(hashlib.sha256(style.group(1).encode()).digest()).decode()
        text = text.replace('@csp:style@', f"'sha256-{digest}'")
    return text.encode()


def main():
    *sources, target = sys.argv[1:]
    with open(target, 'w', encoding='ascii') as out:
        out.write('/* Made by embed.py. */\n#include "rp_template.h"\n\n')
        for name, source in zip(['rp_program_template', 'rp_machine_template'], sources):
            data = read(source)
            out.write(f'const size_t {name}_size = {len(data)};\nconst char {name}[] = {{\n')
            for at in range(0, len(data), 24):
                values = (b if b < 128 else b - 256 for b in data[at:at + 24])
                out.write(','.join(map(str, values)) + ',\n')
            out.write('0};\n\n')


main()
