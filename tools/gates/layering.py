"""The layers of docs/architecture.md: a file includes its own layer or a lower one; no cycles.

Besides: service cores (L3) never include each other, a private header (mod_int.h) stays in its module, src/ includes
nothing from tests/, and the cores, rpc and store see only system headers that compute (CORE_HEADERS). What such a
header declares besides - S_IFDIR's header also has stat() - is the business of the gate `syscalls`.
"""

import os
import re

import gatelib

LAYERS = {
    "base": 0,
    "env": 1, "wire": 1,
    "rpc": 2, "store": 2, "layout": 2,
    "mgs": 3, "mds": 3, "oss": 3, "client": 3, "tier": 3,
    "fuse": 4, "preload": 4, "manager": 4, "k8s": 4, "cli": 4, "daemon": 4, "monitor": 4,
}
# They compute or talk through env; the operating system is not their business.
PURE = ("rpc", "store", "layout", "mgs", "mds", "oss", "client", "tier")
CORE_HEADERS = {
    "assert.h", "ctype.h", "endian.h", "errno.h", "inttypes.h", "limits.h", "stdalign.h", "stdarg.h",
    "stdatomic.h", "stdbool.h", "stddef.h", "stdint.h", "stdio.h", "stdlib.h", "string.h", "strings.h",
    # Types and constants that the protocol speaks of: modes, O_ flags, iovec, xattr limits.
    "sys/types.h", "sys/stat.h", "sys/uio.h", "fcntl.h", "linux/limits.h", "linux/xattr.h",
    # Arithmetic of libraries.
    "openssl/crypto.h", "openssl/evp.h", "openssl/hmac.h", "openssl/kdf.h", "openssl/core_names.h",
    "openssl/params.h", "isa-l.h", "isa-l/crc.h",
}
EXTRA_HEADERS = {"store": {"lmdb.h"}}

INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*([<\"])([^>\"\n]+)[>\"]", re.MULTILINE)


def module_of(name):
    parts = name.split("/")
    return parts[1] if len(parts) > 2 and parts[0] == "src" else None


def includes_of(gate, name):
    """(line, is system, path) of each include. Comments are blanked first, strings are not."""
    text = gate.read(name)
    for offset, comment in reversed(gatelib.c_comments(text)):
        text = text[:offset] + gatelib.blank(comment) + text[offset + len(comment):]
    return [(gatelib.line_of(text, m.start(1)), m.group(1) == "<", m.group(2)) for m in INCLUDE.finditer(text)]


def resolve(gate, name, include):
    """The file of the tree an include means, as a path from the root; None if it is generated or foreign."""
    folder = os.path.dirname(name)
    for base in (folder, "src", "include", ""):
        path = os.path.normpath(os.path.join(base, include))
        if not path.startswith("..") and os.path.isfile(gate.path(path)):
            return path
    return None


def target_module(include, resolved):
    if resolved is not None:
        return module_of(resolved)
    first = include.split("/")[0]
    return first if first in LAYERS and "/" in include else None


def check_system(gate, where, module, include):
    if module in PURE and include not in CORE_HEADERS | EXTRA_HEADERS.get(module, set()):
        gate.violation(where, "%s does not touch the system: <%s> is not one of its headers" % (module, include))


def check_own(gate, where, module, include, resolved):
    """One include of a file in module; returns the module it leads to."""
    if resolved is not None and resolved.split("/")[0] not in ("src", "include"):
        gate.violation(where, "%s includes %s, which is outside src/ and include/" % (module, resolved))
        return None
    other = target_module(include, resolved)
    if other is None or other == module:
        return None
    if other not in LAYERS:
        gate.violation(where, "%s includes %s, a module of no layer" % (module, other))
        return None
    if LAYERS[other] > LAYERS[module]:
        gate.violation(where, "%s (L%d) includes %s (L%d)" % (module, LAYERS[module], other, LAYERS[other]))
    elif LAYERS[module] == 3 and LAYERS[other] == 3:
        gate.violation(where, "service cores never include each other: %s includes %s" % (module, other))
    if os.path.basename(include).endswith("_int.h"):
        gate.violation(where, "%s is private to %s" % (include, other))
    return other


def check_file(gate, name, modules, files):
    module = module_of(name)
    for line, system, include in includes_of(gate, name):
        where = "%s:%d" % (name, line)
        resolved = resolve(gate, name, include)
        if system and resolved is None:
            if name in gatelib.SYSTEM_SIDE:
                continue
            check_system(gate, where, module, include)
            continue
        other = check_own(gate, where, module, include, resolved)
        if other is not None:
            modules.setdefault(module, {}).setdefault(other, where)
        if resolved is not None:
            files.setdefault(name, {}).setdefault(resolved, where)


def check_public(gate, name):
    """A header of the public API knows only itself and the C library."""
    for line, system, include in includes_of(gate, name):
        resolved = resolve(gate, name, include)
        if (resolved is None and not system) or (resolved or "include/").split("/")[0] != "include":
            gate.violation("%s:%d" % (name, line), "a public header includes %s, which is not installed" % include)


def cycles(graph):
    """One path for each back edge a depth-first walk finds."""
    found, done = [], set()

    def walk(node, path):
        if node in path:
            found.append(path[path.index(node):] + [node])
            return
        if node in done:
            return
        for following in sorted(graph.get(node, {})):
            walk(following, path + [node])
        done.add(node)

    for start in sorted(graph):
        walk(start, [])
    return found


def main():
    gate = gatelib.Gate("layering")
    modules, files = {}, {}
    for name in gatelib.c_files(gate.root, ("src", "include")):
        gate.looked += 1
        module = module_of(name)
        if name.startswith("include/"):
            check_public(gate, name)
        elif module not in LAYERS:
            gate.violation(name, "is in no module that has a layer")
        else:
            check_file(gate, name, modules, files)
    for graph in (modules, files):
        for path in cycles(graph):
            gate.violation(graph[path[-2]][path[-1]], "cycle: " + " -> ".join(path))
    gate.finish()


main()
