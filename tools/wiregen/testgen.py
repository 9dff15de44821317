"""
Test instances as C: for every codec the golden instance with its bytes, and a maker of random ones.

The tables are read by tests/unit/wire/cases.c and by the fuzz program.
"""

import golden
from cgen import INT_C, Out, elem_ctype, preamble


def literal(field, value):
    """An initializer for a value that is no struct and no array."""
    if field.kind == "fid":
        return "{UINT64_C(0x%x), 0x%xu, 0x%xu}" % value
    if field.kind == "uuid":
        return "{{" + byte_list(value) + "}}"
    if field.kind in ("string", "bytes"):
        cast = "const char *" if field.kind == "string" else "const void *"
        return "{(%s)(const uint8_t[]){%s}, %d}" % (cast, byte_list(value) or "0", len(value))
    if field.kind == "enum":
        return f"(enum w_{field.type_name}){value}"
    if value < 0:
        return f"-INT64_C({-value - 1}) - 1"
    return f"UINT64_C({value})" if value > 0x7FFFFFFF else str(value)


def byte_list(data):
    return ",".join(str(b) for b in data)


class Instance:
    """Writes the statics of one golden instance; arrays come before what points to them."""

    def __init__(self, o, prefix):
        self.o, self.prefix, self.count = o, prefix, 0

    def value(self, field, value):
        return self.body(field.ref, value) if field.kind == "struct" else literal(field, value)

    def body(self, body, values):
        if not body.fields:
            return "{.empty = 0}"
        parts = []
        for f in body.fields:
            v = values[f.name]
            if f.array == "fixed":
                text = "{" + byte_list(v) + "}"
            elif f.array == "var":
                text = self.array(f, v)
            else:
                text = self.value(f, v)
            parts.append(f".{f.name} = {text}")
        return "{" + ",\n\t".join(parts) + "}"

    def array(self, field, values):
        texts = [self.value(field, v) for v in values]
        name = f"{self.prefix}_{self.count}"
        self.count += 1
        self.o(f"static const {elem_ctype(field)} {name}[] = {{", *[f"\t{t}," for t in texts], "};")
        return f"{{.items = {name}, .count = {len(values)}}}"


def random_one(f, target):
    """Statements that set `target` to a random valid value."""
    if f.kind == "struct":
        return [f"random_w_{f.type_name}(r, &{target});"]
    if f.kind == "bool":
        return [f"{target} = case_below(r, 2) != 0;"]
    if f.kind == "enum":
        numbers = ", ".join(str(n) for _, n, _ in f.ref.entries)
        return ["{", f"\tstatic const uint32_t choice[] = {{{numbers}}};", "",
                f"\t{target} = (enum w_{f.type_name})choice[case_below(r, {len(f.ref.entries)})];", "}"]
    if f.kind in ("fid", "uuid"):
        return [f"{target} = case_{f.kind}(r);"]
    if f.kind == "string":
        return [f"{target} = case_str(r, {f.bound.text});"]
    if f.kind == "bytes":
        return [f"{target} = case_bytes(r, {f.bound.text});"]
    ctype = INT_C[f.ref.base if f.kind == "flags" else f.type_name]
    return [f"{target} = ({ctype})case_u64(r);"]


def random_body(o, body):
    o(f"static void random_{body.cname}(struct case_rand *r, struct {body.cname} *v)", "{")
    o.depth = 1
    if not body.fields:
        o("(void)r;", "v->empty = 0;")
    for f in body.fields:
        target = f"v->{f.name}"
        if f.array == "fixed":
            o(f"case_fill(r, {target}, sizeof({target}));")
        elif f.array == "var":
            ctype = elem_ctype(f)
            o.open("{")
            o(f"uint32_t n = case_count(r, {f.bound.text});")
            o(f"{ctype} *items = case_alloc(r, n, sizeof({ctype}));", "")
            o.open("for (uint32_t i = 0; i < n; i++) {")
            o(*random_one(f, "items[i]"))
            o.close()
            o(f"{target}.items = items;", f"{target}.count = n;")
            o(f"{target}.view = (struct wire_view){{.ptr = NULL}};")
            o.close()
        else:
            o(*random_one(f, target))
    o.depth = 0
    o("}", "")


def closure(schema, seen):
    """Structs of the included schemas, in order, then the bodies of this one."""
    out = []
    for other in schema.includes:
        for body in closure(other, seen):
            if body.kind == "struct":
                out.append(body)
    out += [b for b in schema.bodies() if b.cname not in seen]
    seen.update(b.cname for b in out)
    return out


def used_structs(own):
    """Names of the struct bodies that random makers of `own` need."""
    needed, todo = set(), [b for b in own]
    while todo:
        for f in todo.pop().fields:
            if f.kind == "struct" and f.ref.cname not in needed:
                needed.add(f.ref.cname)
                todo.append(f.ref)
    return needed


def cases(schema):
    o = Out()
    o(*preamble(schema, "Test instances"))
    o('#include "cases.h"', f'#include "wire/gen/{schema.name}.h"', "")
    own = schema.bodies()
    own_names = {b.cname for b in own}
    everything = closure(schema, set())
    needed = used_structs(own) | own_names
    for body in everything:
        if body.cname in needed:
            random_body(o, body)
    for body in own:
        values = golden.instance(body)
        maker = Instance(o, f"golden_{body.cname}_items")
        text = maker.body(body, values)
        o(f"static const struct {body.cname} golden_{body.cname} = {text};")
        data = golden.encode(body, values)
        o(f"static const uint8_t bytes_{body.cname}[] = {{{byte_list(data) or '0'}}};", "")
        o(f"static void random_{body.cname}_any(struct case_rand *r, void *v)", "{")
        o(f"\trandom_{body.cname}(r, v);", "}", "")
    o(f"const struct wire_case wire_cases_{schema.name}[] = {{")
    for body in own:
        size = len(golden.encode(body, golden.instance(body)))
        o(f"\t{{&{body.cname}_codec, &golden_{body.cname}, bytes_{body.cname}, {size},")
        o(f"\t\trandom_{body.cname}_any}},")
    o("};", f"const size_t wire_cases_{schema.name}_count = ARRAY_SIZE(wire_cases_{schema.name});")
    return o.text()
