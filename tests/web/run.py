#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""run.py unit|types|browser|schema FIXTURE WORK WEB [FRAGTRACE FRAGANALYZE PROGRAM]: run the report's tests and write TAP.

FIXTURE is the program that writes the reports, WORK a folder of the build for packages and reports,
WEB the folder where the front end was built. `schema` records PROGRAM. What a machine lacks skips the tests, with the reason.
"""
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
KINDS = ['soak', 'quarter', 'hostile', 'empty', 'lost', 'governed', 'sampled', 'diff', 'codec', 'machine']
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


def schema(work, web, fragtrace, fraganalyze, program):
    """Documents of real recordings against the types of FORMAT.md: no key too many, none missing."""
    folder = work / 'reports-schema'
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copyfile(web / 'src' / 'schema.ts', folder / 'schema.ts')
    full, sample = folder / 'full.frag', folder / 'sample.frag'
    for recording, options in [(full, []), (sample, ['--sample=4096'])]:
        subprocess.run([fragtrace, 'run', '-o', recording, *options, '--', program],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    head = "import type { Document } from './schema';\nexport const document: Document = "
    machine = folder / 'machine.frag'
    subprocess.run([fragtrace, 'node', '-q', '-o', machine, '--interval', '50ms', '--duration', '200ms', '--kpageflags'],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    cases = {'full': [full], 'sample': [sample], 'diff': [full, sample], 'machine': [machine]}
    texts = {}
    for name, files in cases.items():
        texts[name] = subprocess.run([fraganalyze, 'report', '--json', *files], check=True,
                                     capture_output=True, text=True).stdout.rstrip()
    # what the check must find
    texts['excess'] = texts['full'].replace('"totals":{', '"totals":{"surplus":1,', 1)
    texts['missing'] = texts['full'].replace('"peak_ns":', '"peak_n":', 1)
    for name, text in texts.items():
        (folder / f'{name}.ts').write_text(f'{head}{text};\n', encoding='utf8')
    done = subprocess.run([work / 'node_modules' / '.bin' / 'tsc', '--noEmit', '--strict',
                           '--target', 'es2022', '--module', 'es2022', '--pretty', 'false',
                           *sorted(folder.glob('*.ts'))],
                          check=False, capture_output=True, text=True, cwd=folder)
    found = {name: [line for line in done.stdout.splitlines() if f'{name}.ts(' in line]
             for name in [*texts, 'schema']}
    print(f'1..{len(found)}')
    for number, (name, lines) in enumerate(found.items(), 1):
        good = bool(lines) if name in ('excess', 'missing') else not lines
        print(f"{'ok' if good else 'not ok'} {number} - {name}")
        if not good:
            print(''.join(f'# {line[:400]}\n' for line in lines[:20]), end='')


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

    if suite == 'schema':
        install(work)
        schema(work, web, *sys.argv[5:8])
        return

    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if not chromium:
        skip('chromium is not installed')
    install(work)
    write_fixtures(fixture, folder)
    env['WEB_CHROMIUM'] = chromium
    for script in SOURCE.glob('*.mjs'):
        shutil.copyfile(script, work / script.name)
    sys.exit(node_test(work / 'browser.test.mjs', work, env))


main()
