# SPDX-License-Identifier: MIT
"""Compare our answers with `addr2line -a -i -f -C` on every call site of ELF files (TAP on stdout)

    compare.py PROBE MINIMUM FILE...

Equal means: the same frames, the same functions, the same lines. Where the two differ, the
difference has to be one of these, in which addr2line is the one that knows less:

  clone    it names the compiler's clone (f.part.0, f.isra.0, f.cold), we name the function
  alias    it names another symbol of the same address
  scope    it leaves the C++ scope out of a name that has no linkage name, or gives a nameless
           inlined function (a lambda) the name of the function around it
  file     it gives the right line of the wrong file: the binutils of Debian 12 count the files of
           DWARF 5 from 1 for an inlined function's own position; ours must then exist and have
           that many lines

Anything else fails, and so does a file of which fewer than MINIMUM addresses were compared.
"""
import os
import re
import shutil
import subprocess
import sys


def output(*argv, text=None):
    return subprocess.run(argv, input=text, text=True, capture_output=True, check=True).stdout


def call_sites(path):
    """The last byte of each call instruction: what a return address is looked up as."""
    sites, after = [], False
    for line in output('objdump', '-d', '--no-show-raw-insn', path).splitlines():
        match = re.match(r' +([0-9a-f]+):\t', line)
        if match and after:
            sites.append(int(match[1], 16) - 1)
        after = bool(match) and re.search(r'\t(call|bl)', line) is not None
    return sites


def build_id(path):
    match = re.search(r'Build ID: ([0-9a-f]+)', output('readelf', '-n', path))
    return match[1] if match else None


def clean(function, file, line):
    file = os.path.normpath(file) if file not in ('', '??') else '??'
    line = int(line) if line.isdigit() else 0
    return (function, file, line) if line else (function, '??', 0)


def ours(probe, path, addresses):
    frames = {address: [] for address in addresses}
    text = '\n'.join(f'{address:x}' for address in addresses)
    for line in output(probe, path, build_id(path), text=text).splitlines():
        address, _, function, file, number = line.split('\t')
        frames[int(address, 16)].append(clean(function, file, number))
    return frames


def theirs(path, addresses):
    frames, current = {}, None
    text = '\n'.join(f'{address:x}' for address in addresses)
    lines = output('addr2line', '-a', '-i', '-f', '-C', '-e', path, text=text).splitlines()
    index = 0
    while index < len(lines):
        if re.fullmatch('0x[0-9a-f]{16}', lines[index]):
            current = frames.setdefault(int(lines[index], 16), [])
            index += 1
            continue
        file, _, number = lines[index + 1].partition(' (disc')[0].rpartition(':')
        current.append(clean(lines[index], file, number))
        index += 2
    return frames


def aliases(path):
    """Demangled names by the address of their symbol: name -> set of names of the same address."""
    by_address, same = {}, {}
    for line in output('nm', '-C', path).splitlines():
        match = re.match(r'([0-9a-f]{16}) [TtWwi] (.*)', line)
        if match:
            by_address.setdefault(match[1], set()).add(match[2])
    for group in by_address.values():
        for name in group:
            same.setdefault(name, set()).update(group)
    return same


def has_line(file, line):
    try:
        with open(file, 'rb') as source:
            return sum(1 for _ in source) >= line
    except OSError:
        return False


def explain(mine, other, same, names_around):
    """The kinds of difference between two frames, None if there is one that can't be explained."""
    kinds = []
    if mine[0] != other[0]:
        plain = re.sub(r'( \[clone [^]]*\])+$', '', other[0])
        if plain == mine[0] or re.sub(r'\.[a-z_]+(\.\d+)?(\..*)?$', '', other[0]) == mine[0]:
            kinds.append('clone')
        elif mine[0] in same.get(other[0], ()):
            kinds.append('alias')
        elif re.sub(r'\(.*', '', mine[0].rsplit('::', 1)[-1]) == re.sub(r'\(.*', '', other[0]) or \
                ('::' in mine[0] and other[0] in names_around):
            kinds.append('scope')
        else:
            return None
    if mine[1:] != other[1:]:
        if mine[2] != other[2] or not has_line(mine[1], mine[2]):
            return None
        kinds.append('file')
    return kinds


def compare(probe, path):
    addresses = call_sites(path)
    left, right, same = ours(probe, path, addresses), theirs(path, addresses), aliases(path)
    counts, bad = {'equal': 0}, []
    for address in addresses:
        mine, other = left[address] or [('??', '??', 0)], right[address]
        kinds = set()
        if len(mine) != len(other):
            kinds = None
        else:
            for one, two in zip(mine, other):
                found = explain(one, two, same, [frame[0] for frame in mine])
                kinds = kinds | set(found) if kinds is not None and found is not None else None
        if kinds is None:
            bad.append((address, mine, other))
        else:
            for kind in kinds or ['equal']:
                counts[kind] = counts.get(kind, 0) + 1
    return len(addresses), counts, bad


def main():
    probe, minimum, files = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    missing = [tool for tool in ('addr2line', 'objdump', 'nm', 'readelf') if not shutil.which(tool)]
    if missing:
        print('1..0 # SKIP not installed: ' + ', '.join(missing))
        return 0
    print(f'1..{len(files)}')
    failed = False
    for number, path in enumerate(files, 1):
        n, counts, bad = compare(probe, path)
        good = not bad and n >= minimum
        failed |= not good
        what = ', '.join(f'{count} {kind}' for kind, count in counts.items() if count)
        print(f'{"ok" if good else "not ok"} {number} - {os.path.basename(path)}: '
              f'{n} call sites, {what}, {len(bad)} unexplained')
        for address, mine, other in bad[:10]:
            print(f'# {address:#x}\n#   ours   {mine}\n#   theirs {other}')
    return failed


sys.exit(main())
