#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Hold each example program to the findings that its header promises.

Usage: run.py SOURCE=PROGRAM... (TAP on stdout). The header of SOURCE has lines

    args: WORDS...                       arguments of the program
    expect: VERB [SELECTOR] CLAIM...     what `fraganalyze VERB --json` has to say

SELECTOR picks entries of the verb's list, without one a claim is about the document:
    site=FUNCTION   entries of `leaks` or `sites` with that function in their stack, together:
                    figures are added up, words must hold for each entry
    thread=NAME     entries of `threads` with that name
    freed=FROM:TO   the free matrix: what thread FROM allocated and thread TO freed, as `bytes`
CLAIM is KEY=VALUE, KEY>=VALUE, KEY<=VALUE, or KEY!=WORD,WORD; KEY may be dotted. For words,
KEY=WORD,WORD means one of them. `absent` claims that there is no such entry, and `rank=N` that the
first of them is the Nth of its list. Whatever is not understood is an error.
"""

import os
import re
import shlex
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from fttest import (Failed, Suite, analyze_json, check, check_equal, environment, launcher, run)  # noqa: E402

CLAIM = re.compile(r"^([A-Za-z_.]+)(>=|<=|!=|=)(.+)$")


def parse_header(source):
    """(args, [(verb, selector or None, [(key, op, value)])]) of a source file."""
    args, expectations = [], []
    with open(source) as file:
        text = file.read()
    header = text[:text.index("#include")]
    for line in header.splitlines():
        line = line.strip(" *\t")
        if line.startswith("args:"):
            args = shlex.split(line[len("args:"):])
        elif line.startswith("expect:"):
            words = shlex.split(line[len("expect:"):])
            verb, selector, claims = words[0], None, []
            for word in words[1:]:
                match = CLAIM.match(word)
                if word == "absent":
                    claims.append(("absent", "", ""))
                elif match and match.group(1) in ("site", "thread", "freed") and match.group(2) == "=":
                    check(selector is None, "two selectors: " + line)
                    selector = (match.group(1), match.group(3))
                elif match:
                    claims.append(match.groups())
                else:
                    raise Failed("not understood: %r in %r" % (word, line))
            check(claims, "an expectation without a claim: " + line)
            expectations.append((verb, selector, claims))
    check(expectations, source + " states no expected findings")
    return args, expectations


def plain(function):
    """A function's name without anonymous namespaces, parameters and template arguments."""
    if function is None:
        return ""
    name = function.replace("(anonymous namespace)::", "")
    while True:
        shorter = re.sub(r"<[^<>]*>", "", name)
        if shorter == name:
            break
        name = shorter
    return name.split("(")[0].split(" ")[-1]


def entries_of(document, verb, selector):
    """[(rank, entry)] that the selector picks."""
    kind, name = selector
    if kind == "freed":
        donor, taker = name.split(":")
        by_name = {t["name"]: t["id"] for t in document["threads"]}
        ids = document["free_matrix"]["ids"]
        row, column = ids.index(by_name[donor]), ids.index(by_name[taker])
        return [(1, {"bytes": document["free_matrix"]["bytes"][row][column]})]
    if kind == "thread":
        return [(n, t) for n, t in enumerate(document["threads"], 1) if t["name"] == name]
    entries = document["leaks" if verb == "leaks" else "sites"]
    if isinstance(entries, dict):  # `sites` prints several sections
        entries = entries["sites"]
    return [(n, e) for n, e in enumerate(entries, 1)
            if any(plain(frame["function"]) == name for frame in e["stack"])]


def value_of(document, key):
    for part in key.split("."):
        check(isinstance(document, dict) and part in document, "there is no %r" % key)
        document = document[part]
    return document


def is_number(text):
    return re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text) is not None


def verify(document, verb, selector, claims):
    where = verb if selector is None else "%s %s=%s" % (verb, *selector)
    picked = [(1, document)] if selector is None else entries_of(document, verb, selector)
    for key, op, value in claims:
        claim = "%s: %s%s%s" % (where, key, op, value)
        if key == "absent":
            check(not picked, "%s: expected none, there are %s" % (
                where, [{k: v for k, v in e.items() if k not in ("stack", "series")} for _, e in picked]))
            continue
        check(picked, claim + ", but there is no such entry")
        if key == "rank":
            check_equal(min(rank for rank, _ in picked), int(value), claim)
            continue
        values = [value_of(entry, key) for _, entry in picked]
        if is_number(value):
            check(all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values),
                  "%s, but it is %r" % (claim, values))
            total, limit = sum(values), float(value)
            holds = {"=": total == limit, ">=": total >= limit, "<=": total <= limit,
                     "!=": total != limit}[op]
            check(holds, "%s, but it is %s" % (claim, total))
        else:
            words = value.split(",")
            check(op in ("=", "!="), "not understood: " + claim)
            for v in values:
                check((v in words) == (op == "="), "%s, but it is %r" % (claim, v))


def example_case(source, program):
    def case(scratch):
        args, expectations = parse_header(source)
        recording = os.path.join(scratch, "example.frag")
        run(launcher(recording, [program] + args), cwd=scratch, env=environment()).check_status(0)
        documents = {}
        wrong = []
        for verb, selector, claims in expectations:
            if verb not in documents:
                documents[verb] = analyze_json(verb, recording)
            for claim in claims:  # one at a time: a failing example says all that is wrong with it
                try:
                    verify(documents[verb], verb, selector, [claim])
                except Failed as error:
                    wrong.append(str(error))
        check(not wrong, "\n".join(wrong))
    return case


def main():
    suite = Suite()
    pairs = [word for word in sys.argv[1:] if "=" in word]
    sys.argv[1:] = [word for word in sys.argv[1:] if "=" not in word]
    for pair in pairs:
        source, program = pair.split("=")
        suite.add("%s has the findings that it promises" % os.path.basename(source), 60,
                  example_case(source, program))
    suite.run()


main()
