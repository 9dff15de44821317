#!/usr/bin/python3
"""
wiregen: makes codecs, tests, golden bytes and documentation pages out of proto/*.schema.

  wiregen.py --c SCHEMA --out DIR          NAME.h NAME.c NAME_reg.c
  wiregen.py --cases SCHEMA --out DIR      NAME_cases.c: golden and random instances for the tests
  wiregen.py --update-golden               proto/golden/*.hex     --check-golden compares
  wiregen.py --update-docs                 docs/protocol-messages.md, docs/format-records.md
  wiregen.py --check-docs                  compares
  wiregen.py --corpus DIR                  the golden bytes as seed files for the fuzzer

Standard library only. See README.md for the language and the encoding.
"""

import argparse
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

import cgen  # noqa: E402
import docgen  # noqa: E402
import golden  # noqa: E402
import testgen  # noqa: E402
from schema import Limits, SchemaError, load  # noqa: E402

SCHEMAS = ("wire", "disk")
PAGES = {"wire": "docs/protocol-messages.md", "disk": "docs/format-records.md"}


def write(path, text):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def read(path):
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as f:
        return f.read()


def load_all(limits):
    loaded = {}
    return [load(os.path.join(ROOT, "proto", f"{name}.schema"), limits, loaded) for name in SCHEMAS]


def emit_c(schema, out):
    write(os.path.join(out, f"{schema.name}.h"), cgen.header(schema))
    write(os.path.join(out, f"{schema.name}.c"), cgen.source(schema))
    write(os.path.join(out, f"{schema.name}_reg.c"), cgen.registry(schema))


def compare(wanted, update, hint):
    """Writes or compares {path: text}; returns the number of files that differ."""
    if not wanted:
        sys.exit("wiregen: nothing to compare")
    bad = 0
    for path, text in sorted(wanted.items()):
        if read(path) == text:
            continue
        if update:
            write(path, text)
            print(f"wrote {os.path.relpath(path, ROOT)}")
        else:
            print(f"{os.path.relpath(path, ROOT)}: differs from the schema ({hint})")
            bad += 1
    print(f"wiregen: {len(wanted)} files, {bad} differ")
    return bad


def do_golden(limits, update):
    folder = os.path.join(ROOT, "proto", "golden")
    wanted = {}
    for schema in load_all(limits):
        for body in schema.bodies():
            wanted[os.path.join(folder, f"{body.cname}.hex")] = golden.hex_text(body)
    wanted[os.path.join(folder, "header.hex")] = golden.header_text()
    bad = compare(wanted, update, "wiregen.py --update-golden")
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if name.endswith(".hex") and path not in wanted:
            if update:
                os.remove(path)
            else:
                print(f"{os.path.relpath(path, ROOT)}: belongs to nothing in the schemas")
                bad += 1
    return 1 if bad else 0


def do_docs(limits, update):
    wanted = {}
    for schema in load_all(limits):
        wanted[os.path.join(ROOT, PAGES[schema.name])] = docgen.page(schema)
    return 1 if compare(wanted, update, "wiregen.py --update-docs") else 0


def do_corpus(limits, out):
    count = 0
    for schema in load_all(limits):
        for body in schema.bodies():
            path = os.path.join(out, body.cname, "golden")
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as f:
                f.write(golden.encode(body, golden.instance(body)))
            count += 1
    path = os.path.join(out, "header", "golden")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(golden.header_bytes())
    print(f"wiregen: {count + 1} seeds")
    return 0 if count else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--c", metavar="SCHEMA")
    what.add_argument("--cases", metavar="SCHEMA")
    what.add_argument("--check", metavar="SCHEMA", help="reads the schema only")
    what.add_argument("--corpus", metavar="DIR")
    for mode in ("update-golden", "check-golden", "update-docs", "check-docs"):
        what.add_argument(f"--{mode}", action="store_true")
    parser.add_argument("--out", metavar="DIR", default=".")
    parser.add_argument("--limits", default=os.path.join(ROOT, "src", "base", "limits.h"))
    args = parser.parse_args()
    try:
        limits = Limits(args.limits)
        if args.c:
            emit_c(load(args.c, limits), args.out)
        elif args.cases:
            schema = load(args.cases, limits)
            write(os.path.join(args.out, f"{schema.name}_cases.c"), testgen.cases(schema))
        elif args.check:
            load(args.check, limits)
        elif args.corpus:
            return do_corpus(limits, args.corpus)
        elif args.update_golden or args.check_golden:
            return do_golden(limits, args.update_golden)
        else:
            return do_docs(limits, args.update_docs)
    except SchemaError as e:
        print(e, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
