"""The samples of the gates' self-test: small trees, and what a gate must say about each (None: nothing)."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Sample:
    gate: str
    name: str
    files: dict
    expect: str = None
    args: tuple = ()
    committed: dict = None


GOOD_C = "int mod_get(void)\n{\n\treturn 1;\n}\n"
EXCEPTIONS = "tools/gates/exceptions.txt"


def long_function(lines):
    return "int mod_get(void)\n{\n" + "\tmod_step();\n" * lines + "\treturn 1;\n}\n"


def deep_function(depth):
    text = "int mod_get(int a)\n{\n"
    for level in range(1, depth + 1):
        text += "\t" * level + "if (a) {\n"
    text += "\t" * (depth + 1) + "a = (struct pair){.one = 1}.one;\n"
    for level in range(depth, 0, -1):
        text += "\t" * level + "}\n"
    return text + "\treturn a;\n}\n"


FORMAT = (
    Sample("format", "clean", {"src/base/a.c": GOOD_C}),
    Sample("format", "spaces", {"src/base/a.c": "int mod_get(void) { return 1; }\n"}, "src/base/a.c: not formatted"),
    Sample("format", "empty", {}, "looked at no files"),
)

HEADER = {"src/base/base.h": "", "src/mds/mds.h": "", "src/oss/oss.h": "", "src/mds/mds_int.h": ""}


def layer(name, path, include, expect=None):
    return Sample("layering", name, {**HEADER, path: "#include %s\n" % include}, expect)


LAYERING = (
    layer("clean", "src/mds/a.c", '"base/base.h"'),
    layer("upwards", "src/base/a.c", '"mds/mds.h"', "base (L0) includes mds (L3)"),
    layer("upwards by a relative path", "src/base/a.c", '"../mds/mds.h"', "base (L0) includes mds (L3)"),
    layer("upwards in angle brackets", "src/base/a.c", "<mds/mds.h>", "base (L0) includes mds (L3)"),
    layer("upwards, generated", "src/base/a.c", '"wire/wire_gen.h"', "base (L0) includes wire (L1)"),
    layer("sideways", "src/mds/a.c", '"oss/oss.h"', "service cores never include each other"),
    layer("private", "src/daemon/a.c", '"mds/mds_int.h"', "is private to mds"),
    layer("private at home", "src/mds/a.c", '"mds_int.h"'),
    layer("unistd in a core", "src/mds/a.c", "<unistd.h>", "<unistd.h> is not one of its headers"),
    layer("socket in rpc", "src/rpc/a.c", "<sys/socket.h>", "<sys/socket.h> is not one of its headers"),
    layer("lmdb in store", "src/store/a.c", "<lmdb.h>"),
    layer("lmdb in a core", "src/mds/a.c", "<lmdb.h>", "<lmdb.h> is not one of its headers"),
    layer("unistd on the system side", "src/store/kv_lmdb.c", "<unistd.h>"),
    layer("unistd elsewhere in store", "src/store/kv_model.c", "<unistd.h>", "<unistd.h> is not one of its headers"),
    layer("unistd in an adapter", "src/cli/a.c", "<unistd.h>"),
    layer("unistd in a comment", "src/mds/a.c", '"mds.h" /*\n#include <unistd.h>\n*/'),
    layer("module of no layer", "src/utils/a.c", "<stdint.h>", "is in no module that has a layer"),
    Sample("layering", "tests from src", {"tests/unit/test.h": "", "src/base/a.c": '#include "tests/unit/test.h"\n'},
           "outside src/ and include/"),
    Sample("layering", "public header", {**HEADER, "include/nacre/nacre.h": '#include "../../src/base/base.h"\n'},
           "a public header includes"),
    Sample("layering", "cycle of modules", {
        "src/env/env.h": '#include "wire/wire.h"\n', "src/wire/wire.h": "", "src/wire/a.c": '#include "env/e.h"\n',
        "src/env/e.h": ""}, "cycle: env -> wire -> env"),
    Sample("layering", "cycle of files", {
        "src/env/a.h": '#include "env/b.h"\n', "src/env/b.h": '#include "a.h"\n'}, "cycle: src/env/a.h"),
    Sample("layering", "empty", {}, "looked at no files"),
)

SYSCALLS = (
    Sample("syscalls", "clean", {"src/mds/a.c": '#include <string.h>\nunsigned long f(const char *s);\n'
                                 "unsigned long f(const char *s)\n{\n\treturn strlen(s);\n}\n"}),
    Sample("syscalls", "stat", {"src/mds/a.c": "#include <sys/stat.h>\nint f(struct stat *st);\n"
                                'int f(struct stat *st)\n{\n\treturn stat("/", st);\n}\n'}, "calls stat()"),
    Sample("syscalls", "checked printf", {"src/oss/a.c": "int __printf_chk(int, const char *, ...);\nint f(void);\n"
                                          'int f(void)\n{\n\treturn __printf_chk(1, "x");\n}\n'}, "calls __printf_chk()"),
    Sample("syscalls", "in an adapter", {"src/mds/b.c": "int b;\n", "src/cli/a.c": "#include <unistd.h>\nint f(void);\n"
                                         "int f(void)\n{\n\treturn getpid();\n}\n"}),
    Sample("syscalls", "empty", {}, "looked at no object files"),
)

HEADERS_ALONE = (
    Sample("headers_alone", "clean", {"src/base/a.h": "#ifndef A\n#define A\n#include <stdint.h>\n"
                                      "struct a {\n\tuint8_t b;\n};\n#endif\n"}),
    Sample("headers_alone", "uses what it does not include", {"src/base/a.h": "#pragma once\nuint8_t a(void);\n"},
           "src/base/a.h: does not compile alone"),
    Sample("headers_alone", "no guard", {"src/base/a.h": "struct a {\n\tint b;\n};\n"}, "redefinition"),
    Sample("headers_alone", "empty", {}, "looked at no headers"),
)


def limit(name, text, expect=None, path="src/base/a.c"):
    return Sample("limits", name, {path: text}, expect)


def shrink(name, committed, now, expect=None):
    """The exceptions of HEAD and of the working tree; the file exceeds the length of a function."""
    code = {"src/base/a.c": long_function(80)}
    return Sample("limits", name, {EXCEPTIONS: now}, expect, committed={**code, EXCEPTIONS: committed})


ENTRY = "function-lines src/base/a.c:mod_get\n"
LIMITS = (
    limit("clean", long_function(66) + deep_function(4)),
    limit("long file", "int a;\n" * 1001, "1001 lines; the limit is 1000"),
    limit("long function", long_function(67), "mod_get has 71 lines; the limit is 70"),
    limit("longest function", long_function(66)),
    limit("long test", "TEST(a_case)\n{\n" + "\tstep();\n" * 80 + "}\n", "TEST(a_case) has 83 lines"),
    limit("seven parameters", "int f(int a, int b, int c, int d, int e, int (*g)(int, int), int h)\n{\n}\n",
          "f has 7 parameters"),
    limit("six parameters", "int f(int a, int b, int c, int d, int e, int (*g)(int, int))\n{\n}\n"),
    limit("deep", deep_function(5), "mod_get nests blocks 5 deep"),
    limit("initialisers are not blocks", "int f(void)\n{\n\tstruct a b = {.c = {.d = {.e = {.f = {1}}}}};\n}\n"),
    limit("braces in strings and comments", 'int f(void)\n{\n\tg("{{{{{{"); /* {{{{{ */\n\th(\'{\');\n}\n'
          + long_function(60)),
    limit("long python", "def f():\n" + "    a = 1\n" * 80, "f has 81 lines", "tools/a.py"),
    shrink("listed", ENTRY, ENTRY),
    shrink("list grew", "", ENTRY, "the list may only shrink; new: " + ENTRY.strip()),
    Sample("limits", "not needed any more", {"src/base/a.c": GOOD_C}, "nothing needs this line any more",
           committed={EXCEPTIONS: ENTRY}),
    Sample("limits", "empty", {}, "looked at no files"),
)

MARK = "TO" "DO"


def word(name, text, expect=None, path="src/base/a.c"):
    return Sample("words", name, {path: text}, expect)


WORDS = (
    word("clean", "/* It returns here; what follows is prose. */\nint a; /* = 1; that is the default */\n"),
    word("mark", "/* %s: later */\n" % MARK, MARK + " without an owner"),
    Sample("words", "mark with an owner", {"src/a.c": "/* %s(mds): later */\n" % MARK, "docs/roadmap.md": "- mds\n"}),
    word("mark with a stranger", "/* %s(nobody): later */\n" % MARK, MARK + " without an owner"),
    word("temporary name", 'char a[] = "/tmp/a.XXXXXX";\n'),
    word("line of code", "// return mod_get(a);\nint a;\n", "commented-out code"),
    word("block of code", "/*\n * if (a) {\n *\tb = 1;\n * }\n */\n", "commented-out code"),
    word("example in prose", "/*\n * To find one,\n * where it may be absent:\n *\n *\tb = mod_get(a);\n */\n"),
    word("switched off", "#if 0\nint a;\n#endif\n", "switched off"),
    word("script code", "a = 1\n# import os\n", "commented-out code", "tools/a.py"),
    word("who typed", "/* Generated by an " "AI. */\n", "says who typed"),
    word("mirror", "http://deb.deb" "ian.org/debian\n", "names its mirrors", "tools/a.sh"),
    word("path of a machine", "see /ho" "me/joe/src\n", "a path of one machine", "docs/a.md"),
    Sample("words", "empty", {}, "looked at no files"),
)

README = (
    Sample("readme", "clean", {"src/base/a.c": "", "src/base/README.md": "# base\n[up](../../README.md#what-it-is)\n",
                               "README.md": "# What it is\n[base](src/base)\n```text\n[x](nowhere)\n```\n"}),
    Sample("readme", "module without", {"src/base/a.c": "", "README.md": ""}, "src/base: has no README.md"),
    Sample("readme", "dead link", {"README.md": "a\n[x](docs/none.md)\n"}, "README.md:2: link to docs/none.md"),
    Sample("readme", "dead anchor", {"README.md": "# One\n[x](#two)\n"}, "no such heading"),
    Sample("readme", "empty", {}, "looked at no Markdown files"),
)

SHELL = (
    Sample("shell", "clean", {"a.sh": '#!/bin/sh\necho "$1"\n'}),
    Sample("shell", "unquoted", {"a.sh": "#!/bin/sh\nrm -rf $1\n"}, "SC2086"),
    Sample("shell", "no suffix", {"tool": "#!/usr/bin/env bash\nrm -rf $1\n"}, "SC2086"),
    Sample("shell", "empty", {}, "looked at no files"),
)

PYTHON = (
    Sample("python", "clean", {"a.py": '"""What it is."""\n'}),
    Sample("python", "syntax", {"a.py": '"""What it is."""\nif\n'}, "invalid syntax"),
    Sample("python", "warning", {"a.py": '"""What it is."""\na = "\\d"\n'}, "invalid escape"),
    Sample("python", "unused import", {"a.py": '"""What it is."""\nimport os\n'}, "imported but unused"),
    Sample("python", "no docstring", {"tool": "#!/usr/bin/env python3\na = 1\n"}, "does not say what it is"),
    Sample("python", "empty", {}, "looked at no files"),
)

FENCE = "```"


def document(*commands):
    return "# Title\n" + "".join("%ssh\n%s\n%s\n" % (FENCE, c, FENCE) for c in commands)


DOC_COMMANDS = (
    Sample("doc_commands", "clean", {"README.md": document("echo one | cat")}, args=("--syntax",)),
    Sample("doc_commands", "syntax", {"README.md": document("if true; do")}, "README.md:3", args=("--syntax",)),
    Sample("doc_commands", "other languages do not count", {"README.md": "%stext\nx\n%s\n" % (FENCE, FENCE)},
           "looked at no command blocks", args=("--syntax",)),
)

def programs(up_help):
    """A build/bin whose programs say a usage, and the source of one verb, which takes --force."""
    plain = "#!/bin/sh\necho 'usage: %s FILE'\n"
    tool = "#!/bin/sh\nif [ \"$1\" = --help ]; then printf 'usage: %s COMMAND\\n\\n  %s  does it\\n'; else cat <<'EOT'\n%s\nEOT\nfi\n"
    return {
        "build/bin/nacre": tool % ("nacre", "up", up_help),
        "build/bin/lfs": tool % ("lfs", "df", "usage: lfs df [DIR]"),
        "build/bin/nacred": plain % "nacred",
        "build/bin/nacre-fuse": plain % "nacre-fuse",
        "build/bin/mount.nacre": plain % "mount.nacre",
        "src/cli/nacre_up.c": '{"force", no_argument, NULL, 0},\n',
        "docs/configuration.md": "",
    }


MANUALS = (
    Sample("manuals", "clean", programs("usage: nacre up [--force] DIR")),
    Sample("manuals", "an option nobody is told of", programs("usage: nacre up DIR"), "src/cli/nacre_up.c: --force is in no --help"),
    Sample("manuals", "empty", {}, "looked at no pages"),
)

SAMPLES = (MANUALS + FORMAT + LAYERING + SYSCALLS + HEADERS_ALONE + LIMITS + WORDS + README + SHELL + PYTHON + DOC_COMMANDS)
