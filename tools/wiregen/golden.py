"""
A second encoder, written apart from the C one, and one instance per message derived from field names.

Its bytes are committed as proto/golden/*.hex; a unit test holds the C encoder to them, so a change of
the format is always a visible change of these files. The header's golden bytes are made here too.
"""

import struct
import zlib

FORMATS = {"u8": "<B", "u16": "<H", "u32": "<I", "u64": "<Q", "i32": "<i", "i64": "<q"}
ARRAY_ELEMS = 2
BYTES_MAX = 24


def number(path, bits):
    low = zlib.crc32(path.encode())
    high = zlib.crc32(path[::-1].encode())
    return ((high << 32) | low) & ((1 << bits) - 1)


def scalar(field, path):
    """A value of one element: int, bytes, (seq, oid, ver), or a dict for a struct."""
    if field.kind == "bool":
        return number(path, 32) & 1
    if field.kind == "int":
        bits = struct.calcsize(FORMATS[field.type_name]) * 8
        value = number(path, bits)
        signed = field.type_name[0] == "i" and value >> (bits - 1)
        return value - (1 << bits) if signed else value
    if field.kind == "enum":
        return field.ref.entries[number(path, 32) % len(field.ref.entries)][1]
    if field.kind == "flags":
        known = sum(1 << n for _, n, _ in field.ref.entries)
        return number(path, 64) & known
    if field.kind == "fid":
        return number(path + ".seq", 64), number(path + ".oid", 32), number(path + ".ver", 32)
    if field.kind == "uuid":
        return b"".join(struct.pack("<I", number(f"{path}.{i}", 32)) for i in range(4))
    if field.kind == "struct":
        return instance(field.ref, path)
    if field.kind == "string":
        return field.name.encode()[: field.bound.value]
    size = min(BYTES_MAX, field.bound.value)
    return bytes(number(f"{path}.{i}", 8) for i in range(size))


def instance(body, path=None):
    """{field name: value}; arrays are lists."""
    values = {}
    for f in body.fields:
        where = f"{path or body.cname}.{f.name}"
        if f.array == "fixed":
            values[f.name] = bytes(number(f"{where}.{i}", 8) for i in range(f.bound.value))
        elif f.array == "var":
            values[f.name] = [scalar(f, f"{where}.{i}") for i in range(min(ARRAY_ELEMS, f.bound.value))]
        else:
            values[f.name] = scalar(f, where)
    return values


def encode_one(field, value):
    if field.kind == "bool":
        return struct.pack("<B", value)
    if field.kind == "int":
        return struct.pack(FORMATS[field.type_name], value)
    if field.kind in ("enum", "flags"):
        return struct.pack(FORMATS[field.ref.base], value)
    if field.kind == "fid":
        return struct.pack("<QII", *value)
    if field.kind == "uuid":
        return value
    if field.kind == "struct":
        inner = encode(field.ref, value)
        return struct.pack("<H", len(inner)) + inner
    return struct.pack("<H" if field.kind == "string" else "<I", len(value)) + value


def encode(body, values):
    out = b""
    for f in body.fields:
        value = values[f.name]
        if f.array == "fixed":
            out += value
        elif f.array == "var":
            out += struct.pack("<I", len(value)) + b"".join(encode_one(f, v) for v in value)
        else:
            out += encode_one(f, value)
    return out


def lines(data):
    text = data.hex()
    return "\n".join(text[i : i + 64] for i in range(0, len(text), 64)) + "\n"


def hex_text(body):
    return lines(encode(body, instance(body)))


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


# The layout of CONVENTIONS: name and bytes. Values count the bytes: byte n of the header is n.
HEADER = (
    ("magic", 4), ("version", 1), ("class", 1), ("op", 2), ("flags", 4), ("header-crc", 4),
    ("session", 8), ("incarnation", 4), ("target", 4), ("slot", 2), ("keyid", 2), ("sequence", 4),
    ("xid", 8), ("epoch", 4), ("map", 4), ("status", 4), ("deadline-ms", 4), ("transno", 8),
    ("last-committed", 8), ("trace", 16), ("body-length", 4), ("bulk-length", 4), ("body-crc", 4),
    ("bulk-crc", 4), ("mac", 16),
)
HEADER_FIXED = {"magic": b"NACR", "version": b"\1", "class": b"\1", "header-crc": bytes(4),
                "body-length": struct.pack("<I", 0x10203), "bulk-length": struct.pack("<I", 0x30201)}


def header_bytes():
    out = b""
    for name, size in HEADER:
        counted = bytes(range(len(out), len(out) + size))
        out += HEADER_FIXED.get(name, counted)
    assert len(out) == 128
    crc = struct.pack("<I", crc32c(out[:-16] + bytes(16)))
    return out[:12] + crc + out[16:]


def header_text():
    return lines(header_bytes())
