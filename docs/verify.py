#!/usr/bin/env python3
"""Verify a Tenure archive with nothing but Python's standard library and the `zstd` program.

Written from docs/format.md alone; "section 5" and the like mean that page. It shares no code with Tenure itself, so
that what both accept has been understood the same way twice.

    verify.py ARCHIVE [--deep] [--against CHECKPOINT] [--trust HASH_OR_VKEY] [--json]

Plain, it checks the chain, all signatures, checkpoints and tiles, and every byte of every pack. With --deep it also
reads every line, folds the lines into states and compares every root. Exit codes: 0 no finding, 3 findings, 2 wrong
usage, 1 the archive can't be read (or asks for a newer reader).

Reading order: `Verifier.run` at the end of part 7 names the steps; the parts before it are what the steps are made of.
"""
import argparse
import base64
import binascii
import datetime
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from typing import NamedTuple, Optional

ZERO = bytes(32)
ENTRY_LIMIT = 65535
PART_NAMES = {"b": "base", "d": "delta", "g": "gated", "r": "receipts", "o": "bodies", "a": "records"}


class Unreadable(Exception):
    """The archive can't be read at all: exit code 1, and no statement about its integrity."""


class Malformed(ValueError):
    """Some bytes don't have the form that format.md gives them; the text says which rule."""


def month_of(doc):
    """The month that decides about segments: of the slot, else of t0 as the service's clock corrects it (section 6)."""
    if "slot" in doc:
        return doc["slot"][:7]
    t0, skew = datetime.datetime.strptime(doc["t0"], "%Y-%m-%dT%H:%M:%S.%fZ"), doc.get("skew_ms", 0)
    corrected = t0 + datetime.timedelta(milliseconds=skew if abs(skew) > 300_000 else 0)
    return corrected.strftime("%Y-%m")


class Finding(NamedTuple):
    severity: str
    code: str
    name: Optional[str]
    seq: Optional[int]
    message: str


# ---------------------------------------------------------------- 1. hashes, strict JSON, canonical JSON (section 2)

def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


HEX64 = re.compile(r"[0-9a-f]{64}\Z")
TIME = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z\Z", re.ASCII)


def is_hash(value):
    return isinstance(value, str) and HEX64.match(value) is not None


def is_time(value):
    return isinstance(value, str) and TIME.match(value) is not None


def is_count(value):
    """A number of section 6: an integer from 0 to 2^53 - 1. (In Python True is an int; here it isn't.)"""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2 ** 53


class Number(str):
    """A JSON number, kept as it was spelled."""


def is_string(value):
    return isinstance(value, str) and not isinstance(value, Number)


def _object(pairs):
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Malformed("an object has two members of the same name")
    return members


def _constant(text):
    raise Malformed(f"{text} is no JSON")


_reader = json.JSONDecoder(object_pairs_hook=_object, parse_int=Number, parse_float=Number, parse_constant=_constant)


def read_json(data):
    """Bytes to values: objects as dicts in the order received, numbers as `Number`; refuses duplicate members.

    Lone surrogates and odd spellings pass here; they can't pass the comparison with what `jcs` writes.
    """
    try:
        text = data.decode("utf-8")
        value, end = _reader.raw_decode(text)
    except RecursionError:
        raise Malformed("nested too deeply") from None
    except Malformed:
        raise
    except ValueError as error:
        raise Malformed(f"no JSON: {error}") from None
    if end != len(text):
        raise Malformed("bytes after the JSON value")
    return value


_ESCAPED = re.compile(r'[\x00-\x1f"\\]')
_SHORT = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
_PLAIN_INTEGER = re.compile(r"(0|-?[1-9][0-9]{0,14})\Z")


def jcs_string(text):
    return '"' + _ESCAPED.sub(lambda m: _SHORT.get(m[0]) or "\\u%04x" % ord(m[0]), text) + '"'


def jcs_number(text):
    """A number as ECMAScript's Number::toString spells the double nearest to it (RFC 8785, section 3.2.2.3)."""
    if _PLAIN_INTEGER.match(text):
        return text
    double = float(text)
    if double == 0:
        return "0"
    if double in (float("inf"), float("-inf")):
        raise Malformed(f"no double holds {text[:40]}")
    # repr gives the shortest digits that read back as the same double, as ECMAScript does; only the layout differs.
    mantissa, _, exponent = repr(abs(double)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))  # 0.DIGITS times 10^point
    digits = digits.rstrip("0")
    count = len(digits)
    if count <= point <= 21:
        out = digits + "0" * (point - count)
    elif 0 < point <= 21:
        out = digits[:point] + "." + digits[point:]
    elif -6 < point <= 0:
        out = "0." + "0" * -point + digits
    else:
        power = point - 1
        out = digits[0] + ("." + digits[1:] if count > 1 else "") + "e" + ("+" if power > 0 else "-") + str(abs(power))
    return ("-" if double < 0 else "") + out


def _jcs(value):
    if isinstance(value, Number):
        return jcs_number(value)
    if isinstance(value, str):
        return jcs_string(value)
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(jcs_string(name) + ":" + _jcs(value[name]) for name in names) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_jcs, value)) + "]"
    return jcs_number(repr(value))  # int or float of a caller that builds values itself


def jcs(value):
    """The RFC 8785 form of a value, as bytes."""
    try:
        return _jcs(value).encode("utf-8")
    except UnicodeEncodeError:
        raise Malformed("a string has an unpaired surrogate") from None
    except RecursionError:
        raise Malformed("nested too deeply") from None


def read_base64(text, length=None):
    """RFC 4648 section 4, padded, with the one spelling that an encoder writes."""
    try:
        data = base64.b64decode(text if is_string(text) else None, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise Malformed("not base64") from None
    if base64.b64encode(data).decode() != text or length not in (None, len(data)):
        raise Malformed("not the base64 of the right number of bytes")
    return data


# ---------------------------------------------------------------- 2. Ed25519 (RFC 8032), verification only

P = 2 ** 255 - 19
ORDER = 2 ** 252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
IDENTITY = (0, 1, 1, 0)  # extended coordinates X, Y, Z, T with x = X/Z, y = Y/Z, xy = T/Z


def point_add(p, q):
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * p[3] * q[3] * D % P
    d = 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def point_encode(p):
    inverse = pow(p[2], P - 2, P)
    x, y = p[0] * inverse % P, p[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def point_decode(data):
    """The point of 32 bytes, or Malformed; only the canonical spelling is accepted."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    if y >= P:
        raise Malformed("point: y is not below p")
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * SQRT_M1 % P
    if (x * x - x2) % P or (x == 0 and sign):
        raise Malformed("point: not on the curve")
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


def has_small_order(p):
    for _ in range(3):
        p = point_add(p, p)
    return p[0] % P == 0 and (p[1] - p[2]) % P == 0


class Multiples:
    """A fixed point with its multiples by d·16^i, so that multiplying it by a number takes 64 additions."""

    def __init__(self, point):
        self.rows = []
        for _ in range(64):
            row = [IDENTITY]
            for _ in range(15):
                row.append(point_add(row[-1], point))
            self.rows.append(row)
            point = point_add(row[-1], point)

    def times(self, number):
        total = IDENTITY
        for i, row in enumerate(self.rows):
            digit = number >> 4 * i & 15
            if digit:
                total = point_add(total, row[digit])
        return total


BASE = Multiples(point_decode((4 * pow(5, P - 2, P) % P).to_bytes(32, "little")))


class Key:
    """A verifier key of section 6, `<name>+<key id>+<base64 of 0x01 and 32 bytes>` (C2SP signed-note)."""

    def __init__(self, text):
        parts = text.split("+", 2) if isinstance(text, str) else []
        if len(parts) != 3:
            raise Malformed("not a verifier key")
        self.text, (self.name, self.id, encoded) = text, parts
        data = read_base64(encoded, 33)
        if data[0] != 1:
            raise Malformed("verifier key: not Ed25519")
        if sha256(self.name.encode(), b"\n", data)[:4].hex() != self.id:
            raise Malformed("verifier key: the key id doesn't fit")
        self.public = data[1:]
        point = point_decode(self.public)
        if has_small_order(point):
            raise Malformed("verifier key: a point of small order")
        self.negated = Multiples((P - point[0], point[1], 1, P - point[3]))

    def verifies(self, message, signature):
        """Strict verification: S below the group order, R canonical and not of small order, no cofactor."""
        r, s = signature[:32], int.from_bytes(signature[32:], "little")
        if len(signature) != 64 or s >= ORDER:
            return False
        k = int.from_bytes(hashlib.sha512(r + self.public + message).digest(), "little") % ORDER
        found = point_add(BASE.times(s), self.negated.times(k))  # R = S·B − k·A
        return point_encode(found) == r and not has_small_order(found)


# ---------------------------------------------------------------- 3. the trie (section 5), the log's tree (section 7)

def leaf(key, value):
    return sha256(b"\x20", key, value), key


def branch(left, right):
    return sha256(b"\x21", left[0] if left else ZERO, right[0] if right else ZERO), left, right


def bit(key, depth):
    return key[depth >> 3] >> (7 - (depth & 7)) & 1


class Trie:
    """T(S) of section 5, kept up to date change by change.

    A node is None, a leaf (hash, key) or a branch (hash, left, right); a set with one element is a leaf at any depth.
    """

    def __init__(self, items=()):
        self.values = {}
        self.node = None
        for key, value in dict(items).items():
            self.set(key, value)

    def root(self):
        return self.node[0] if self.node else ZERO

    def set(self, key, value):
        self.values[key] = value
        self.node = self._set(self.node, 0, key, value)

    def remove(self, key):
        if self.values.pop(key, None) is not None:
            self.node = self._remove(self.node, 0, key)

    def _set(self, node, depth, key, value):
        if node is None or (len(node) == 2 and node[1] == key):
            return leaf(key, value)
        if len(node) == 2:  # another leaf: it moves one bit down
            node = (None, None, node) if bit(node[1], depth) else (None, node, None)
        if bit(key, depth):
            return branch(node[1], self._set(node[2], depth + 1, key, value))
        return branch(self._set(node[1], depth + 1, key, value), node[2])

    def _remove(self, node, depth, key):
        if len(node) == 2:
            return None
        left, right = node[1], node[2]
        if bit(key, depth):
            right = self._remove(right, depth + 1, key)
        else:
            left = self._remove(left, depth + 1, key)
        if left is None and len(right) == 2:
            return right
        if right is None and len(left) == 2:
            return left
        return branch(left, right)


def entry_leaf(data):
    """Section 7: the leaf hash of an entry file."""
    return sha256(b"\x00", data[:ENTRY_LIMIT])


class Tree:
    """The RFC 6962 tree over the leaves so far, as the roots of its full subtrees; None after an unknown leaf."""

    def __init__(self):
        self.peaks, self.size = [], 0

    def add(self, leaf_hash):
        self.size += 1
        if leaf_hash is None or self.peaks is None:
            self.peaks = None
            return
        self.peaks.append(leaf_hash)
        size = self.size
        while size % 2 == 0:
            right = self.peaks.pop()
            self.peaks.append(sha256(b"\x01", self.peaks.pop(), right))
            size //= 2

    def root(self):
        if not self.peaks:
            return None
        result = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            result = sha256(b"\x01", peak, result)
        return result

    def root_with(self, leaf_hash):
        other = Tree()
        other.peaks, other.size = None if self.peaks is None else list(self.peaks), self.size
        other.add(leaf_hash)
        return other.root()


# ---------------------------------------------------------------- 4. entry files and checkpoints (sections 6 and 7)

def is_text(value):
    return isinstance(value, str)


def is_list_of(check):
    return lambda value: isinstance(value, list) and all(map(check, value))


def is_object_with(**members):
    """Whether a value is an object with at least these members, each of its form."""
    return lambda value: isinstance(value, dict) and all(name in value and check(value[name])
                                                         for name, check in members.items())


is_packs = is_list_of(is_object_with(n=is_text, h=is_hash, len=is_count, raw=is_count))
EVERY = is_object_with(
    v=is_count, kind=is_text, origin=is_text, seq=is_count, prev=is_hash, committed=is_time, req=is_list_of(is_text),
    last_slot=lambda value: value is None or is_time(value), tool=is_text,
    state=is_object_with(root=is_hash, objects=is_count, links=is_count))
STATUSES = ("complete", "rolling", "notdue", "partial", "carried", "absent")
OF_KIND = {
    "genesis": is_object_with(keys=is_list_of(is_text), recovery=is_text, lists=lambda value: True, tenant=is_text),
    "capture": is_object_with(
        run=is_text, t0=is_time, t1=is_time, segment=is_count, container=is_text, packs=is_packs,
        delta=is_object_with(root=is_hash, put=is_count, ladd=is_count, ldel=is_count, ev=is_count, packs=is_packs,
                             **{"del": is_count}),
        cover=is_list_of(is_object_with(c=is_text, st=lambda value: value in STATUSES))),
    "gap": is_object_with(slots=lambda value: is_list_of(is_text)(value) and len(value) == 2, code=is_text),
    "void": is_object_with(voids=is_list_of(is_count)),
}
WHERE_PRESENT = {
    "segment": is_count, "container": is_text, "slot": is_time, "t0": is_time, "t1": is_time, "packs": is_packs,
    "base": lambda value: value is None or is_object_with(packs=is_packs)(value), "target": is_count,
    "add": is_list_of(is_text), "revoke": is_list_of(is_object_with(id=is_text, **{"from": is_count})),
}


def has_members(doc):
    """Section 6: the members of every entry and of its kind are there, each of its form."""
    return EVERY(doc) and OF_KIND.get(doc["kind"], EVERY)(doc) \
        and all(check(doc[name]) for name, check in WHERE_PRESENT.items() if name in doc)


MEMBERS = "a member is missing or not of its form"


class EntryFile:
    """A file of log/e taken apart; `problem` says why that fails, and then there is nothing but bytes and leaf."""

    def __init__(self, number, data):
        self.number, self.data, self.leaf = number, data, entry_leaf(data)
        self.doc, self.problem = {}, None
        try:
            self._take_apart()
        except Malformed as error:
            self.problem = str(error)

    def _take_apart(self):
        if len(self.data) > ENTRY_LIMIT:
            raise Malformed(f"{len(self.data)} bytes long, the limit is {ENTRY_LIMIT}")
        match = re.match(rb"([^\n]*)\n([0-9a-f]{8}) ([A-Za-z0-9+/=]+)\n\Z", self.data)
        if not match:
            raise Malformed("not the framing of an entry file")
        self.body, self.key_id = match[1], match[2].decode()
        self.signature = read_base64(match[3].decode(), 64)
        doc = read_json(self.body)
        if not isinstance(doc, dict) or jcs(doc) != self.body:
            raise Malformed("the body is not a canonical JSON object")
        self.doc = json.loads(self.body)

    def signed_by(self, keys):
        """The key among `keys` that made the signature, or None. Asked more than once, so remembered."""
        known = self.__dict__.setdefault("_signed", {})
        for key in keys:
            if self.problem is None and key.id == self.key_id:
                if key.text not in known:
                    known[key.text] = key.verifies(b"tenure-entry/v0\n" + self.body, self.signature)
                if known[key.text]:
                    return key
        return None

    def added_keys(self):
        """The keys that a `key` entry adds; a text that is no key, or is not of this log, adds nothing."""
        keys = []
        listed = self.doc.get("add") if self.doc.get("kind") == "key" else None
        for text in listed if isinstance(listed, list) else []:
            try:
                key = Key(text)
            except Malformed:
                continue
            if key.name == self.doc.get("origin"):
                keys.append(key)
        return keys


class Checkpoint:
    """A signed note of section 7, or Malformed."""

    def __init__(self, data):
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            raise Malformed("not UTF-8") from None
        head, gap, tail = text.partition("\n\n")
        lines = head.split("\n")
        if not gap or len(lines) != 3 or not tail.endswith("\n") or not re.match(r"(0|[1-9][0-9]*)\Z", lines[1], re.A):
            raise Malformed("not a checkpoint of three lines")
        self.signed = (head + "\n").encode()
        self.origin, self.size, self.root = lines[0], int(lines[1]), read_base64(lines[2], 32)
        self.signatures = []
        for line in tail[:-1].split("\n"):
            match = re.match(r"\u2014 (\S+) (\S+)\Z", line)
            if not match:
                raise Malformed("not a signature line of a note")
            signature = read_base64(match[2])
            if len(signature) < 5:
                raise Malformed("a signature too short")
            self.signatures.append((match[1], signature[:4].hex(), signature[4:]))

    def signed_by(self, keys):
        """Those of `keys` that signed; as C2SP asks, one false signature in a known key's name spoils the note."""
        signers = []
        for name, key_id, signature in self.signatures:
            named = [key for key in keys if key.name == name and key.id == key_id]
            made_by = [key for key in named if key.verifies(self.signed, signature)]
            if named and not made_by:
                raise Malformed(f"the signature by {name}+{key_id} is wrong")
            signers += made_by
        return signers


# ---------------------------------------------------------------- 5. packs and their lines (section 4)

MONTH = re.compile(r"\d{4}-\d\d\Z", re.ASCII)
PACK_NAME = re.compile(r"(\d{4}-\d\d)/s/(\d{10})/(\d{10})-([bdgroa])(\d{3})-([0-9a-f]{64})\.ndz\Z", re.ASCII)


def zstd_frame_end(data, at):
    """Where the zstd frame at `at` ends (RFC 8878), and its content size if it states one."""
    if data[at:at + 4] != b"\x28\xb5\x2f\xfd":
        raise Malformed(f"no zstd frame at byte {at}")
    descriptor = data[at + 4]
    single, fcs_flag = descriptor >> 5 & 1, descriptor >> 6
    at += 5 + (not single) + (0, 1, 2, 4)[descriptor & 3]
    fcs_bytes = (single, 2, 4, 8)[fcs_flag]
    content = int.from_bytes(data[at:at + fcs_bytes], "little") + (256 if fcs_bytes == 2 else 0) if fcs_bytes else None
    at += fcs_bytes
    last = False
    while not last:
        header = int.from_bytes(data[at:at + 3], "little")
        last, block_type, size = header & 1, header >> 1 & 3, header >> 3
        at += 3 + (1 if block_type == 1 else size)
        if block_type == 3 or at > len(data):
            raise Malformed("a zstd block that isn't one")
    return at + (4 if descriptor >> 2 & 1 else 0), content


def frame_lengths(data):
    """The seek table of section 4, held against the frames: a list of (compressed, decompressed) lengths."""
    if len(data) < 17 or data[-5:] != b"\x00\xb1\xea\x92\x8f":
        raise Malformed("no seek table at the end")
    count = int.from_bytes(data[-9:-5], "little")
    table = len(data) - 17 - 8 * count
    if count == 0 or table < 0 or data[table:table + 8] != b"\x5e\x2a\x4d\x18" + (9 + 8 * count).to_bytes(4, "little"):
        raise Malformed("the seek table doesn't fit its number of frames")
    frames, at = [], 0
    for i in range(table + 8, len(data) - 9, 8):
        compressed = int.from_bytes(data[i:i + 4], "little")
        decompressed = int.from_bytes(data[i + 4:i + 8], "little")
        try:
            end, content = zstd_frame_end(data, at)
        except IndexError:
            raise Malformed("a zstd frame is cut off") from None
        if end != at + compressed or end > table or content not in (None, decompressed):
            raise Malformed(f"the frame at byte {at} isn't as long as the seek table says")
        frames.append((compressed, decompressed))
        at = end
    if at != table:
        raise Malformed("bytes between the last frame and the seek table")
    return frames


def decompress(data, length):
    """`zstd -dc`, stopped after one byte more than `length`."""
    with subprocess.Popen(["zstd", "-dcq"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL) as process:
        def feed():
            try:
                process.stdin.write(data)
                process.stdin.close()
            except OSError:
                pass  # it stopped reading; its exit code says why
        feeder = threading.Thread(target=feed)
        feeder.start()
        out = process.stdout.read(length + 1)
        if len(out) > length:
            process.kill()
        feeder.join()
        if process.wait() != 0 and len(out) <= length:
            raise Malformed("zstd can't read it")
    return out


def pack_lines(data, raw):
    """All lines of a pack, after holding seek table, frames and `raw` against each other."""
    frames = frame_lengths(data)
    if sum(decompressed for _, decompressed in frames) != raw:
        raise Malformed(f"the frames don't add up to raw {raw}")
    text = decompress(data, raw)
    if len(text) != raw:
        raise Malformed(f"decompresses to another length than {raw}")
    at = 0
    for _, decompressed in frames:
        at += decompressed
        if decompressed == 0 or text[at - 1:at] != b"\n":
            raise Malformed("a frame doesn't end at the end of a line")
    return text[:-1].split(b"\n")


KEY = re.compile(r"[A-Za-z0-9._~-]+/(![0-9a-f]{64}|(?:[A-Za-z0-9._~-]|%[0-9A-F]{2})+)(#[A-Za-z0-9._~-]+)?\Z")
GUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\Z")
SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-")


def is_key(text):
    """Section 3."""
    match = KEY.match(text) if isinstance(text, str) else None
    if not match:
        return False
    object_id = match[1]
    if any(int(octet, 16) in SAFE for octet in re.findall("%(..)", object_id)):
        return False
    return not (GUID.match(object_id) and object_id != object_id.lower())


class Line:
    """One line of kind b or d, checked against its spelling in section 4."""

    FORMS = {("k", "c"): "put", ("k", "enc", "b"): "put", ("k", "enc", "v", "kid", "n", "ct"): "put", ("k", "v"): "put",
             ("k", "x"): "end", ("k", "r", "+"): "add", ("k", "r", "+", "p"): "add", ("k", "r", "-"): "cut",
             ("k", "e"): "event", ("k", "e", "enc", "b"): "event"}

    def __init__(self, data, in_base):
        members = read_json(data)
        names = tuple(members) if isinstance(members, dict) else ()
        self.q = None
        if names[-1:] == ("q",) and not in_base:
            names = names[:-1]
            if not _PLAIN_INTEGER.match(str(members["q"])) or int(members["q"]) < 0:
                raise Malformed("q is no entry's number")
            self.q = int(members["q"])
        self.form = self.FORMS.get(names)
        if self.form is None or (in_base and self.form not in ("put", "add")):
            raise Malformed(f"no line of this kind has the members {','.join(names)}")
        if b"{" + b",".join(jcs(name) + b":" + jcs(value) for name, value in members.items()) + b"}" != data:
            raise Malformed("not spelled canonically")
        if not is_key(members["k"]):
            raise Malformed("k is not a key as section 3 spells it")
        self.key = members["k"]
        self.collection, self.facet = self.key.split("/")[0], self.key.partition("#")[2] or None
        if self.form in ("add", "cut"):
            self._links(members)
        elif self.form == "end":
            if members["x"] != Number("1") or not isinstance(members["x"], Number):
                raise Malformed("x is not 1")
        else:
            self._content(members)

    def _content(self, members):
        """C of section 5, for content and events."""
        if "v" in members:
            if not is_hash(members["v"]):
                raise Malformed("v is no hash")
            self.content = bytes.fromhex(members["v"])
        elif "enc" in members:
            event_mark = members.get("e", Number("1"))
            if members["enc"] != "raw" or event_mark != "1" or not isinstance(event_mark, Number):
                raise Malformed("enc is not raw, or e is not 1")
            self.content = sha256(b"\x24", read_base64(members["b"]))
        else:
            self.content = sha256(jcs(members["c"] if "c" in members else members["e"]))
        if "ct" in members and (members["enc"] != "1" or not is_string(members["kid"])
                                or not read_base64(members["ct"]) or not read_base64(members["n"], 24)):
            raise Malformed("sealed content is not spelled as section 11 says")

    def _links(self, members):
        self.relation = members["r"]
        self.targets = members["+"] if self.form == "add" else members["-"]
        if not is_string(self.relation) or not self.relation:
            raise Malformed("r is no relation")
        if not isinstance(self.targets, list) or not 1 <= len(self.targets) <= 512:
            raise Malformed("not 1 to 512 targets")
        if not all(map(is_key, self.targets)):
            raise Malformed("a target is not a key as section 3 spells it")
        if any(a >= b for a, b in zip(self.targets, self.targets[1:])):  # keys are ASCII: same as order of bytes
            raise Malformed("targets are not sorted and unique")
        properties = members.get("p", {})
        if not isinstance(properties, dict) or ("p" in members and not properties) \
                or not set(properties) <= set(self.targets) or any(v in (None, {}) for v in properties.values()):
            raise Malformed("p holds what are no properties of these targets")
        self.values = {target: sha256(jcs(properties[target])) if target in properties else ZERO
                       for target in self.targets}

    def rank(self):
        """What lines are sorted by."""
        if self.form in ("add", "cut"):
            return self.key.encode(), 1, self.relation.encode(), self.form == "cut", self.targets[0]
        return (self.key.encode(), 0)


class LineOrder:
    """The rules of section 4 that concern more than one line of an entry and kind: order, filling, one of each."""

    def __init__(self):
        self.last, self.key, self.relation, self.event = None, None, None, False
        self.groups, self.targets = {}, set()

    def check(self, line):
        rank = line.rank()
        if self.last is not None and rank <= self.last:
            yield "not after the line before"
        if self.key == line.key and self.event and line.form != "event":
            yield "the key of an event has other lines"
        self.event = line.form == "event"
        relation = line.relation if line.form in ("add", "cut") else None
        if (line.key, relation) != (self.key, self.relation):
            self.groups, self.targets = {}, set()
        self.last, self.key, self.relation = rank, line.key, relation
        if relation is None:
            return
        group = self.groups.get((line.form, line.q))
        if group and (len(group.targets) < 512 or group.targets[-1] >= line.targets[0]):
            yield "the line before, of the same relation and sign, isn't filled up"
        self.groups[line.form, line.q] = line
        if not self.targets.isdisjoint(line.targets):
            yield "a target occurs twice for one key and relation"
        self.targets.update(line.targets)


# ---------------------------------------------------------------- 6. the fold (section 5)

_key_hashes = {}


def key_hash(tag, text):
    """K, TK and RK; the same few thousand keys come again in every segment, so they are remembered."""
    found = _key_hashes.get((tag, text))
    if found is None:
        found = _key_hashes[tag, text] = sha256(tag, text.encode())
    return found


class Held:
    """What is known of one key: its C, and for each relation the targets."""

    def __init__(self):
        self.content, self.relations = None, {}

    def value(self):
        if self.content is None and not self.relations:
            return ZERO
        links = Trie((key_hash(b"\x12", name), targets.root()) for name, targets in self.relations.items())
        return sha256(b"\x22", self.content or ZERO, links.root())


class State:
    """A state of the tenant, and the fold of lines into it."""

    def __init__(self):
        self.held, self.trie, self.links = {}, Trie(), 0
        self.begin()

    def begin(self):
        """Start counting a new delta."""
        self.counts = {"put": 0, "del": 0, "ladd": 0, "ldel": 0, "ev": 0}
        self.touched, self.events = {}, {}

    def summary(self):
        return {"root": self.trie.root().hex(), "objects": len(self.trie.values), "links": self.links}

    def apply(self, line):
        """Fold one line; yields what is wrong with it against the state before."""
        if line.form == "event":
            self.counts["ev"] += 1
            self.events[key_hash(b"\x10", line.key)] = sha256(b"\x23", ZERO, sha256(b"\x26", line.content))
            return
        held = self.held.setdefault(line.key, Held())
        if line.key not in self.touched:
            self.touched[line.key] = self.trie.values.get(key_hash(b"\x10", line.key), ZERO)
        if line.form == "put":
            self.counts["put"] += 1
            held.content = line.content
        elif line.form == "end":
            self.counts["del"] += 1
            ended = sum(len(targets.values) for targets in held.relations.values())
            self.counts["ldel"] += ended
            self.links -= ended
            held.content, held.relations = None, {}
        else:
            targets = held.relations.setdefault(line.relation, Trie())
            before = len(targets.values)
            for target in line.targets:
                hashed = key_hash(b"\x11", target)
                if line.form == "add":
                    targets.set(hashed, line.values[target])
                elif hashed in targets.values:
                    targets.remove(hashed)
                else:
                    yield f"removes a link of {line.key} that wasn't there"
            self.counts["ladd" if line.form == "add" else "ldel"] += len(line.targets)
            self.links += len(targets.values) - before
            if not targets.values:
                del held.relations[line.relation]

    def finish(self):
        """Bring the trie up to date; returns the delta's root and counts since `begin`."""
        changes = Trie(self.events)
        for key, old in self.touched.items():
            hashed, new = key_hash(b"\x10", key), self.held[key].value()
            if new == ZERO:
                del self.held[key]
                self.trie.remove(hashed)
            elif new != old:
                self.trie.set(hashed, new)
            if new != old:
                changes.set(hashed, sha256(b"\x23", old, new))
        return changes.root().hex(), self.counts


# ---------------------------------------------------------------- 7. the verifier (sections 9 and 10)

NOT_READ = ("notdue", "carried", "absent")


class Verifier:
    def __init__(self, directory, deep=False, against=None, trust=None):
        self.directory, self.deep, self.against, self.trust = directory, deep, against, trust
        self.findings, self.checked = {}, dict.fromkeys(
            ("entries", "checkpoints", "tiles", "packs", "bytes", "lines", "states"), 0)

    def run(self):
        self.files = self.list_numbers("log/e")
        if not self.files:
            raise Unreadable(f"{self.directory}: no entries, log/e is empty or missing")
        if self.read_genesis():
            self.read_log()
            self.settle_revocations()
            self.check_checkpoints()
            self.check_against()
            self.check_tiles()
            self.check_consistency()
            self.check_packs()
            self.note_orphans()
        return list(self.findings)

    # ---- small helpers

    def say(self, severity, code, name, seq, message):
        self.findings[Finding(severity, code, name, seq, message)] = True  # a dict: in order, each once

    def read(self, name):
        """The bytes of a file, or None if there is none."""
        try:
            with open(os.path.join(self.directory, name), "rb") as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Unreadable(f"{name}: {error.strerror}") from None

    def list_numbers(self, folder):
        """The files of log/e or log/k by number; other names there mean nothing."""
        try:
            names = os.listdir(os.path.join(self.directory, folder))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise Unreadable(f"{folder}: {error.strerror}") from None
        return sorted(int(name) for name in names if re.match(r"\d{10}\Z", name, re.ASCII))

    # ---- entries: section 9

    def read_genesis(self):
        """Entry 0; False if nothing can be verified."""
        name = "log/e/0000000000"
        data = self.read(name)
        genesis = self.genesis = EntryFile(0, data or b"")
        doc = genesis.doc
        try:
            if genesis.problem:
                raise Malformed(genesis.problem if data is not None else "missing")
            if not has_members(doc) or doc.get("kind") != "genesis" or doc.get("seq") != 0 or doc.get("prev") != ZERO.hex():
                raise Malformed("not a genesis entry")
            self.origin = doc.get("origin")
            listed = doc.get("keys")
            self.known = [Key(text) for text in listed] if isinstance(listed, list) else []
            self.recovery = [Key(doc["recovery"])] if doc.get("recovery") is not None else []
            if any(key.name != self.origin for key in self.known):
                raise Malformed("a key's name is not the origin")
            genesis.signer = genesis.signed_by(self.known)
            if genesis.signer is None:
                raise Malformed("not signed by one of its keys")
        except Malformed as error:
            self.say("finding", "genesis", name, 0, f"{error}; nothing else can be verified")
            return False
        self.readable(genesis)
        signers = [key.text for key in self.known if genesis.signed_by([key])]
        if self.trust and self.trust not in (genesis.leaf.hex(), *signers):
            self.say("finding", "genesis", name, 0, "not the genesis entry that is trusted")
        return True

    def readable(self, entry, failed=()):
        """Section 6: another `v`, or a word in `req` that this program doesn't know, is fatal in an entry that is signed
        and in its place; its members may have other forms than this program knows."""
        if (entry.doc.get("v") != 0 or entry.doc.get("req") != []) and set(failed) <= {MEMBERS} and entry.doc:
            raise Unreadable(f"log/e/{entry.number:010}: v {entry.doc.get('v')} with req {entry.doc.get('req')} "
                             "needs a newer reader")

    def own_checks(self, entry, leaf_before):
        """What an entry fails of its own checks, as a list of words; `key` alone means: only a known key is lacking."""
        if entry.problem:
            return [entry.problem]
        failed = [] if has_members(entry.doc) else [MEMBERS]
        if entry.doc.get("seq") != entry.number:
            failed.append("seq is not its number")
        if entry.doc.get("origin") != self.origin:
            failed.append("another origin")
        if leaf_before is not None and entry.doc.get("prev") != leaf_before.hex():
            failed.append("prev is not the leaf before")
        entry.signer = entry.signed_by(self.allowed(entry, self.known))
        if entry.signer is None:
            known = any(key.id == entry.key_id for key in self.allowed(entry, self.known))
            failed.append("the signature is wrong" if known else "key")
        return failed

    def allowed(self, entry, keys):
        return keys + self.recovery if entry.doc.get("kind") == "key" else keys

    def named_leaf(self, entry, following):
        """The leaf of `entry` that the next file names, or None."""
        if following is None or following.problem or not has_members(following.doc):
            return None
        doc = following.doc
        keys = self.known + (entry.added_keys() if entry else [])
        if doc.get("seq") != following.number or doc.get("origin") != self.origin or not is_hash(doc.get("prev")):
            return None
        return bytes.fromhex(doc["prev"]) if following.signed_by(self.allowed(following, keys)) else None

    def read_log(self):
        """Walk the entries and apply the table of section 9; `self.status` has the verdict for each number."""
        self.tree, self.roots, self.leaves = Tree(), [None], []
        self.status, self.entries, voids = [], [], []
        present, size = set(self.files), self.files[-1] + 1
        if size - len(present) > 1000000:
            raise Unreadable(f"log/e: {size - len(present)} entries are missing below {size - 1}")
        following = self.genesis
        for number in range(size):
            entry = following
            data = self.read(f"log/e/{number + 1:010}") if number + 1 in present else None
            following = EntryFile(number + 1, data) if data is not None else None
            named = self.named_leaf(entry, following)
            status, leaf_hash, why = self.judge(entry, named, number)
            if status == "good":
                self.known = self.known + [k for k in entry.added_keys() if k.text not in {o.text for o in self.known}]
            elif status == "void":
                voids.append((number, why))
            else:
                self.say("finding", f"entry-{status}", f"log/e/{number:010}", number, why)
            self.leaves.append(leaf_hash)
            self.tree.add(leaf_hash)
            self.roots.append(self.tree.root())
            self.status.append(status)
            self.entries.append(entry)
            self.checked["entries"] += 1
        self.size, self.voids = size, voids
        self.good = [e for e, status in zip(self.entries, self.status) if status == "good"]

    def judge(self, entry, named, number):
        """The table of section 9 for one number: (status, leaf, why)."""
        if entry is None:
            return "missing", named, "not there"
        if number == 0:
            return "good", entry.leaf, ""
        failed = self.own_checks(entry, self.leaves[-1])
        self.readable(entry, failed)
        another = named is not None and named != entry.leaf
        if not failed:
            if another and self.checkpoint_says(number + 1, self.tree.root_with(named)):
                return "changed", named, "the next entry and the checkpoint are of another file"
            return "good", entry.leaf, ""
        if another:
            return "changed", named, "the next entry names another file; " + self.reasons(failed)
        if failed == ["key"] and any(s in ("missing", "changed", "unverifiable") for s in self.status):
            return "unverifiable", entry.leaf, "signed by a key that isn't known, perhaps from an entry that is lost"
        return "void", entry.leaf, self.reasons(failed)

    @staticmethod
    def reasons(failed):
        return "; ".join("signed by no known key" if word == "key" else word for word in failed)

    def checkpoint_says(self, size, root):
        """Whether the checkpoint of that size has this root and a signature by a known key."""
        try:
            note = Checkpoint(self.read(f"log/k/{size:010}") or b"")
            return root is not None and note.origin == self.origin and note.size == size and note.root == root \
                and bool(note.signed_by(self.known))
        except Malformed:
            return False

    # ---- keys that were taken back: section 9

    def settle_revocations(self):
        """Section 9, Revocation: rounds from no revocation at all until nothing changes.

        Revocations that undo each other would go round for ever; then all of them count, which only adds findings.
        """
        key_entries = [e for e in self.good if e.doc.get("kind") == "key"]
        listed = self.genesis.doc["keys"]
        self.revoked, seen = frozenset(), []
        while self.revoked not in seen:
            seen.append(self.revoked)
            revoked, introduced = set(), set(listed)
            for entry in key_entries:
                added = [key for key in entry.added_keys() if key.text not in introduced]
                introduced.update(key.text for key in added)
                if self.is_revoked(entry.signer, entry.number):
                    revoked.update((key.id, entry.number) for key in added)
                else:
                    for row in self.rows(entry.doc.get("revoke")):
                        if isinstance(row.get("id"), str) and is_count(row.get("from")):
                            revoked.add((row["id"], row["from"]))
            self.revoked = frozenset(revoked)
        if self.revoked != seen[-1]:
            self.revoked = frozenset().union(*seen[seen.index(self.revoked):])
        for entry in self.good:
            if self.is_revoked(entry.signer, entry.number):
                self.say("finding", "entry-revoked", f"log/e/{entry.number:010}", entry.number,
                         f"signed by {entry.signer.id}, which is revoked")
        self.say_voids()

    def is_revoked(self, key, number):
        if key in self.recovery:
            return False
        return any(key_id == key.id and number >= first for key_id, first in self.revoked)

    def say_voids(self):
        acknowledged = {}
        for entry in self.good:
            if entry.doc.get("kind") == "void" and not self.is_revoked(entry.signer, entry.number):
                for number in entry.doc.get("voids") if isinstance(entry.doc.get("voids"), list) else []:
                    if is_count(number) and number < entry.number:
                        acknowledged.setdefault(number, entry.number)
        for number, why in self.voids:
            known = number in acknowledged
            self.say("note" if known else "finding", "void-leaf", f"log/e/{number:010}", number,
                     why + (f"; acknowledged by entry {acknowledged[number]}" if known else ""))

    # ---- checkpoints and tiles: sections 7 and 9

    def check_checkpoints(self):
        sizes = self.list_numbers("log/k")
        bad, best, incomparable = [], 0, []
        for size in sizes:
            problem = self.checkpoint_problem(self.read(f"log/k/{size:010}") or b"", size)
            self.checked["checkpoints"] += 1
            if problem:
                bad.append((size, problem))
            elif size > self.size:
                self.say("finding", "log-truncated", f"log/k/{size:010}", None,
                         f"a checkpoint of {size} entries, but the log ends after {self.size}")
            elif self.roots[size] is not None:
                best = size
            else:
                incomparable.append(size)
        for size, problem in bad:
            self.say("note" if size < best else "finding", "checkpoint-bad", f"log/k/{size:010}", None, problem)
        missing = sorted(set(range(1, self.size + 1)) - set(sizes))
        if missing:
            self.say("note", "checkpoint-missing", f"log/k/{missing[0]:010}", None,
                     f"{len(missing)} checkpoints are missing, this is the first")
        if self.size not in sizes or self.size in dict(bad):
            self.say("warning", "head-unsigned", f"log/k/{self.size:010}", None, "no good checkpoint of the whole log")
        if incomparable:
            self.say("warning", "log-incomparable", f"log/k/{incomparable[0]:010}", None,
                     f"{len(incomparable)} checkpoints cover a leaf that is unknown, this is the first")

    def checkpoint_problem(self, data, size):
        """Why the checkpoint is bad, or None."""
        try:
            note = Checkpoint(data)
            signers = note.signed_by(self.known)
        except Malformed as error:
            return str(error)
        if note.origin != self.origin:
            return f"of another log, {note.origin}"
        if note.size != size or size == 0:
            return "its size is not the one in its name"
        if not signers:
            return "not signed by a known key"
        if all(self.is_revoked(key, size - 1) for key in signers):
            return "signed by a revoked key"
        if size <= self.size and self.roots[size] not in (None, note.root):
            return "its root is not that of the entries"
        return None

    def check_against(self):
        """Hold the log against a checkpoint kept elsewhere."""
        if self.against is None:
            return
        try:
            note = Checkpoint(self.against)
            signers = [k for k in note.signed_by(self.known) if not self.is_revoked(k, note.size - 1)]
            foreign = note.origin != self.origin or note.size == 0 or not signers
        except Malformed:
            foreign = True
        if foreign:
            self.say("finding", "checkpoint-foreign", None, None, "the checkpoint given is none of this log")
        elif note.size > self.size:
            self.say("finding", "log-truncated", None, None,
                     f"the checkpoint given covers {note.size} entries, the log ends after {self.size}")
        elif self.roots[note.size] is None:
            self.say("warning", "log-incomparable", None, None, "a leaf that the checkpoint given covers is unknown")
        elif self.roots[note.size] != note.root:
            self.say("finding", "log-forked", None, None,
                     f"the checkpoint given has another root for the first {note.size} entries")

    @staticmethod
    def tile_path(number):
        groups = [f"{number % 1000:03}"]
        while number >= 1000:
            number //= 1000
            groups.insert(0, f"x{number % 1000:03}")
        return "/".join(groups)

    def check_tiles(self):
        expected, self.missing_tiles = set(), []
        hashes, level = self.leaves, 0
        while len(hashes) >= 256:
            above = []
            for number in range(len(hashes) // 256):
                tile = hashes[256 * number:256 * number + 256]
                if level == 0:
                    expected.add(self.check_tile(f"log/tile/entries/{self.tile_path(number)}", tile, True))
                expected.add(self.check_tile(f"log/tile/{level}/{self.tile_path(number)}", tile, False))
                tree = Tree()
                for hashed in tile:
                    tree.add(hashed)
                above.append(tree.root())
            hashes, level = above, level + 1
        if self.missing_tiles:
            self.say("note", "tile-missing", min(self.missing_tiles), None,
                     f"{len(self.missing_tiles)} tiles are missing, this is the first")
        for folder, _, names in os.walk(os.path.join(self.directory, "log/tile")):
            for name in names:
                path = os.path.relpath(os.path.join(folder, name), self.directory).replace(os.sep, "/")
                if path not in expected:
                    self.say("finding", "tile-wrong", path, None, "no full tile of this log")

    def check_tile(self, path, hashes, is_bundle):
        data = self.read(path)
        if data is None:
            self.missing_tiles.append(path)
            return path
        self.checked["tiles"] += 1
        found, at = [], 0
        while at < len(data):
            if is_bundle:
                length = int.from_bytes(data[at:at + 2], "big")
                found.append(entry_leaf(data[at + 2:at + 2 + length]) if at + 2 + length <= len(data) else None)
                at += 2 + length
            else:
                found.append(data[at:at + 32])
                at += 32
        if len(found) != 256 or any(want not in (None, have) for want, have in zip(hashes, found)):
            self.say("finding", "tile-wrong", path, None, "differs from the entries")
        return path

    # ---- entries against the entry before: section 6

    def check_consistency(self):
        before = None  # the good entry before; None where an entry in between is lost
        for number, status in enumerate(self.status):
            if status == "good":
                entry = self.entries[number]
                for problem in self.inconsistencies(entry.doc, before):
                    self.say("finding", "entry-inconsistent", f"log/e/{number:010}", number, problem)
                before = entry.doc
            elif status != "void":
                before = None

    def inconsistencies(self, doc, before):
        state = doc.get("state")
        if not (isinstance(state, dict) and is_hash(state.get("root")) and is_count(state.get("objects"))
                and is_count(state.get("links"))):
            yield "state is not spelled as section 6 says"
        if not is_time(doc.get("committed")) or not (doc.get("last_slot") is None or is_time(doc["last_slot"])):
            yield "a time is not spelled as section 6 says"
            return
        kind = doc.get("kind")
        if kind == "genesis":
            if doc["seq"] != 0:
                yield "a second genesis"
            elif state != {"root": ZERO.hex(), "objects": 0, "links": 0} or doc["last_slot"] is not None:
                yield "genesis: the state is not empty"
            return
        if kind == "capture":
            yield from self.capture_inconsistencies(doc, before)
        elif before is not None:
            for member in ("state", "segment", "container"):
                if doc.get(member) != before.get(member):
                    yield f"{member} is not that of the entry before"
        if kind == "capture" or kind == "gap":
            slots = doc.get("slots") if kind == "gap" else [doc.get("slot")] * 2
            if slots == [None, None]:
                pass
            elif not isinstance(slots, list) or len(slots) != 2 or not all(map(is_time, slots)) or slots[0] > slots[1]:
                yield "slots are not spelled as section 6 says"
                return
            else:
                if before is not None and before["last_slot"] is not None and slots[0] <= before["last_slot"]:
                    yield f"slot {slots[0]} is not after {before['last_slot']}"
                if doc["last_slot"] != slots[1]:
                    yield "last_slot is not its slot"
                return
        if before is not None and doc["last_slot"] != before["last_slot"]:
            yield "last_slot is not that of the entry before"

    def capture_inconsistencies(self, doc, before):
        moment = doc.get("slot", doc.get("t0"))
        if not is_time(moment) or not isinstance(doc.get("container"), str) or not is_count(doc.get("segment")) \
                or not isinstance(doc.get("delta"), dict):
            yield "a capture without its slot, segment, container or delta"
            return
        opens = doc["segment"] == doc["seq"]
        if opens != isinstance(doc.get("base"), dict):
            yield "opens a segment without a base, or has a base without opening one"
        if before is not None:
            month, segment = month_of(doc), before.get("segment")
            known = segment is not None and segment < len(self.status) and self.status[segment] == "good"
            opened = month_of(self.entries[segment].doc) if known else before.get("container")
            if not opens and (opened is None or month > opened):
                yield "a segment should open here"
            if opens and not (before.get("container") or "") <= doc["container"] <= month:
                yield "the container is none of the past ones"
            if not opens and (doc["segment"], doc["container"]) != (before.get("segment"), before.get("container")):
                yield "segment or container is not that of the entry before"

    # ---- packs and states: section 10

    @staticmethod
    def rows(value):
        return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []

    def pack_rows(self, doc):
        """All rows of an entry as (place, kinds allowed there, row)."""
        places = []
        if doc.get("kind") == "capture":
            for place, kinds in (("delta", "d"), ("base", "b")):
                if isinstance(doc.get(place), dict):
                    places += [(place, kinds, row) for row in self.rows(doc[place].get("packs"))]
            return places + [("packs", "groa", row) for row in self.rows(doc.get("packs"))]
        return [("packs", "a", row) for row in self.rows(doc.get("packs"))]

    def check_packs(self):
        self.named, self.state = set(), State()
        self.captured = False  # whether a capture came before, as far as one can know
        targets = {kind: {e.doc.get("target") for e in self.good if e.doc.get("kind") == kind and is_count(
            e.doc.get("target"))} for kind in ("expire", "expired")}
        for entry, status in zip(self.entries, self.status):
            if status == "good":
                segment = entry.doc.get("segment")
                rows = self.pack_rows(entry.doc)
                self.named.update(row["n"] for _, _, row in rows if isinstance(row.get("n"), str))
                if segment is not None and segment in targets["expired"]:
                    if entry.doc.get("segment") == entry.number:
                        self.say("note", "expired", f"log/e/{entry.number:010}", entry.number,
                                 "committed, content expired")
                    self.state, self.captured = None, True
                    continue
                lines = self.check_entry_packs(entry, rows, segment in targets["expire"])
                if self.deep and entry.doc.get("kind") == "capture":
                    self.fold(entry, lines)
            elif status != "void":
                self.state, self.captured = None, True  # unknown until the next base

    def check_entry_packs(self, entry, rows, expiring):
        """Names and bytes of an entry's packs; with --deep, {kind: [(pack name, lines)] or None if unreadable}."""
        parts, lines = {}, {"d": [], "b": []}
        for place, kinds, row in rows:
            data, kind = self.check_pack(entry, kinds, row, parts, expiring)
            if not self.deep or kind in ("o", "a"):
                continue
            try:
                texts = pack_lines(data, row.get("raw")) if data is not None else None
            except Malformed as error:
                self.say("finding", "pack-content", row["n"], entry.number, str(error))
                texts = None
            if place != "packs":
                kind = "d" if place == "delta" else "b"
                if texts is None or lines[kind] is None:
                    lines[kind] = None
                else:
                    lines[kind].append((row["n"], texts))
        return lines

    def check_pack(self, entry, kinds, row, parts, expiring):
        """One pack by name, length and hash: (its bytes or None, its kind or None)."""
        name, doc = row.get("n"), entry.doc
        match = PACK_NAME.match(name) if isinstance(name, str) else None
        kind = match[4] if match else None
        part = parts[kind] = parts.get(kind, -1) + 1
        fits = match and kind in kinds and match[1] == doc.get("container") and int(match[2]) == doc.get("segment") \
            and int(match[3]) == entry.number and int(match[5]) == part and match[6] == row.get("h")
        if not fits or not is_count(row.get("len")) or not is_count(row.get("raw")):
            self.say("finding", "pack-name", name if isinstance(name, str) else None, entry.number,
                     "the row's name doesn't fit the entry, its place or its hash")
            return None, None
        data = self.read(name)
        if data is None:
            self.say("warning" if expiring else "finding", "pack-missing", name, entry.number,
                     f"{PART_NAMES[kind]} not there" + (", its segment is expiring" if expiring else ""))
            return None, kind
        self.checked["packs"] += 1
        self.checked["bytes"] += len(data)
        if len(data) != row["len"] or sha256(data).hex() != row["h"]:
            self.say("finding", "pack-damaged", name, entry.number,
                     f"{len(data)} bytes with hash {sha256(data).hex()[:16]}…, expected {row['len']} and "
                     f"{row['h'][:16]}…")
            return None, kind
        return data, kind

    def fold(self, entry, lines):
        """Deltas, counts, states and bases of one capture (section 10)."""
        doc, name = entry.doc, f"log/e/{entry.number:010}"
        first, self.captured = not self.captured, True
        delta = self.read_lines(entry, lines["d"], in_base=False, events_only=first)
        has_base = doc.get("base") is not None
        base = self.read_lines(entry, lines["b"], in_base=True) if has_base else None
        if first:  # the base is the change, and only events of d count
            delta = [item for item in delta if item[1].form == "event"] + base if delta is not None and base is not None else None
        if self.state is not None and delta is not None:
            self.fold_delta(entry, delta)
        else:
            self.state = None
        if base is not None and not first:
            state = State()
            self.apply(entry, state, base)
            state.finish()
            if state.summary() != doc.get("state"):
                self.say("finding", "base-root", name, entry.number, f"the base gives {state.summary()}")
            self.state = state

    def fold_delta(self, entry, delta):
        doc, name, state = entry.doc, f"log/e/{entry.number:010}", self.state
        state.begin()
        self.apply(entry, state, delta)
        root, counts = state.finish()
        claimed = doc.get("delta") if isinstance(doc.get("delta"), dict) else {}
        if root != claimed.get("root"):
            self.say("finding", "delta-root", name, entry.number, f"the lines give {root}")
        if any(counts[member] != claimed.get(member) for member in counts):
            self.say("finding", "delta-counts", name, entry.number, f"the lines give {counts}")
        if state.summary() != doc.get("state"):
            self.say("finding", "state-root", name, entry.number, f"the lines give {state.summary()}")
        self.checked["states"] += 1

    def apply(self, entry, state, lines):
        for pack, line in lines:
            for problem in state.apply(line):
                self.say("finding", "pack-content", pack, entry.number, problem)

    def read_lines(self, entry, packs, in_base, events_only=False):
        """The lines of one kind of an entry as (pack, Line); None if some can't be had, so no state can be folded."""
        if packs is None:
            return None
        result, order, complete = [], LineOrder(), True
        cover = {(row.get("c"), row.get("r"), row.get("f")): row.get("st")
                 for row in self.rows(entry.doc.get("cover"))} if not in_base else None
        for pack, texts in packs:
            for number, text in enumerate(texts):
                self.checked["lines"] += 1
                try:
                    line = Line(text, in_base)
                except Malformed as error:
                    self.say("finding", "pack-content", pack, entry.number, f"line {number}: {error}")
                    complete = False
                    continue
                result.append((pack, line))
                problems = list(order.check(line))
                if events_only and line.form != "event":
                    problems.append("the first capture's delta holds events only")
                if not in_base:
                    problems += self.coverage_problems(line, cover)
                if line.q is not None and line.q >= entry.number:
                    problems.append("q is not an earlier entry")
                for problem in problems:
                    self.say("finding", "pack-content", pack, entry.number, f"line {number}: {problem}")
        return result if complete else None

    @staticmethod
    def coverage_problems(line, cover):
        """Section 6, Coverage: which row a line belongs to, and whether that row allows lines."""
        relation = line.relation if line.form in ("add", "cut") else None
        status = cover.get((line.collection, relation, None if relation else line.facet))
        if status is None:
            yield "coverage has no row for it"
        elif status in NOT_READ:
            yield f"coverage says {status}"

    def note_orphans(self):
        containers = {entry.doc.get("container") for entry in self.good}
        for container in sorted(name for name in containers if isinstance(name, str) and MONTH.match(name)):
            paths = []
            for folder, _, names in os.walk(os.path.join(self.directory, container)):
                paths += [os.path.relpath(os.path.join(folder, name), self.directory) for name in names]
            orphans = sorted({path.replace(os.sep, "/") for path in paths} - self.named)
            if orphans:
                self.say("note", "orphan", orphans[0], None, f"{len(orphans)} files in {container} that no entry names, "
                         "this is the first")


# ---------------------------------------------------------------- 8. command line

def main(arguments=None):
    parser = argparse.ArgumentParser(prog="verify.py", description="Verify a Tenure archive.")
    parser.add_argument("archive", help="the directory that holds log and the containers")
    parser.add_argument("--deep", action="store_true", help="read every line and recompute every root")
    parser.add_argument("--against", metavar="FILE", help="a checkpoint kept elsewhere")
    parser.add_argument("--trust", metavar="HASH_OR_VKEY",
                        help="leaf hash of the genesis entry, or the verifier key that signed it")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    options = parser.parse_args(arguments)
    try:
        against = None
        if options.against:
            with open(options.against, "rb") as file:
                against = file.read()
        verifier = Verifier(options.archive, options.deep, against, options.trust)
        findings = verifier.run()
    except (OSError, Unreadable) as error:
        print(json.dumps({"ok": False, "error": str(error)}) if options.json else f"verify.py: {error}",
              file=sys.stdout if options.json else sys.stderr)
        return 1
    ok = not any(finding.severity == "finding" for finding in findings)
    if options.json:
        print(json.dumps({"ok": ok, "checked": verifier.checked, "findings": [f._asdict() for f in findings]},
                         ensure_ascii=False, indent=1))
    else:
        for finding in findings:
            print(f"{finding.severity} {finding.code} {finding.name or '-'}: {finding.message}")
        counts = ", ".join(f"{number} {what}" for what, number in verifier.checked.items())
        print(f"{'verified' if ok else 'DOES NOT VERIFY'}: {counts}" + ("" if options.deep else " (lines not read)"))
    return 0 if ok else 3


if __name__ == "__main__":
    sys.exit(main())
