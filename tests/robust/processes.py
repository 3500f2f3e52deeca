#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Processes: each way in which one comes to be, changes and ends, and what its recording says (TAP)."""

import os
import shutil
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from fttest import (Suite, analyze_json, check, check_equal, environment, launcher, need, query, run, skip,  # noqa: E402
                    tool, wait_for)
from recordings import recordings_in  # noqa: E402
from robust import bare, helper, images, n_collectors, rows_of, sizes, tree  # noqa: E402

suite = Suite()


def by_origin(found):
    return {image.origin: image for image in found}


def forked(name, word):
    """A block of the parent is freed in the child, a block of the child's own lives on."""
    @suite.case(name, 30)
    def case(scratch):
        bare(scratch, tree("alloc", 70001, word, "free", "alloc", 70002, "end"))
        found = by_origin(images(scratch, 2))
        parent, child = found["start"], found["fork"]
        check_equal(child.parent, parent.path, "parent of the child")
        check(child.process["fork_ns"] is not None, "the child does not know when it was forked")
        check_equal(child.meta["parent_image"], parent.meta["image"], "the parent's image")
        check_equal(sizes(parent)[70001], (1, 0), "the parent's block in its own recording")
        check_equal(sizes(child)[70002], (1, 0), "the child's block")
        check_equal((parent.process["exit_kind"], child.process["exit_kind"]), ("exit", "exit"), "ends")


@suite.case("a child's heap begins as its parent's was at the fork", 30)
def inheritance(scratch):
    bare(scratch, tree("alloc", 70001, "alloc", 70004, "fork", "free", "fork", "alloc", 70002, "end", "end",
                       "alloc", 70003), FRAGTRACE_SYMBOLIZE="1")
    found = images(scratch, 3)
    child = next(i for i in found if i.origin == "fork" and 70002 not in sizes(i))
    grandchild = next(i for i in found if 70002 in sizes(i))
    for image, n_frees in ((child, 1), (grandchild, 0)):
        quality = analyze_json("report", image.path)["quality"]
        check_equal((quality["unknown_frees"], quality["inherited_frees"]), (0, n_frees), "frees in " + image.name)
        live = {leak["bytes"] for leak in analyze_json("leaks", image.path)["leaks"]}
        check(70001 in live, "the inherited block is not live in %s: %r" % (image.name, live))
        check(not live & {70003, 70004}, "blocks in %s that are not its own: %r" % (image.name, live))

    def named():
        return any(frame["function"] == "main" for leak in analyze_json("leaks", child.path)["leaks"]
                   if leak["bytes"] == 70001 for frame in leak["stack"])
    wait_for("the names of the inherited block's stack", named)

    # Moved elsewhere together, and then without the parent.
    other = os.path.join(scratch, "other")
    os.mkdir(other)
    for image in found:
        os.rename(image.path, os.path.join(other, image.name))
    moved = os.path.join(other, child.name)
    check_equal(analyze_json("report", moved)["quality"]["inherited_frees"], 1, "frees when moved")
    parent = next(i for i in found if i.origin == "start")
    os.rename(os.path.join(other, grandchild.name), os.path.join(other, parent.name))
    document = analyze_json("report", moved)
    check_equal(document["quality"]["inherited_blocks"], 0, "blocks from a file that is not the parent's")
    check("inheritance_unknown" in [f["code"] for f in document["summary"]["findings"]], "nothing says so")


forked("fork: the child has its own recording, which names its parent's", "fork")
forked("a raw clone, which no handler announces", "clone")
forked("clone3 without a handler", "clone3")
forked("a fork in a thread", "thread-fork")


@suite.case("clone with the parent's memory: what the child does is the parent's, and so is the end", 30)
def shared_memory(scratch):
    bare(scratch, tree("alloc", 70001, "clone-vm", "free", "alloc", 70002, "alloc", 70003, "many", 3000, "end",
                       "free", "alloc", 70004, "fork", "free-first", "alloc", 70005, "end"))
    found = images(scratch, 2)
    parent = next(image for image in found if image.origin == "start")
    check_equal({size: n for size, n in sizes(parent).items() if size >= 70000},
                {70001: (1, 1), 70002: (1, 0), 70003: (1, 1), 70004: (1, 0)}, "blocks")
    check_equal((parent.losses, parent.meta["unknown_frees"], parent.process["exit_kind"]), ([], 0, "exit"), "the parent")


@suite.case("forks in a thread that allocates, beside others that do", 60)
def busy_fork(scratch):
    bare(scratch, tree("alloc", 70001, "busy", 3, *(["thread-fork", "free-first", "alloc", 70002, "end"] * 4)))
    found = images(scratch, 5)
    for image in found:
        check_equal((image.losses, image.process["exit_kind"]), ([], "exit"), image.name)
        if image.origin == "start":
            continue
        check_equal(sizes(image)[70002], (1, 0), "what the child did")
        rows = rows_of(query(image.path, "SELECT count(*) AS n FROM event WHERE kind = 'free'"))
        check(int(rows[0]["n"]) >= 1, "the free of the parent's block")
        check_equal(analyze_json("report", image.path)["errors"]["errors"], [], "errors")


@suite.case("a daemon whose parents are gone is found by its collector", 30)
def daemon(scratch):
    bare(scratch, tree("alloc", 70001, "double", "alloc", 70002, "spawn", "alloc", 70003, "end", "end"))
    found = images(scratch, 4)
    last = next(image for image in found if 70003 in sizes(image))
    middle = next(image for image in found if 70002 in sizes(image))
    check_equal((last.origin, last.parent), ("exec", middle.path), "origin of what the daemon started")
    check_equal(middle.origin, "fork", "origin of the daemon")


def new_image(name, word):
    @suite.case(name, 30)
    def case(scratch):
        bare(scratch, tree("alloc", 70001, word, "alloc", 70002, "end", "alloc", 70003))
        found = images(scratch, 2 if word != "system" else 3)
        first = next(image for image in found if 70001 in sizes(image))
        child = next(image for image in found if 70002 in sizes(image))
        check_equal(sizes(first)[70003], (1, 0), "what the parent did afterwards")
        check(70001 not in sizes(child), "the new image inherited a block")
        check_equal(child.origin, "exec", "origin")
        check(child.parent is not None, "the new image names no parent")
        check_equal(child.process["fork_ns"], None, "the moment of a fork that was none")


new_image("vfork and exec", "vfork")
new_image("posix_spawn", "spawn")
new_image("system()", "system")


@suite.case("exec in place: two images of one process, one collector", 30)
def exec_in_place(scratch):
    bare(scratch, tree("alloc", 70001, "exec", "alloc", 70002))
    found = images(scratch, 2)
    check_equal(len({image.process["pid"] for image in found}), 1, "processes")
    ends = {image.origin: image.process["exit_kind"] for image in found}
    check_equal(ends, {"start": "exec", "exec": "exit"}, "ends")


def end(name, word, status, kind, code, n=1):
    @suite.case(name, 30)
    def case(scratch):
        bare(scratch, tree("alloc", 70001, word), status=status)
        image, = images(scratch, n)
        check_equal((image.process["exit_kind"], image.process["exit_code"]), (kind, code), "end")
        check_equal(sizes(image)[70001], (1, 0), "the last block")


end("_exit", "_exit", 0, "exit", 0)
end("quick_exit", "quick_exit", 0, "exit", 0)
end("abort", "abort", -signal.SIGABRT, "signal", signal.SIGABRT)
end("SIGKILL of the program", "kill", -signal.SIGKILL, "signal", signal.SIGKILL)


@suite.case("one collector for a tree without a launcher", 60)
def one_collector(scratch):
    script = os.path.join(scratch, "script.sh")
    with open(script, "w") as file:
        file.write("for i in 1 2 3 4 5 6 7 8; do (for j in 1 2 3; do /bin/true; done) & done; wait\n"
                   "%s say ready sleep 1500\n" % helper("test-tree"))
    log = os.path.join(scratch, "log")
    with open(log, "wb") as out:
        import subprocess
        process = subprocess.Popen([need("sh"), script], stdout=out, cwd=scratch, start_new_session=True,
                                   env=dict(environment(), LD_PRELOAD=tool("PRELOAD"),
                                            FRAGTRACE_OUTPUT=scratch + "/%n.%p.frag", FRAGTRACE_MIN_EVENTS="0"))
        wait_for("the script", lambda: os.path.getsize(log))
        check_equal(n_collectors(scratch), 1, "collectors")
        process.wait()
    found = images(scratch, 1 + 8 + 24 + 1)
    check_equal([image.name for image in found if image.origin == "start"],
                ["sh.%d.frag" % process.pid], "images without a parent")


@suite.case("images of few calls are rows of their parent's recording", 30)
def min_events(scratch):
    bare(scratch, tree("many", 2000, "fork", "alloc", 70001, "end", "spawn", "alloc", 70002, "end",
                       "fork", "many", 2000, "end"), FRAGTRACE_MIN_EVENTS="1500")
    found = images(scratch, 2)
    parent = by_origin(found)["start"]
    check_equal(sorted(origin for origin, _, _, _ in parent.children), ["exec", "fork"], "rows")
    check(all(n_allocs > 0 for _, _, n_allocs, _ in parent.children), "rows without calls: %r" % parent.children)


@suite.case("a child that lives for long and calls little leaves no file either", 30)
def long_child(scratch):
    bare(scratch, tree("fork", "alloc", 70001, "sleep", 1500, "end"), FRAGTRACE_MIN_EVENTS="1500")
    image, = images(scratch, 1)
    check_equal(len(image.children), 1, "rows")


@suite.case("a child of few calls whose parent is gone keeps its recording", 30)
def orphan(scratch):
    bare(scratch, tree("exec", "sleep", 500, "alloc", 70001), FRAGTRACE_MIN_EVENTS="1500")
    found = images(scratch, 2)
    check(any(70001 in sizes(image) for image in found), "the orphan's block is nowhere")


def follow(how, n, name):
    @suite.case("--follow=%s: %s" % (how, name), 30)
    def case(scratch):
        words = tree("alloc", 70001, "fork", "alloc", 70002, "end", "spawn", "alloc", 70003, "end",
                     "exec", "alloc", 70004)
        for mode in ("bare", "run"):
            folder = os.path.join(scratch, mode)
            os.mkdir(folder)
            if mode == "bare":
                bare(folder, words, FRAGTRACE_FOLLOW=how)
            else:
                argv = [tool("FRAGTRACE"), "run", "-o", folder + "/%p.frag", "--follow=" + how,
                        "--min-events=0", "--"] + words
                run(argv, cwd=folder).check_status(0)
            seen = {size for image in images(folder, n) for size in sizes(image) if 70001 <= size <= 70004}
            expected = {"none": {70001}, "fork": {70001, 70002}, "exec": {70001, 70003, 70004},
                        "fork,exec": {70001, 70002, 70003, 70004}}[how]
            check_equal(seen, expected, "blocks seen (%s)" % mode)


follow("none", 1, "the program alone")
follow("fork", 2, "and its forked children")
follow("exec", 3, "and what it executes, in this process and in children")
follow("fork,exec", 4, "all")


@suite.case("names by pattern: %p %n %h %t %%", 30)
def names(scratch):
    bare(scratch, tree("alloc", 70001), FRAGTRACE_OUTPUT=scratch + "/a%p.%n.%h.%t.%%.frag")
    image, = images(scratch, 1)
    host = os.uname().nodename
    pid, program, rest = image.name[1:].split(".", 2)
    check_equal((int(pid), program), (image.process["pid"], "test-tree"), "pid and program")
    check(rest.startswith(host + ".2") and rest.endswith(".%.frag"), "named " + image.name)


@suite.case("a program that closes all descriptors", 30)
def closes(scratch):
    bare(scratch, tree("close", "alloc", 70001, "fork", "close", "alloc", 70002, "end"))
    found = by_origin(images(scratch, 2))
    check_equal(sizes(found["start"])[70001], (1, 0), "the block after closing")
    check_equal(sizes(found["fork"])[70002], (1, 0), "the child's block")


@suite.case("a program that changes its folder: relative names are as at its start", 30)
def chdir(scratch):
    other = os.path.join(scratch, "other")
    os.mkdir(other)
    bare(scratch, tree("chdir", other, "alloc", 70001, "fork", "alloc", 70002, "end"),
         FRAGTRACE_OUTPUT="%p.frag")
    check(images(scratch, 1)[0].origin == "start", "the program's recording")


def as_root():
    if os.getuid() != 0:
        skip("only root may")


@suite.case("a program that changes its root", 30)
def chroot(scratch):
    as_root()
    jail = os.path.join(scratch, "jail")
    os.mkdir(jail)
    bare(scratch, tree("chroot", jail, "alloc", 70001, "fork", "alloc", 70002, "end"))
    found = by_origin(images(scratch, 2))
    check_equal(sizes(found["fork"])[70002], (1, 0), "the block of a child in the jail")


@suite.case("a child of a program that gave up its privileges is recorded, where the program was", 30)
def setuid(scratch):
    as_root()
    bare(scratch, tree("setuid", 65534, "alloc", 70001, "fork", "alloc", 70002, "end"))
    found = by_origin(images(scratch, 2))
    check_equal(found["fork"].parent, found["start"].path, "parent")
    check_equal(os.stat(found["fork"].path).st_uid, 0, "owner of the child's recording")
    check_equal(os.stat(found["fork"].path).st_mode & 0o777, 0o600, "its mode")


@suite.case("an image that another user executes has a collector of its own, and never waits for ours", 60)
def other_user(scratch):
    as_root()
    os.chmod(scratch, 0o777)
    argv = tree("alloc", 70001, "setuid", 65534, "exec", "alloc", 70002, "many", 100000, "say", "done")
    # 100000 events do not fit into the smallest ring: one that nobody reads would show.
    result = run([tool("FRAGTRACE"), "run", "--no-symbols", "-o", scratch + "/%p.frag", "--"] + argv,
                 env=environment(FRAGTRACE_RING_KIB="64")).check_status(0)
    check_equal(result.stdout, b"done\n", "stdout")
    found = images(scratch, 2)
    owners = {os.stat(image.path).st_uid: image for image in found}
    check_equal(sorted(owners), [0, 65534], "owners of the recordings")
    check_equal((sizes(owners[65534])[70002], owners[65534].losses), ((1, 0), []), "the other user's image")


@suite.case("waitpid(-1), SIGCHLD handlers and blocked signals see nothing of us", 30)
def invisible(scratch):
    bare(scratch, tree("sigchld", "alloc", 70001, "sleep", 300, "wait-any", "no-sigchld",
                       "block-signals", "alloc", 70002, "wait-any"))
    image, = images(scratch, 1)
    check_equal(sizes(image)[70002], (1, 0), "the block with signals blocked")


def in_namespace(scratch, *words, **changes):
    """As PID 1 of a pid namespace of its own, with its own /proc."""
    as_root()
    unshare = [need("unshare"), "--pid", "--fork", "--mount-proc"]
    if run(unshare + ["true"]).status != 0:
        skip("no pid namespaces here")
    preload = "LD_PRELOAD=" + tool("PRELOAD")
    settings = ["%s=%s" % item for item in changes.items()]
    return run(unshare + [need("env"), preload, "FRAGTRACE_SYMBOLIZE=0", "FRAGTRACE_MIN_EVENTS=0",
                          "FRAGTRACE_OUTPUT=" + scratch + "/%n.%p.frag"] + settings + tree(*words))


def pid_one(name, *last):
    @suite.case("PID 1 of a namespace, which takes its collector with it: " + name, 30)
    def case(scratch):
        in_namespace(scratch, "alloc", 70001, "many", 3000, "alloc", 70002, *last).check_status(0)
        wait_for("the recording", lambda: any("test-tree" in p for p in recordings_in(scratch)))
        path = next(p for p in recordings_in(scratch) if "test-tree" in p)
        import robust
        image = robust.Image(path)
        check_equal(image.process["pid"], 1, "pid")
        check_equal(sizes(image)[70001], (1, 0), "the first block")
        check_equal(sizes(image)[70002], (1, 0), "the last block")


pid_one("exit")
pid_one("_exit", "_exit")
pid_one("quick_exit", "quick_exit")


@suite.case("PID 1 of a namespace sees no process of ours", 30)
def pid_one_wait(scratch):
    in_namespace(scratch, "sigchld", "alloc", 70001, "sleep", 300, "wait-any", "no-sigchld").check_status(0)


@suite.case("a child in a pid namespace names its parent, which has another pid there", 30)
def namespace_parent(scratch):
    as_root()
    unshare = [need("unshare"), "--pid", "--fork"]
    if run(unshare + ["true"]).status != 0:
        skip("no pid namespaces here")
    argv = unshare + tree("alloc", 70001, "fork", "alloc", 70002, "end")
    run([tool("FRAGTRACE"), "run", "--no-symbols", "--min-events=0", "-o", scratch + "/%n.%p.frag", "--"]
        + argv).check_status(0)
    found = images(scratch, 4)
    child = next(image for image in found if 70002 in sizes(image))
    parent = next(image for image in found if 70001 in sizes(image))
    check_equal((child.origin, child.parent), ("fork", parent.path), "parent")


@suite.case("a subreaper inherits no process of ours", 30)
def subreaper(scratch):
    code = ("import ctypes, os, time; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)\n"
            "os.execv(%r, %r)" % (tree()[0], tree("alloc", 70001, "sleep", 400, "wait-any")))
    run([sys.executable, "-c", code], env=dict(
        environment(), LD_PRELOAD=tool("PRELOAD"), FRAGTRACE_OUTPUT=scratch + "/%p.%n.frag")).check_status(0)


@suite.case("limits of the program are the program's", 60)
def limits(scratch):
    import resource
    program = tree("alloc", 70001, "many", 2000)
    for name, value in (("RLIMIT_AS", 256 << 20), ("RLIMIT_NOFILE", 8), ("RLIMIT_CORE", 0),
                        ("RLIMIT_FSIZE", 1 << 20), ("RLIMIT_NPROC", 4096)):
        folder = os.path.join(scratch, name)
        os.mkdir(folder)
        number = getattr(resource, name)
        code = "import os, resource; resource.setrlimit(%d, (%d, %d)); os.execv(%r, %r)" % (
            number, value, resource.getrlimit(number)[1], program[0], program)
        env = dict(environment(), FRAGTRACE_OUTPUT=folder + "/%n.%p.frag", FRAGTRACE_SYMBOLIZE="0")
        preload = "os.environ['LD_PRELOAD'] = %r; " % tool("PRELOAD")
        run([sys.executable, "-c", "import os; " + preload + code], env=env).check_status(0)
        image = next(i for i in images(folder, 1) if 70001 in sizes(i))
        check_equal(image.losses, [], "losses under " + name)


@suite.case("a set-user-ID program is left alone", 30)
def secure(scratch):
    as_root()
    program = os.path.join(scratch, "suid")
    shutil.copy(helper("test-tree"), program)
    os.chown(program, 65534, 65534)
    os.chmod(program, 0o6755)
    os.chmod(scratch, 0o755)
    run([program, "alloc", "70001", "say", "done"], env=dict(
        environment(), LD_PRELOAD=tool("PRELOAD"), FRAGTRACE_OUTPUT=scratch + "/%p.frag")).check_status(0)
    check_equal(recordings_in(scratch), [], "recordings of a set-user-ID program")


@suite.case("a static program gets a clear word from the launcher", 30)
def static(scratch):
    source, program = os.path.join(scratch, "a.c"), os.path.join(scratch, "a")
    with open(source, "w") as file:
        file.write("int main(void) { return 0; }\n")
    if run([need("cc"), "-static", "-o", program, source]).status != 0:
        skip("no static libc")
    result = run(launcher(scratch + "/x.frag", [program])).check_status(125)
    check(b"statically linked" in result.stderr, "stderr: %r" % result.stderr)


suite.run()
