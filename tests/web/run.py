#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""run.py unit|types|browser FIXTURE WORK WEB: run the report's tests and write TAP.

FIXTURE is the program that writes the reports, WORK a folder of the build for packages and reports,
WEB the folder where the front end was built. What a machine lacks skips the tests, with the reason.
"""
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
KINDS = ['soak', 'quarter', 'hostile', 'empty', 'lost', 'codec']
CHROMIUM = ['chromium', 'chromium-browser', 'google-chrome']


def skip(reason):
    print(f'1..0 # SKIP {reason}')
    sys.exit(0)


def install(work):
    """Packages of the tests, once for a package-lock.json; the tests may run side by side."""
    work.mkdir(parents=True, exist_ok=True)
    with open(work / '.lock', 'w', encoding='ascii') as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        lock = (SOURCE / 'package-lock.json').read_bytes()
        stamp = work / 'node_modules' / '.installed-lock'
        if stamp.exists() and stamp.read_bytes() == lock:
            return
        for name in ['package.json', 'package-lock.json']:
            shutil.copyfile(SOURCE / name, work / name)
        done = subprocess.run(['npm', 'ci', '--ignore-scripts', '--no-audit', '--no-fund',
                               '--prefer-offline', '--loglevel=error'], cwd=work, check=False,
                              stdout=sys.stderr)
        if done.returncode != 0:
            skip('npm could not install playwright-core, axe-core and typescript')
        stamp.write_bytes(lock)


def write_fixtures(program, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for kind in KINDS:
        subprocess.run([program, kind, folder / f'{kind}.html'], check=True)


def node_test(entry, work, env):
    """node:test in this process, flat TAP on stdout."""
    return subprocess.run(['node', '--test-reporter', SOURCE / 'tap.mjs',
                           '--test-reporter-destination', 'stdout', entry],
                          cwd=work, env=env, check=False).returncode


def types(work, web):
    done = subprocess.run([work / 'node_modules' / '.bin' / 'tsc', '-p', web / 'tsconfig.json'],
                          check=False, capture_output=True, text=True)
    print('1..1')
    print('ok 1 - the front end type-checks' if done.returncode == 0
          else 'not ok 1 - the front end type-checks')
    print(''.join(f'# {line}\n' for line in done.stdout.splitlines()), end='')


def bundle(work, web, out):
    """The unit tests import TypeScript: esbuild, which the front end has, makes it JavaScript."""
    script = ("import('esbuild').then(({ build }) => build({ entryPoints: [process.argv[1]], "
              "outfile: process.argv[2], bundle: true, platform: 'node', format: 'esm', "
              "target: 'node18', jsx: 'automatic', jsxImportSource: 'preact', "
              "loader: { '.css': 'empty' }, nodePaths: [process.argv[3]], logLevel: 'error' }))")
    subprocess.run(['node', '-e', script, SOURCE / 'unit.test.ts', out, web / 'node_modules'],
                   cwd=web, check=True)


def main():
    suite = sys.argv[1]
    fixture, work, web = (Path(name).resolve() for name in sys.argv[2:5])
    if not shutil.which('node') or not shutil.which('npm'):
        skip('node and npm are not installed')
    if not (web / 'node_modules').exists():
        skip('the front end was not built here (a release carries it, or -Dreport-web=disabled)')
    folder = work / f'reports-{suite}'
    env = {**os.environ, 'WEB_FIXTURES': str(folder), 'LC_ALL': 'C.UTF-8'}

    if suite == 'unit':
        write_fixtures(fixture, folder)
        bundle(work, web, folder / 'unit.mjs')
        sys.exit(node_test(folder / 'unit.mjs', work if work.exists() else folder, env))

    if suite == 'types':
        install(work)
        types(work, web)
        return

    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if not chromium:
        skip('chromium is not installed')
    install(work)
    write_fixtures(fixture, folder)
    env['WEB_CHROMIUM'] = chromium
    shutil.copyfile(SOURCE / 'browser.test.mjs', work / 'browser.test.mjs')
    sys.exit(node_test(work / 'browser.test.mjs', work, env))


main()
