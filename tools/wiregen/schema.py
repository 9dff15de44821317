"""
The schema language: reading, checking and the model the generators work on.

A schema is a list of items (const, enum, flags, struct, message, push, record); messages and pushes
become one or two Body objects, structs and records one. Everything the generators rely on is checked
here, with file and line: names exist before they are used (so there are no cycles), numbers are
unique, optional fields are last, and what may be absent has a valid zero.
"""

import os
import re

INT_SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "i32": 4, "i64": 8}
FIXED_SIZES = dict(INT_SIZES, bool=1, fid=16, uuid=16)
C_RESERVED = set(
    "auto break case char const continue default do double else enum extern float for goto if inline "
    "int long register restrict return short signed sizeof static struct switch typedef union "
    "unsigned void volatile while asm typeof linux unix bool true false".split()
)
NESTED_MAX = 0xFFFF


class SchemaError(Exception):
    """A mistake in a schema; the text begins with file:line."""


class Limits:
    """The numeric LIM_* macros of limits.h: shown in the pages and used to build test values."""

    def __init__(self, path):
        self.values = {}
        self.path = path
        with open(path, encoding="utf-8") as f:
            for line in f:
                m = re.match(r"#define (LIM_\w+) (.+)$", line)
                if m:
                    self._add(m.group(1), m.group(2))

    def _add(self, name, text):
        text = re.sub(r"/\*.*?\*/", "", text)
        text = re.sub(r"U?INT\d+_C\((\w+)\)", r"\1", text)
        text = re.sub(r"\bINT64_MAX\b", str(2**63 - 1), text)
        text = re.sub(r"LIM_\w+", lambda m: str(self.values.get(m.group(0), "?")), text)
        text = re.sub(r"\b(0x[0-9a-fA-F]+|\d+)[uUlL]+\b", r"\1", text).strip()
        if re.fullmatch(r"[0-9a-fA-Fx+\-*/<>() ]+", text):
            try:
                self.values[name] = int(eval(text.replace("/", "//")))  # digits and operators only
            except (SyntaxError, NameError, ZeroDivisionError):
                pass


class Number:
    """A bound or constant: its value, and the C text that stands for it."""

    def __init__(self, value, text):
        self.value = value
        self.text = text


class Enum:
    def __init__(self, name, base, is_flags, doc, where):
        self.name, self.base, self.is_flags, self.doc, self.where = name, base, is_flags, doc, where
        self.entries = []  # (name, number, doc)

    @property
    def size(self):
        return INT_SIZES[self.base]

    def has_zero(self):
        return self.is_flags or any(number == 0 for _, number, _ in self.entries)


class Field:
    """
    One field. `kind` is int, bool, fid, uuid, enum, flags, struct, string or bytes; `array` is None,
    "var" (counted) or "fixed" (u8 only); `bound` is the Number after max or in the brackets.
    """

    def __init__(self, name, kind, type_name, where):
        self.name, self.kind, self.type_name, self.where = name, kind, type_name, where
        self.ref = None
        self.array = None
        self.bound = None
        self.optional = False
        self.doc = ""

    def elem_size(self):
        """Encoded size of one value, or None where it varies."""
        if self.kind in ("enum", "flags"):
            return self.ref.size
        if self.kind in ("int", "bool", "fid", "uuid"):
            return FIXED_SIZES[self.type_name]
        return None

    def fixed_size(self):
        """Encoded size of the whole field, or None where it varies."""
        if self.array == "fixed":
            return self.bound.value
        if self.array == "var":
            return None
        return self.elem_size()

    def zero_is_valid(self):
        if self.array or self.kind in ("int", "bool", "fid", "uuid", "string", "bytes", "flags"):
            return True
        if self.kind == "enum":
            return self.ref.has_zero()
        return all(f.zero_is_valid() for f in self.ref.fields)

    def min_size(self):
        fixed = self.fixed_size()
        if fixed is not None:
            return fixed
        if self.array == "var" or self.kind == "bytes":
            return 4
        return 2 if self.kind == "string" else 2 + self.ref.min_size()

    def max_size(self):
        fixed = self.fixed_size()
        if fixed is not None:
            return fixed
        if self.array == "var":
            one = self.elem_size()
            return 4 + self.bound.value * (one if one is not None else self.nested_max())
        if self.kind == "struct":
            return self.nested_max()
        return (2 if self.kind == "string" else 4) + self.bound.value

    def nested_max(self):
        """A nested struct whose fields could be more does not encode when they are (-NE_OVERFLOW)."""
        return 2 + min(self.ref.max_size(), NESTED_MAX)


class Body:
    """A sequence of fields with its own encoder: a struct, one side of a message, or a record."""

    def __init__(self, cname, kind, doc, where):
        self.cname = cname  # w_attr, w_mds_create_req, w_push_x, d_mds_inode
        self.kind = kind  # struct, request, reply, push, record
        self.doc, self.where = doc, where
        self.fields = []

    @property
    def macro(self):
        return self.cname.upper()

    def min_size(self):
        return sum(f.min_size() for f in self.fields if not f.optional)

    def max_size(self):
        return sum(f.max_size() for f in self.fields)

    def optional_count(self):
        return sum(1 for f in self.fields if f.optional)


class Op:
    def __init__(self, name, number, class_name, modifies, is_push, doc, where):
        self.name, self.number, self.class_name = name, number, class_name
        self.modifies, self.is_push, self.doc, self.where = modifies, is_push, doc, where
        self.request = None
        self.reply = None


class Record:
    def __init__(self, name, number, body, doc):
        self.name, self.number, self.body, self.doc = name, number, body, doc


class Schema:
    def __init__(self, path):
        self.path = path
        self.name = os.path.splitext(os.path.basename(path))[0]
        self.intro = ""
        self.includes = []  # Schema objects
        self.items = []  # own items in order: Enum, Body(struct), Op, Record, (const name, Number, doc)
        self.types = {}  # visible enums, flags and structs, by name
        self.consts = {}  # visible constants, by name
        self.ops = {}
        self.records = {}

    def own(self, cls):
        return [i for i in self.items if isinstance(i, cls)]

    def bodies(self):
        """The Body objects this schema defines, in an order in which what is used comes first."""
        out = []
        for item in self.items:
            if isinstance(item, Body):
                out.append(item)
            elif isinstance(item, Op):
                out.extend(b for b in (item.request, item.reply) if b)
            elif isinstance(item, Record):
                out.append(item.body)
        return out


TOKEN = re.compile(
    r"""(?P<space>[ \t\r]+) | (?P<newline>\n) | (?P<comment>\#[^\n]*) | (?P<string>"[^"\n]*") |
        (?P<number>0x[0-9a-fA-F]+\b|\d+\b) | (?P<ident>[A-Za-z_]\w*) | (?P<punct>[{}\[\]:=])""",
    re.X,
)


class Token:
    def __init__(self, kind, text, line, comment):
        self.kind, self.text, self.line, self.comment = kind, text, line, comment


def tokenize(path, text):
    """Tokens; each carries the block of comment lines that stands directly above it."""
    tokens, comment, line, pos, line_start = [], [], 1, 0, True
    intro, seen_gap = [], False
    while pos < len(text):
        m = TOKEN.match(text, pos)
        if not m:
            raise SchemaError(f"{path}:{line}: unexpected character {text[pos]!r}")
        pos = m.end()
        kind = m.lastgroup
        if kind == "newline":
            if line_start:
                if not tokens and comment and not seen_gap:
                    intro, seen_gap = comment, True
                comment = []
            line += 1
            line_start = True
            continue
        if kind == "space":
            continue
        if kind == "comment":
            if line_start:
                comment.append(m.group().lstrip("#").strip())
            line_start = False
            continue
        tokens.append(Token(kind, m.group(), line, " ".join(comment).strip()))
        comment, line_start = [], False
    tokens.append(Token("end", "", line, ""))
    return tokens, " ".join(intro).strip()


class Parser:
    def __init__(self, path, limits, loaded):
        self.path, self.limits, self.loaded = path, limits, loaded
        with open(path, encoding="utf-8") as f:
            self.tokens, intro = tokenize(path, f.read())
        self.pos = 0
        self.schema = Schema(path)
        self.schema.intro = intro
        self.names = {}

    def fail(self, message, line=None):
        raise SchemaError(f"{self.path}:{line or self.tokens[self.pos].line}: {message}")

    def peek(self):
        return self.tokens[self.pos]

    def next(self):
        token = self.tokens[self.pos]
        self.pos += token.kind != "end"
        return token

    def accept(self, text):
        if self.peek().text == text and self.peek().kind in ("ident", "punct"):
            return self.next()
        return None

    def expect(self, text):
        if not self.accept(text):
            self.fail(f"expected '{text}', found '{self.peek().text}'")

    def take(self, kind, what):
        if self.peek().kind != kind:
            self.fail(f"expected {what}, found '{self.peek().text}'")
        return self.next().text

    def doc(self):
        parts = []
        while self.peek().kind == "string":
            parts.append(self.next().text[1:-1].strip())
        return " ".join(parts)

    def name(self, what):
        text = self.take("ident", what)
        if text in C_RESERVED:
            self.fail(f"'{text}' cannot be a name in C", self.tokens[self.pos - 1].line)
        return text

    def claim(self, cname):
        if cname in self.names:
            self.fail(f"{cname} is already defined at {self.names[cname]}")
        self.names[cname] = f"{self.path}:{self.peek().line}"

    def integer(self):
        return int(self.take("number", "a number"), 0)

    def bound(self):
        """A number, an own constant or a LIM_ macro."""
        token = self.next()
        if token.kind == "number":
            value = int(token.text, 0)
            suffix = f"UINT64_C({token.text})" if value > 0x7FFFFFFF else token.text
            return Number(value, suffix)
        if token.text in self.schema.consts:
            return Number(self.schema.consts[token.text].value, f"W_{token.text}")
        if token.text in self.limits.values:
            return Number(self.limits.values[token.text], token.text)
        self.fail(f"'{token.text}' is neither a number, a const nor a macro of limits.h", token.line)

    def parse(self):
        handlers = {
            "include": self.parse_include, "const": self.parse_const, "enum": self.parse_enum,
            "flags": self.parse_enum, "struct": self.parse_struct, "message": self.parse_op,
            "push": self.parse_op, "record": self.parse_record,
        }
        while self.peek().kind != "end":
            token = self.next()
            if token.text not in handlers:
                self.fail(f"'{token.text}' does not begin an item", token.line)
            handlers[token.text](token)
        return self.schema

    def parse_include(self, token):
        name = self.take("string", "a file name")[1:-1]
        path = os.path.normpath(os.path.join(os.path.dirname(self.path), name))
        if not os.path.exists(path):
            self.fail(f"{path} does not exist", token.line)
        other = load(path, self.limits, self.loaded)
        self.schema.includes.append(other)
        self.schema.types.update(other.types)
        self.schema.consts.update(other.consts)
        self.schema.ops.update(other.ops)
        self.schema.records.update(other.records)
        self.names.update(other.names)

    def parse_const(self, token):
        name = self.name("a constant's name")
        self.expect("=")
        number = self.bound()
        doc = self.doc() or token.comment
        self.claim(f"W_{name}")
        self.schema.consts[name] = number
        self.schema.items.append((name, number, doc))

    def parse_enum(self, token):
        name = self.name("a name")
        self.expect(":")
        base = self.take("ident", "an integer type")
        if base not in ("u8", "u16", "u32", "u64") or (base == "u64" and token.text == "enum"):
            self.fail(f"{base} cannot hold an {token.text}")
        doc = self.doc() or token.comment
        enum = Enum(name, base, token.text == "flags", doc, f"{self.path}:{token.line}")
        self.expect("{")
        bound = 8 * INT_SIZES[base] if enum.is_flags else 1 << (8 * INT_SIZES[base])
        while not self.accept("}"):
            entry = self.take("ident", "an enumerator")
            self.expect("=")
            number = self.integer()
            if number >= bound:
                self.fail(f"{entry} = {number} does not fit {base}")
            if any(number == n for _, n, _ in enum.entries):
                self.fail(f"{name} has the number {number} twice")
            self.claim(f"W_{name}_{entry}".upper())
            enum.entries.append((entry, number, self.doc()))
        if not enum.entries:
            self.fail(f"{name} is empty")
        self.claim(f"w_{name}")
        self.schema.types[name] = enum
        self.schema.items.append(enum)

    def parse_struct(self, token):
        name = self.name("a struct's name")
        doc = self.doc() or token.comment
        body = Body(f"w_{name}", "struct", doc, f"{self.path}:{token.line}")
        self.parse_fields(body)
        self.claim(body.cname)
        self.schema.types[name] = body
        self.schema.items.append(body)

    def parse_op(self, token):
        name = self.name("a message's name")
        self.expect("op")
        number = self.integer()
        self.expect("class")
        class_name = self.take("ident", "a class")
        is_push = token.text == "push"
        modifies = bool(self.accept("modifies"))
        where = f"{self.path}:{token.line}"
        op = Op(name, number, class_name.upper(), modifies, is_push, self.doc() or token.comment, where)
        classes = self.schema.types.get("msg_class")
        if not classes or op.class_name not in [e[0].upper() for e in classes.entries]:
            self.fail(f"class {class_name} is not in enum msg_class", token.line)
        if number > 0xFFFF or number in self.schema.ops:
            self.fail(f"op {number:#x} is too large or already used", token.line)
        if is_push and modifies:
            self.fail("a push cannot be marked 'modifies'", token.line)
        self.expect("{")
        if is_push:
            op.request = self.parse_side("body", f"w_push_{name}", "push", True)
        else:
            op.request = self.parse_side("request", f"w_{name}_req", "request", True)
            op.reply = self.parse_side("reply", f"w_{name}_rep", "reply", False)
        self.expect("}")
        self.claim(f"W_OP_{name}".upper())
        self.schema.ops[number] = op
        self.schema.items.append(op)

    def parse_side(self, keyword, cname, kind, required):
        body = Body(cname, kind, "", f"{self.path}:{self.peek().line}")
        if not self.accept(keyword):
            if required:
                self.fail(f"expected '{keyword}'")
        else:
            body.doc = self.doc()
            self.parse_fields(body)
        self.claim(cname)
        return body

    def parse_record(self, token):
        name = self.name("a record's name")
        self.expect("type")
        number = self.integer()
        doc = self.doc() or token.comment
        if number > 0xFFFF or number in self.schema.records:
            self.fail(f"type {number:#x} is too large or already used", token.line)
        body = Body(f"d_{name}", "record", doc, f"{self.path}:{token.line}")
        self.parse_fields(body)
        self.claim(body.cname)
        self.claim(f"D_TYPE_{name}".upper())
        record = Record(name, number, body, doc)
        self.schema.records[number] = record
        self.schema.items.append(record)

    def parse_fields(self, body):
        self.expect("{")
        while not self.accept("}"):
            self.parse_field(body)

    def parse_field(self, body):
        type_token = self.next()
        field = self.field_of_type(type_token)
        field.name = self.name("a field's name")
        if field.name in [f.name for f in body.fields] or field.name == "empty":
            self.fail(f"field name '{field.name}' is taken")
        if self.accept("["):
            if self.accept("]"):
                field.array = "var"
            else:
                field.array, field.bound = "fixed", self.bound()
                self.expect("]")
        if field.array == "var" or field.kind in ("string", "bytes"):
            self.expect("max")
            field.bound = self.bound()
        field.optional = bool(self.accept("optional"))
        field.doc = self.doc()
        if not field.doc:
            self.fail(f"field {field.name} has no documentation")
        self.check_field(body, field)
        body.fields.append(field)

    def field_of_type(self, token):
        where = f"{self.path}:{token.line}"
        keyword = None
        if token.kind == "end":
            self.fail("expected a field, found the end", token.line)
        if token.text in ("enum", "flags", "struct"):
            keyword, token = token.text, self.next()
        elif token.text in ("string", "bytes"):
            return Field("", token.text, token.text, where)
        elif token.text in FIXED_SIZES:
            kind = "int" if token.text in INT_SIZES else token.text
            return Field("", kind, token.text, where)
        ref = self.schema.types.get(token.text)
        if not ref:
            self.fail(f"type '{token.text}' is not defined above", token.line)
        kind = "struct" if isinstance(ref, Body) else "flags" if ref.is_flags else "enum"
        if keyword and keyword != kind:
            self.fail(f"'{token.text}' is of kind {kind}", token.line)
        field = Field("", kind, token.text, where)
        field.ref = ref
        return field

    def check_field(self, body, field):
        line = int(field.where.rsplit(":", 1)[1])
        if field.array and field.kind in ("string", "bytes"):
            self.fail("arrays of strings or bytes are not in the language: use a struct", line)
        if field.array == "fixed" and field.type_name != "u8":
            self.fail("only u8 can have a fixed number of elements", line)
        if field.bound and not 0 < field.bound.value <= 0x7FFFFFFF:
            self.fail(f"{field.name}: a bound is between 1 and 2^31-1", line)
        if field.kind == "string" and field.bound.value > 0xFFFF:
            self.fail(f"{field.name}: a string's length is 16 bits", line)
        if body.fields and body.fields[-1].optional and not field.optional:
            self.fail(f"{field.name} follows an optional field and is not optional", line)
        if field.optional and not field.zero_is_valid():
            self.fail(f"{field.name} may be absent, but its zero is not a valid value", line)


def load(path, limits, loaded=None):
    """Reads a schema and what it includes; every file once."""
    loaded = {} if loaded is None else loaded
    key = os.path.realpath(path)
    if key in loaded:
        if loaded[key] is None:
            raise SchemaError(f"{path}:1: includes itself")
        return loaded[key]
    loaded[key] = None
    parser = Parser(path, limits, loaded)
    schema = parser.parse()
    schema.names = parser.names
    loaded[key] = schema
    return schema
