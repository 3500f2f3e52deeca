#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""build_web.py WEB FALLBACK PROGRAM.html MACHINE.html WORK auto|enabled: build the report's templates from reports/web.

The sources are copied to WORK and built there, so that the source tree stays clean and several build
directories do not meet. Packages are installed once for a package-lock.json.

With `auto`, a machine that can't reach the packages gets FALLBACK, the report without charts, and is
told so; `enabled` makes that an error.

build_web.py --dist: put the built templates into the release (called by meson dist).
"""
import os
import shutil
import subprocess
import sys
from pathlib import Path

TEMPLATES = ['program.html', 'machine.html']
SOURCES = ['package.json', 'package-lock.json', 'tsconfig.json', 'build.mjs', 'schema.mjs']


def copy_sources(web, work):
    work.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(work / 'src', ignore_errors=True)
    shutil.copytree(web / 'src', work / 'src')
    for name in SOURCES:
        shutil.copyfile(web / name, work / name)
    shutil.copyfile(web.parent / 'FORMAT.md', work / 'FORMAT.md')


def install(work):
    """True when node_modules is what package-lock.json says."""
    lock = (work / 'package-lock.json').read_bytes()
    stamp = work / 'node_modules' / '.installed-lock'
    if stamp.exists() and stamp.read_bytes() == lock:
        return True
    done = subprocess.run(['npm', 'ci', '--ignore-scripts', '--no-audit', '--no-fund',
                           '--prefer-offline', '--loglevel=error'], cwd=work, check=False)
    if done.returncode == 0:
        stamp.write_bytes(lock)
    return done.returncode == 0


def dist():
    target = Path(os.environ['MESON_DIST_ROOT']) / 'reports' / 'web' / 'dist'
    target.mkdir(parents=True, exist_ok=True)
    for name in TEMPLATES:
        built = Path(os.environ['MESON_BUILD_ROOT']) / 'reports' / name
        if not built.exists():
            sys.exit('build first: the release carries the built templates of the report')
        shutil.copyfile(built, target / name)


def main():
    if sys.argv[1:] == ['--dist']:
        dist()
        return
    web, fallback, *out, work = map(Path, sys.argv[1:6])
    copy_sources(web, work)
    if install(work):
        subprocess.run(['node', 'build.mjs', 'dist'], cwd=work, check=True)
        for name, target in zip(TEMPLATES, out):
            shutil.copyfile(work / 'dist' / name, target)
    elif sys.argv[6] == 'auto':
        print('report-web: npm could not install the packages; the report is built without charts. '
              'Build again with -Dreport-web=enabled when it can.', file=sys.stderr)
        for target in out:
            shutil.copyfile(fallback, target)
    else:
        sys.exit('report-web: npm could not install the packages of reports/web')


main()
