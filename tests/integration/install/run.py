#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The installed layout works from wherever it is put (TAP).

Installs the build into a folder of its own (DESTDIR) and uses it from there: the library finds the
collector relative to itself, the launcher finds both, pkg-config tells where they are.
"""

import glob
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from fttest import Suite, check, check_equal, environment, need, run  # noqa: E402
from recordings import only_recording  # noqa: E402

suite = Suite()
HELPERS = os.environ["FT_HELPERS"]
PREFIX = os.environ["FT_PREFIX"]


def install(scratch):
    root = os.path.join(scratch, "root")
    result = run(["meson", "install", "-C", os.environ["FT_BUILD_ROOT"], "--no-rebuild", "--quiet",
                  "--destdir", root])
    result.check_status(0)
    return root, root + PREFIX


def one(pattern):
    found = glob.glob(pattern, recursive=True)
    check_equal(len(found), 1, "files like %s (%s)" % (pattern, found))
    return found[0]


@suite.case("LD_PRELOAD of the installed library records, fraganalyze beside it reads", 60)
def preload(scratch):
    root, prefix = install(scratch)
    library = one(prefix + "/lib/**/libfragtrace.so")
    work = os.path.join(scratch, "work")
    os.mkdir(work)
    env = environment(LD_PRELOAD=library, PATH="/usr/bin:/bin")
    run([os.path.join(HELPERS, "test-late-free")], cwd=work, env=env).check_status(0)
    run([prefix + "/bin/fraganalyze", "summary", only_recording(work)]).check_status(0)


@suite.case("the installed launcher records", 60)
def launch(scratch):
    root, prefix = install(scratch)
    recording = os.path.join(scratch, "x.frag")
    run([prefix + "/bin/fragtrace", "run", "-o", recording, "--",
         os.path.join(HELPERS, "test-late-free")], cwd=scratch).check_status(0)
    run([prefix + "/bin/fraganalyze", "leaks", "--json", recording]).check_status(0)
    for tool in ("fragtrace", "fraganalyze"):
        for option in ("--help", "--version"):
            result = run([prefix + "/bin/" + tool, option]).check_status(0)
            check(result.stdout and not result.stderr, "%s %s prints on stdout" % (tool, option))


@suite.case("headers compile alone, as C and as C++; pkg-config names the library to preload", 60)
def development(scratch):
    root, prefix = install(scratch)
    include = prefix + "/include"
    headers = sorted(glob.glob(include + "/fragtrace/*.h"))
    check(len(headers) >= 3, "headers: %s" % headers)
    for header in headers:
        line = '#include <fragtrace/%s>\n' % os.path.basename(header)
        for compiler, language in (("gcc", "c"), ("g++", "c++")):
            run([need(compiler), "-x", language, "-Wall", "-Wextra", "-Werror", "-fsyntax-only",
                 "-I", include, "-"], stdin=line.encode()).check_status(0)
    folder = os.path.dirname(one(prefix + "/lib/**/fragtrace.pc"))
    env = environment(PKG_CONFIG_PATH=folder, PKG_CONFIG_SYSROOT_DIR=root)
    path = subprocess.check_output([need("pkg-config"), "--variable=preload", "fragtrace"], env=env,
                                   text=True).strip()
    candidates = [path, root + path]
    check(any(os.path.exists(p) for p in candidates), "preload=%s" % path)


READER = """
#include <fragtrace/store.h>
#include <stdio.h>
int main(int argc, char **argv)
{
	struct ft_reader *reader;
	struct ft_error *error = ft_reader_open(argv[argc - 1], 0, &reader);
	if (error) {
		fprintf(stderr, "%s\\n", error->message);
		return 1;
	}
	printf("%llu\\n", (unsigned long long)ft_reader_n_events(reader));
	ft_reader_close(reader);
	return 0;
}
"""


@suite.case("a program of one's own reads recordings through the installed store library", 60)
def own_program(scratch):
    root, prefix = install(scratch)
    env = environment(PKG_CONFIG_PATH=os.path.dirname(one(prefix + "/lib/**/fragtrace-store.pc")))
    flags = subprocess.check_output([need("pkg-config"), "--define-variable=prefix=" + prefix,
                                     "--cflags", "--libs", "fragtrace-store"], env=env, text=True)
    program = os.path.join(scratch, "reader")
    run([need("gcc"), "-x", "c", "-", "-o", program, "-x", "none", *flags.split()],
        stdin=READER.encode()).check_status(0)
    recording = os.path.join(scratch, "x.frag")
    run([prefix + "/bin/fragtrace", "run", "-o", recording, "--",
         os.path.join(HELPERS, "test-late-free")], cwd=scratch).check_status(0)
    check(int(run([program, recording]).check_status(0).stdout) >= 4, "events in the recording")


@suite.case("every program and format has its manual page", 30)
def manual(scratch):
    root, prefix = install(scratch)
    pages = {os.path.basename(p) for p in glob.glob(prefix + "/share/man/man*/*")}
    for page in ("fragtrace.1", "fraganalyze.1", "fragtrace-collector.1", "libfragtrace.7", "fragtrace.5"):
        check(page in pages, "%s is missing from %s" % (page, pages))


suite.run()
