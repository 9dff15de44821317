#!/usr/bin/python3
"""What the schema reader accepts and refuses, and where it says the mistake is."""

import os
import sys
import tempfile
import unittest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "tools", "wiregen"))
sys.dont_write_bytecode = True

import golden  # noqa: E402
import schema  # noqa: E402

LIMITS = schema.Limits(os.path.join(ROOT, "src", "base", "limits.h"))
CLASS = 'enum msg_class : u8 { NORMAL = 0 "x" }\n'


def parse(text, more=None):
    with tempfile.TemporaryDirectory() as folder:
        for name, content in {"t.schema": text, **(more or {})}.items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
                f.write(content)
        return schema.load(os.path.join(folder, "t.schema"), LIMITS)


# (schema, line of the mistake, a part of the message)
REFUSED = (
    ("struct a { u32 x }", 1, "no documentation"),
    ("struct a {\n u32 x max 4 \"d\"\n}", 2, "no documentation"),
    ('struct a { wrong x "d" }', 1, "not defined above"),
    ('struct a { struct a x "d" }', 1, "not defined above"),
    ('struct a { u32 x "d"\n u32 x "d" }', 2, "taken"),
    ('struct a { u32 int "d" }', 1, "cannot be a name in C"),
    ('struct a { string s "d" }', 1, "expected 'max'"),
    ('struct a { string s max 0 "d" }', 1, "a bound is between"),
    ('struct a { string s max 65536 "d" }', 1, "16 bits"),
    ('struct a { bytes s max LIM_NOTHING "d" }', 1, "neither a number"),
    ('struct a { u32 x[] "d" }', 1, "expected 'max'"),
    ('struct a { u32 x[3] "d" }', 1, "only u8"),
    ('struct a { string s[] max 3 "d" }', 1, "use a struct"),
    ('struct a {\n u32 x optional "d"\n u32 y "d"\n}', 3, "follows an optional"),
    ('enum e : u8 { A = 1 "d" }\nstruct a { e x optional "d" }', 2, "zero is not a valid"),
    ('enum e : u8 { A = 1 }\nstruct b { e x "d" }\nstruct a { b y optional "d" }', 3, "zero is not"),
    ("enum e : u8 { A = 256 }", 1, "does not fit"),
    ("enum e : u8 { A = 1\n B = 1 }", 2, "twice"),
    ("enum e : u8 { A = 1\n A = 2 }", 2, "already defined"),
    ("enum e : u8 { }", 1, "empty"),
    ("enum e : i64 { A = 1 }", 1, "cannot hold"),
    ("flags f : u8 { A = 8 }", 1, "does not fit"),
    ('struct a { u8 x "d" }\nstruct a { u8 x "d" }', 2, "already defined"),
    ("message m op 1 class normal { request { } }", 1, "not in enum msg_class"),
    (CLASS + "message m op 1 class soon { request { } }", 2, "not in enum msg_class"),
    (CLASS + "message m op 0x10000 class normal { request { } }", 2, "too large"),
    (CLASS + "message m op 1 class normal { request { } }\nmessage n op 1 class normal { request { } }",
     3, "already used"),
    (CLASS + "push m op 1 class normal modifies { body { } }", 2, "cannot be marked"),
    (CLASS + "push m op 1 class normal { request { } }", 2, "expected 'body'"),
    ("record r type 1 { }\nrecord q type 1 { }", 2, "already used"),
    ('flags f : u8 { A = 0 }\nstruct a { enum f x "d" }', 2, "is of kind flags"),
    ("nonsense", 1, "does not begin an item"),
    ("struct a ; {", 1, "unexpected character"),
    ('struct a { u8 x "d"', 1, "expected"),
    ('include "missing.schema"', 1, "does not exist"),
)


class Language(unittest.TestCase):
    def test_mistakes_are_refused_with_their_line(self):
        for text, line, part in REFUSED:
            with self.subTest(text=text):
                with self.assertRaises(schema.SchemaError) as caught:
                    parse(text)
                self.assertIn(f"t.schema:{line}:", str(caught.exception))
                self.assertIn(part, str(caught.exception))

    def test_including_oneself_is_refused(self):
        with self.assertRaises(schema.SchemaError):
            parse('include "b.schema"', {"b.schema": 'include "t.schema"'})

    def test_includes_are_seen_and_not_repeated(self):
        got = parse('include "b.schema"\nrecord r type 1 { struct s x "d" }',
                    {"b.schema": 'struct s { u8 x "d" }'})
        self.assertEqual([b.cname for b in got.bodies()], ["d_r"])

    def test_sizes(self):
        got = parse('struct s { string t max LIM_NAME_MAX "d"\n u32 x[] max 3 "d"\n u8 k[4] optional "d" }')
        body = got.bodies()[0]
        self.assertEqual(body.min_size(), 2 + 4)
        self.assertEqual(body.max_size(), 2 + 255 + 4 + 12 + 4)

    def test_comments_above_are_documentation(self):
        got = parse('# Intro.\n\n# One\n# thing.\nstruct s { u8 x "d" }\n')
        self.assertEqual(got.intro, "Intro.")
        self.assertEqual(got.bodies()[0].doc, "One thing.")

    def test_limits_are_read_as_numbers(self):
        self.assertEqual(LIMITS.values["LIM_NAME_MAX"], 255)
        self.assertEqual(LIMITS.values["LIM_MSG_BODY_MAX"], 256 << 10)
        self.assertEqual(LIMITS.values["LIM_STRIPE_SIZE_MAX"], (4 << 30) - (64 << 10))

    def test_crc_of_the_golden_header(self):
        self.assertEqual(golden.crc32c(b"123456789"), 0xE3069283)


if __name__ == "__main__":
    unittest.main()
