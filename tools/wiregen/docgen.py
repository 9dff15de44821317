"""
The reference pages: docs/protocol-messages.md and docs/format-records.md, committed and compared.
"""

from schema import Body, Enum, Op, Record

TITLES = {"wire": "Protocol messages", "disk": "Disk records"}
ENCODING = """\
Little-endian, no padding, fields in order. A `string` is a u16 length and its bytes (no NUL), `bytes` a u32
length and the bytes, an array (`[]`) a u32 count and its elements, a struct inside something (also as an
element) a u16 length and its fields. `bool` is one byte, 0 or 1; an unknown enumerator is refused, unknown
flag bits are kept. `fid` is seq (8), oid (4), ver (4); `uuid` 16 bytes. Bytes after the last known field are
skipped; fields marked *optional* may be missing at the end and then are zero or empty."""


def type_text(field):
    text = {"enum": "enum ", "flags": "flags ", "struct": "struct "}.get(field.kind, "") + field.type_name
    if field.kind in ("enum", "flags", "struct"):
        text = f"[{text}](#{anchor(text)})"
    if field.array == "fixed":
        return f"{text}\\[{field.bound.value}\\]"
    if field.array == "var":
        text += "[]"
        text = text.replace("[]", "\\[\\]")
    if field.bound:
        text += f", at most {field.bound.value}"
    return text


def anchor(heading):
    return heading.lower().replace(" ", "-")


def cell(text):
    return text.replace("|", "\\|")


def fields_table(fields):
    if not fields:
        return ["Nothing.", ""]
    out = ["| field | type | meaning |", "|---|---|---|"]
    for f in fields:
        optional = " *(optional)*" if f.optional else ""
        out.append(f"| `{f.name}` | {type_text(f)} | {cell(f.doc)}{optional} |")
    return out + [""]


def size_text(body):
    low, high = body.min_size(), body.max_size()
    return f"{low} bytes" if low == high else f"{low} to {high} bytes"


def enum_section(enum):
    kind = "flags" if enum.is_flags else "enum"
    out = [f"### {kind} {enum.name}", "", f"{enum.doc + ' ' if enum.doc else ''}Travels as {enum.base}.", ""]
    out += ["| name | bit | meaning |" if enum.is_flags else "| name | value | meaning |", "|---|---|---|"]
    out += [f"| `{name}` | {value} | {cell(doc)} |" for name, value, doc in enum.entries]
    return out + [""]


def op_section(op):
    words = [f"Op 0x{op.number:04x}", f"class {op.class_name.lower()}"]
    words += ["modifies"] if op.modifies else []
    words += ["one way, server to client"] if op.is_push else []
    out = [f"### {op.name}", ""]
    out += [op.doc, ""] if op.doc else []
    out += [", ".join(words) + ".", ""]
    for body in (op.request, op.reply):
        if body:
            out += [f"{body.kind.capitalize()}, {size_text(body)}:", ""] + fields_table(body.fields)
    return out


PAGES = {"wire": "protocol-messages.md", "disk": "format-records.md"}


def foreign_links(schema, text):
    """Links to types of an included schema lead to that schema's page."""
    for other in schema.includes:
        headings = [f"struct {body.cname[2:]}" for body in other.own(Body)]
        headings += [f"{'flags' if e.is_flags else 'enum'} {e.name}" for e in other.own(Enum)]
        for heading in headings:
            text = text.replace(f"](#{anchor(heading)})", f"]({PAGES.get(other.name, '')}#{anchor(heading)})")
    return text


def page(schema):
    return foreign_links(schema, own_page(schema))


def own_page(schema):
    out = [f"# {TITLES.get(schema.name, schema.name)}", ""]
    out += [f"Generated from `proto/{schema.name}.schema` by `tools/wiregen/wiregen.py --update-docs`; "
            "do not edit.", ""]
    out += [schema.intro, ""] if schema.intro else []
    out += ["## Encoding", "", ENCODING, ""]
    for other in schema.includes:
        name = PAGES.get(other.name, other.name)
        out += [f"Types that are not below are in [{name}]({name}).", ""]
    consts = [i for i in schema.items if isinstance(i, tuple)]
    if consts:
        out += ["## Constants", "", "| name | value | meaning |", "|---|---|---|"]
        out += [f"| `{name}` | {number.value} | {cell(doc)} |" for name, number, doc in consts] + [""]
    ops = sorted(schema.own(Op), key=lambda i: i.number)
    if ops:
        out += ["## Messages", "", "| op | name | class | |", "|---|---|---|---|"]
        for op in ops:
            note = "push" if op.is_push else "modifies" if op.modifies else ""
            out.append(f"| 0x{op.number:04x} | [{op.name}](#{anchor(op.name)}) | {op.class_name.lower()} | {note} |")
        out.append("")
        for op in ops:
            out += op_section(op)
    records = sorted(schema.own(Record), key=lambda i: i.number)
    if records:
        out += ["## Records", ""]
        for rec in records:
            out += [f"### {rec.name}", ""] + ([rec.doc, ""] if rec.doc else [])
            out += [f"Type 0x{rec.number:02x}, {size_text(rec.body)}:", ""] + fields_table(rec.body.fields)
    structs = schema.own(Body)
    if structs:
        out += ["## Structs", ""]
        for body in structs:
            out += [f"### struct {body.cname[2:]}", ""] + ([body.doc, ""] if body.doc else [])
            out += [f"{size_text(body)[0].upper()}{size_text(body)[1:]}:", ""] + fields_table(body.fields)
    enums = schema.own(Enum)
    if enums:
        out += ["## Enumerations and flags", ""]
        for enum in enums:
            out += enum_section(enum)
    return "\n".join(out).rstrip("\n") + "\n"
