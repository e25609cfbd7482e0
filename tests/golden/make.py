#!/usr/bin/env python3
"""Write the golden archives: v0 (sound) and broken/* (overlays on it), from docs/format.md and nothing else.

    make.py                  write v0 and broken beside this file
    make.py --example DIR    write the archive of the worked example in docs/format.md to DIR (stored as tests/golden/example)
    make.py --tiles DIR      write an archive of 520 entries with its tiles to DIR (not stored: the test makes it)

A second writer, independent of Tenure's: it takes only JSON, hashing and curve arithmetic from docs/verify.py, and works
out states and roots in the plainest way, from scratch at every capture. Times and seeds are fixed, so the same zstd
version gives the same bytes. The expectations in each case.json are written here by hand, from the page; no verifier is
asked. All keys are TEST KEYS made from the seeds below: anyone can sign with them, so never trust them anywhere.
"""
import base64
import copy
import hashlib
import json
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "docs"))
sys.dont_write_bytecode = True
from verify import BASE, ORDER, ZERO, jcs, point_encode, sha256  # noqa: E402

ORIGIN = "golden.example/v0"
LIMIT = 65535


def b64(data):
    return base64.b64encode(data).decode()


class SigningKey:
    """Ed25519 (RFC 8032, 5.1.6) with a seed that is the hash of a word."""

    def __init__(self, word, origin=ORIGIN):
        seed = hashlib.sha512(sha256(b"tenure golden test key " + word.encode())).digest()
        self.scalar = (int.from_bytes(seed[:32], "little") & (1 << 254) - 8) | 1 << 254
        self.prefix = seed[32:]
        self.public = point_encode(BASE.times(self.scalar))
        self.origin = origin
        self.id_bytes = sha256(origin.encode(), b"\n\x01", self.public)[:4]
        self.id = self.id_bytes.hex()
        self.verifier = f"{origin}+{self.id}+{b64(bytes([1]) + self.public)}"

    def sign(self, message):
        def number(*parts):
            return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % ORDER
        r = number(self.prefix, message)
        point = point_encode(BASE.times(r))
        s = (r + number(point, self.public, message) * self.scalar) % ORDER
        return point + s.to_bytes(32, "little")


A, B, C, RECOVERY = (SigningKey(word) for word in ("A", "B", "C", "recovery"))
STRANGER = SigningKey("A", "elsewhere.example/log")


# ---------------------------------------------------------------- hashes, straight from sections 5 and 7

def trie(items, depth=0):
    """T(S, d), as the page defines it."""
    if not items:
        return ZERO
    if len(items) == 1:
        (key, value), = items.items()
        return sha256(b"\x20", key, value)
    sides = ({}, {})
    for key, value in items.items():
        sides[key[depth // 8] >> 7 - depth % 8 & 1][key] = value
    return sha256(b"\x21", trie(sides[0], depth + 1), trie(sides[1], depth + 1))


def tagged(tag, text):
    return sha256(bytes([tag]), text.encode())


def tree_root(leaves):
    """RFC 6962, section 2.1, as defined there."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01", tree_root(leaves[:split]), tree_root(leaves[split:]))


class Thing:
    """Content (as the members of its line, and C) and links {relation: {target: properties or None}} of one key."""

    def __init__(self):
        self.line, self.content, self.links = None, None, {}

    def value(self):
        relations = {tagged(0x12, name): trie({tagged(0x11, target): sha256(jcs(p)) if p else ZERO
                                               for target, p in targets.items()})
                     for name, targets in self.links.items() if targets}
        if self.content is None and not relations:
            return None
        return sha256(b"\x22", self.content or ZERO, trie(relations))


def content_of(form, value):
    """The members of a content line after `k`, and C."""
    if form == "c":
        return b'"c":' + jcs(value), sha256(jcs(value))
    if form == "raw":
        return b'"enc":"raw","b":' + jcs(b64(value)), sha256(b"\x24", value)
    return b'"v":' + jcs(value.hex()), value


def link_lines(key, relation, sign, targets, q=None):
    """Lines of up to 512 targets; `targets` maps to properties or None."""
    names = sorted(targets, key=str.encode)
    for at in range(0, len(names), 512):
        some = names[at:at + 512]
        properties = {name: targets[name] for name in some if targets[name]}
        text = b'{"k":' + jcs(key) + b',"r":' + jcs(relation) + b',"' + sign.encode() + b'":' + jcs(some)
        text += b',"p":' + jcs(properties) if properties else b""
        yield some[0], text + (b',"q":%d}' % q if q is not None else b"}")


def pack_file(lines, frames=1, separator=b"\n"):
    """Section 4: zstd frames, each of whole lines, and the seek table. Returns the file and the length of its lines."""
    out, rows, raw = b"", b"", 0
    step = -(-len(lines) // frames)
    for at in range(0, len(lines), step):
        text = b"".join(line + separator for line in lines[at:at + step])
        frame = subprocess.run(["zstd", "-q", "-c", "-19", f"--stream-size={len(text)}"], input=text,
                               stdout=subprocess.PIPE, check=True).stdout
        out, raw = out + frame, raw + len(text)
        rows += len(frame).to_bytes(4, "little") + len(text).to_bytes(4, "little")
    table = rows + (len(rows) // 8).to_bytes(4, "little") + b"\x00\xb1\xea\x92\x8f"
    return out + b"\x5e\x2a\x4d\x18" + len(table).to_bytes(4, "little") + table, raw


class Writer:
    """An archive being written, as {path: bytes}.

    `change` maps a moment to a function that spoils what is about to be written: "doc" (the entry's members), "d" and
    "b" (lists of lines), "pack" (place, bytes, raw -> bytes, raw), "file" (the entry's bytes).
    """

    def __init__(self):
        self.files, self.leaves, self.things, self.packs = {}, [], {}, {}
        self.last_slot = self.segment = self.container = None
        self.state = {"root": ZERO.hex(), "objects": 0, "links": 0}
        self.change = {}

    def spoil(self, moment, value):
        return self.change[moment](value) if moment in self.change else value

    @property
    def seq(self):
        return len(self.leaves)

    # ---- the log

    def entry(self, kind, key, members, note_key=None):
        doc = {"v": 0, "kind": kind, "origin": ORIGIN, "seq": self.seq, "prev": (self.leaves or [ZERO])[-1].hex(),
               "committed": f"2026-03-01T00:{self.seq // 60:02}:{self.seq % 60:02}.250Z", "last_slot": self.last_slot,
               "state": self.state, "req": [], "tool": "golden/1"}
        if self.segment is not None:
            doc.update(segment=self.segment, container=self.container)
        doc.update(members)
        doc = self.spoil("doc", doc)
        body = self.spoil("body", jcs(doc))
        signature = self.spoil("signature", key.sign(b"tenure-entry/v0\n" + body))
        self.leaf(self.spoil("file", body + b"\n" + key.id.encode() + b" " + b64(signature).encode() + b"\n"),
                  note_key or key)
        return doc

    def leaf(self, data, note_key):
        """Add a file to log/e, whatever it is, and sign the checkpoint over it (unless note_key is None)."""
        self.files[f"log/e/{self.seq:010}"] = data
        self.leaves.append(sha256(b"\x00", data[:LIMIT]))
        if note_key:
            self.files[f"log/k/{self.seq:010}"] = note(self.leaves, note_key)

    def genesis(self):
        self.entry("genesis", A, {
            "keys": [A.verifier], "recovery": RECOVERY.verifier, "tenant": "0d9a3b1e-54a8-4c36-9f0e-6c1a58e0a7b4",
            "features": [], "lists": {"canon": {"1": {"annotations": ["@odata.context", "@odata.etag"],
                                                      "sets": ["proxyAddresses"]}}, "facets": {"1": ["activity"]}}})

    def pack(self, kind, lines, frames=1):
        place = f"{self.seq:010}-{kind}{len(self.packs.get((self.seq, kind), [])):03}"
        data, raw = self.spoil("pack", (kind, *pack_file(lines, frames)))[1:]
        digest = sha256(data).hex()
        name = f"{self.container}/s/{self.segment:010}/{place}-{digest}.ndz"
        self.files[name] = data
        self.packs.setdefault((self.seq, kind), []).append(name)
        return {"n": name, "h": digest, "len": len(data), "raw": raw}

    # ---- captures

    def capture(self, key, slot, ops, cover, t0=None, gated=(), receipts=1, erased=(), note_key=None, months=True):
        moment = slot or t0
        opens = self.segment is None or (months and moment[:7] > self.container)
        first = self.segment is None
        if opens:
            self.segment, self.container = self.seq, moment[:7]
        before = {name: thing.value() for name, thing in self.things.items()}
        lines, counts, changes = self.apply(ops)
        after = {name: thing.value() for name, thing in self.things.items()}
        for name in set(before) | set(after):
            if before.get(name) != after.get(name):
                changes[tagged(0x10, name)] = sha256(b"\x23", before.get(name) or ZERO, after.get(name) or ZERO)
        self.things = {name: thing for name, thing in self.things.items() if after[name] is not None}
        self.state = {"root": trie({tagged(0x10, n): after[n] for n in self.things}).hex(), "objects": len(self.things),
                      "links": sum(len(t) for thing in self.things.values() for t in thing.links.values())}
        if slot:
            self.last_slot = slot
        if first:
            lines = [line for line in lines if b',"e":' in line]
        lines = self.spoil("d", lines)
        delta = {"root": trie(changes).hex(), **counts, "packs": [self.pack("d", lines)] if lines else []}
        base = None
        if opens:
            stream = self.spoil("b", self.base_lines(erased))
            half = len(stream) * 2 // 3
            parts = [self.pack("b", stream[:half], frames=2)] if half else []
            base = {"packs": parts + [self.pack("b", stream[half:])]}
        others = [self.pack("g", list(gated))] if gated else []
        if receipts:
            others.append(self.pack("r", [jcs({
                "method": "GET", "path": f"/v1.0/users?$top=999&page={i}", "status": 200, "date": moment,
                "request_id": f"{self.seq:08}-0000-4000-8000-{i:012}", "items": 3, "len": 2, "sha256":
                    sha256(b"{}").hex()}) for i in range(receipts)]))
        members = {"run": f"{self.seq:08}-1111-4111-8111-000000000000", "t0": moment[:14] + "01:00.000Z",
                   "t1": moment[:14] + "02:30.125Z", "delta": delta, "base": base, "packs": others,
                   "cover": sorted(cover, key=jcs), "canon": 1, "facets": 1, "skew_ms": -12}
        if slot:
            members["slot"] = slot
        self.entry("capture", key, members, note_key)

    def apply(self, ops):
        """Make the changes; returns the sorted lines, the counts, and the events' leaves of the delta trie."""
        counts, events, lines = dict.fromkeys(("put", "del", "ladd", "ldel", "ev"), 0), {}, []
        ended = [op for op in ops if op[0] == "x"]
        for op, name, *rest in ended + [op for op in ops if op[0] != "x"]:
            k = b'{"k":' + jcs(name) + b","
            if op == "event":
                text, content = content_of(*rest[0])
                text = b'"e":1,' + text if rest[0][0] == "raw" else text.replace(b'"c":', b'"e":', 1)
                lines.append(((name.encode(), 0), k + text + b"}"))
                events[tagged(0x10, name)] = sha256(b"\x23", ZERO, sha256(b"\x26", content))
                counts["ev"] += 1
                continue
            thing = self.things.setdefault(name, Thing())
            q = rest[-1]["q"] if rest and isinstance(rest[-1], dict) and set(rest[-1]) == {"q"} else None
            if op == "x":
                counts["del"] += 1
                counts["ldel"] += sum(map(len, thing.links.values()))
                thing.line, thing.content, thing.links = None, None, {}
                lines.append(((name.encode(), 0), k + b'"x":1}'))
            elif op == "put":
                counts["put"] += 1
                thing.line, thing.content = content_of(*rest[0])
                lines.append(((name.encode(), 0), k + thing.line + (b',"q":%d}' % q if q is not None else b"}")))
            else:
                relation, targets = rest[0], dict.fromkeys(rest[1]) if isinstance(rest[1], list) else rest[1]
                counts["ladd" if op == "+" else "ldel"] += len(targets)
                for target, properties in targets.items():
                    if op == "+":
                        thing.links.setdefault(relation, {})[target] = properties
                    else:
                        del thing.links[relation][target]
                for first, line in link_lines(name, relation, op, targets, q):
                    lines.append(((name.encode(), 1, relation.encode(), op == "-", first.encode()), line))
        return [line for _, line in sorted(lines)], counts, events

    def base_lines(self, erased):
        lines = []
        for name in sorted(self.things, key=str.encode):
            thing = self.things[name]
            if thing.content is not None:
                text = content_of("v", thing.content)[0] if name in erased else thing.line
                lines.append(b'{"k":' + jcs(name) + b"," + text + b"}")
            for relation in sorted(thing.links, key=str.encode):
                lines += [line for _, line in link_lines(name, relation, "+", thing.links[relation])]
        return lines


def note(leaves, key):
    """A checkpoint (section 7)."""
    text = f"{key.origin}\n{len(leaves)}\n{b64(tree_root(leaves))}\n".encode()
    return text + f"\n\u2014 {key.origin} {b64(key.id_bytes + key.sign(text))}\n".encode()


# ---------------------------------------------------------------- the story of v0

def user(number):
    return f"user/u{number:04}"


def rows(status="complete", **other):
    """Coverage of everything the story uses; `other` sets the status of some rows, `user_manager` for a relation."""
    scopes = {"user": {"c": "user"}, "group": {"c": "group"}, "organization": {"c": "organization"},
              "domain": {"c": "domain"}, "signin": {"c": "signin"}, "user_activity": {"c": "user", "f": "activity"},
              "user_manager": {"c": "user", "r": "manager"}, "group_members": {"c": "group", "r": "members"},
              "group_owners": {"c": "group", "r": "owners"}, "device": {"c": "device"}, "risk": {"c": "risk"}}
    out = []
    for name, scope in scopes.items():
        st = other.get(name, status)
        row = {**scope, "st": st, "how": "feed" if "r" in scope else "whole"}
        row.update({"complete": {"n": 3, "count": 3}, "rolling": {"n": 2, "oldest": 1}, "partial": {"code": "page lost"},
                    "absent": {"code": "no licence"}, "carried": {"code": "throttled"}}.get(st, {}))
        out.append(row)
    return out


PEOPLE = ["Zoë Müller", "李小龍", "Ольга", "O\u2019Brien \"Bob\" \\ \t", "e\u0301tienne \U0001f600", "\u0001 control"]
GUID = "user/3f2504e0-4f89-41d3-9a0c-0305e82c3301"
BROKEN_USER = b'{"id":"u0006","quota":9007199254740993}'
NAMELESS = b'{"displayName":"no id"}'
NAMELESS_KEY = "user/!" + sha256(NAMELESS).hex()


def person(number, **more):
    return "c", {"id": f"u{number:04}", "displayName": PEOPLE[number % len(PEOPLE)], "accountEnabled": number % 2 == 0,
                 "quota": [0, 1.5, -2e-9, 1e21, 333333333.33333329, 4503599627370496][number % 6],
                 "proxyAddresses": ["SMTP:a", "smtp:b"], "\u20ac": None, "\U00010000": {}, "\ufb33": [], **more}


def step_first(w):
    w.capture(A, "2026-01-30T22:00:00.000Z", [
        *[("put", user(i), person(i)) for i in range(12) if i != 6],
        ("put", "user/u0006", ("raw", BROKEN_USER)), ("put", NAMELESS_KEY, ("raw", NAMELESS)),
        ("put", GUID, ("c", {"id": GUID[5:]})), ("put", GUID + "#activity", ("c", {"lastSignIn": "2026-01-30"})),
        ("put", "organization/-", ("c", {"displayName": "Golden"})),
        ("put", "domain/caf%C3%A9.example", ("c", {"id": "café.example"})),
        ("+", user(1), "manager", [user(0)]), ("+", user(2), "manager", [user(0)]),
        ("put", "group/big", ("c", {"id": "big"})), ("put", "group/small", ("c", {"id": "small"})),
        ("+", "group/big", "members", [user(i) for i in range(1100)]),
        ("+", "group/small", "members", {user(1): {"role": "guest", "since": 2020}, user(2): None, GUID: None}),
        ("+", "group/linksonly", "owners", [user(3)]),
        ("event", "signin/e1", ("c", {"who": user(1), "ok": True})),
    ], rows(device="absent", risk="absent"), receipts=3)


def step_second(w):
    w.capture(A, "2026-01-30T23:00:00.000Z", [
        ("put", user(1), person(1, department="R&D")), ("put", user(12), person(12)),
        ("x", user(2)), ("+", user(2), "manager", [user(5)]),
        ("x", user(3)),
        ("put", GUID + "#activity", ("c", {"lastSignIn": "2026-01-30T23"}), {"q": 1}),
        ("-", "group/small", "members", [user(2)]),
        ("+", "group/small", "members", {user(1): {"role": "member"}, user(4): None}),
        ("-", "group/linksonly", "owners", [user(3)]),
        ("event", "signin/e2", ("raw", b"\xff\x00")),
    ], rows(device="absent", risk="absent", user_activity="rolling"), gated=[
        b'{"k":"user/u0007","x":1}', b'{"k":"user/u0008","x":1}'])


def step_gap(w):
    w.last_slot = "2026-01-31T01:00:00.000Z"
    w.entry("gap", A, {"slots": ["2026-01-31T00:00:00.000Z", w.last_slot], "code": "stopped"})


def step_key(w):
    w.entry("key", A, {"add": [B.verifier], "revoke": []})


def step_six_statuses(w):
    w.capture(B, "2026-01-31T02:00:00.000Z", [
        ("-", "group/big", "members", [user(i) for i in range(500, 1050)]),
        ("+", "group/big", "members", {user(i): {"n": i / 8} if i % 100 == 0 else None for i in range(1500, 2030)}),
        ("put", user(4), person(4, jobTitle="Chief")), ("put", GUID + "#activity", ("c", {"lastSignIn": "x"}), {"q": 2}),
    ], rows(user="partial", user_activity="rolling", group="carried", domain="notdue", device="absent", risk="absent"))


def step_junk(w):
    w.leaf(b"not an entry\n", B)


def step_void(w):
    w.entry("void", B, {"voids": [6]})


def step_access(w):
    lines = [jcs({"at": "2026-01-31T04:00:00.000Z", "who": "auditor", "what": "as-of"})]
    w.entry("access", B, {"count": 1, "packs": [w.pack("a", lines)]})


def step_by_hand(w):
    w.capture(B, None, [("put", user(5), person(5, jobTitle="by hand"))], rows(device="absent", risk="absent"),
              t0="2026-01-31T05:00:00.000Z")


def step_second_segment(w):
    w.capture(B, "2026-02-01T00:00:00.000Z", [
        ("put", user(13), person(13)), ("x", user(9)), ("+", user(13), "manager", [user(1)]),
    ], rows(device="absent", risk="absent"), erased=[user(7), GUID])


def step_after(w):
    w.capture(A, "2026-02-01T01:00:00.000Z", [
        ("put", user(7), person(7, back=True)), ("put", user(10), person(10, x=1)), ("event", "signin/e3", ("c", [3])),
        ("-", "group/small", "members", [GUID]),
    ], rows(device="absent", risk="absent"))


def step_hold(w):
    w.entry("hold", A, {"count": 0, "packs": []})


LAST_OPS = [("put", user(8), person(8, last=True)), ("x", user(10)), ("put", "group/small", ("c", {"id": "small", "n": 1})),
            ("+", "group/small", "members", [user(8), user(9)]), ("-", "group/small", "members", [user(4)]),
            ("event", "signin/e4", ("c", {}))]
LAST_COVER = dict(device="absent", risk="absent", domain="notdue", user_manager="carried")


def step_last(w, ops=LAST_OPS, cover=None, slot="2026-02-01T02:00:00.000Z", **more):
    w.capture(A, slot, ops, rows(**(LAST_COVER if cover is None else cover)), **more)


STORY = [Writer.genesis, step_first, step_second, step_gap, step_key, step_six_statuses, step_junk, step_void,
         step_access, step_by_hand, step_second_segment, step_after, step_hold, step_last]


class Cases:
    """Collects broken/*: each is a function from the story to files, with what a reader must say."""

    def __init__(self):
        self.before = []  # the writer before each step
        writer = Writer()
        for step in STORY:
            self.before.append(copy.deepcopy(writer))
            step(writer)
        self.whole, self.cases = writer, {}

    def at(self, seq=None, **change):
        """A writer with the entries below `seq` (all without one); `change` spoils what comes next."""
        writer = copy.deepcopy(self.whole if seq is None else self.before[seq])
        writer.change = change
        return writer

    def add(self, name, says, files, expect, deep=True, exit=None, **options):
        files = files.files if isinstance(files, Writer) else files
        expect = sorted([list(row) for row in expect], key=lambda row: (row[0], row[1], row[2] or ""))
        if exit is None:
            exit = 3 if any(row[0] == "finding" for row in expect) else 0
        sound = self.whole.files
        assert name not in self.cases and files != sound or options, name
        self.cases[name] = ({"says": says, "deep": deep, "exit": exit, "expect": expect, **options,
                             "remove": sorted(set(sound) - set(files))},
                            {path: data for path, data in files.items() if sound.get(path) != data})

    def write(self):
        for folder in ("v0", "broken"):
            shutil.rmtree(HERE / folder, ignore_errors=True)
        write_files(HERE / "v0", self.whole.files)
        for name, (case, files) in self.cases.items():
            write_files(HERE / "broken" / name, files)
            (HERE / "broken" / name).mkdir(parents=True, exist_ok=True)
            text = json.dumps(case, ensure_ascii=False, indent=1) + "\n"
            (HERE / "broken" / name / "case.json").write_text(text, encoding="utf-8")


def write_files(folder, files):
    for path, data in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def entry(seq):
    return f"log/e/{seq:010}"


def signed(size):
    return f"log/k/{size:010}"


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


def finding(code, name):
    return "finding", code, name


def orphans(w, *seqs):
    """One note for each container, named after the first file."""
    first = {}
    for name in sorted(name for (seq, _), names in w.packs.items() if seq in seqs for name in names):
        first.setdefault(name.split("/")[0], name)
    return [("note", "orphan", name) for name in first.values()]


def lost_head(seq=14):
    return [("warning", "head-unsigned", signed(seq))]


def damage_cases(c):
    """Damage that anyone who can write to the store can do."""
    w, sound = c.whole, c.whole.files
    without = lambda *names: {path: data for path, data in sound.items() if path not in names}  # noqa: E731
    packs = {kind: w.packs[13, kind][0] for kind in "dr"}
    c.add("entry-bit", "A bit of an entry in the middle is flipped.", {**sound, entry(9): flip(sound[entry(9)], 40)},
          [finding("entry-changed", entry(9))] + orphans(w, 9))
    c.add("entry-bit-before-junk", "A bit of an entry is flipped whose leaf nothing names, as junk follows it.",
          {**sound, entry(5): flip(sound[entry(5)], 40)},
          [finding("void-leaf", entry(5)), *[finding("checkpoint-bad", signed(n)) for n in range(6, 15)],
           finding("entry-inconsistent", entry(7)), finding("state-root", entry(9)), finding("state-root", entry(10))]
          + lost_head() + orphans(w, 5))
    c.add("entry-bit-newest", "A bit of the newest entry is flipped: nothing names its leaf but the checkpoint.",
          {**sound, entry(13): flip(sound[entry(13)], 40)},
          [finding("void-leaf", entry(13)), finding("checkpoint-bad", signed(14))] + lost_head() + orphans(w, 13))
    c.add("signature-bit", "A bit of an entry's signature is flipped.",
          {**sound, entry(11): sound[entry(11)][:-20] + b"A" + sound[entry(11)][-19:]},
          [finding("entry-changed", entry(11))] + orphans(w, 11))
    body, tail = sound[entry(13)].split(b"\n", 1)
    signature = base64.b64decode(tail.split(b" ")[1])
    high = signature[:32] + (int.from_bytes(signature[32:], "little") + ORDER).to_bytes(32, "little")
    c.add("signature-high-s", "The newest entry's signature has S plus the group order, which only lax readers accept.",
          {**sound, entry(13): body + b"\n" + A.id.encode() + b" " + b64(high).encode() + b"\n"},
          [finding("void-leaf", entry(13)), finding("checkpoint-bad", signed(14))] + lost_head() + orphans(w, 13))
    letter = sound[entry(13)][-4]
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    c.add("signature-base64-bits", "The unused bits of the signature's base64 are not zero.",
          {**sound, entry(13): sound[entry(13)][:-4] + bytes([alphabet[alphabet.index(letter) ^ 1]])
           + sound[entry(13)][-3:]},
          [finding("void-leaf", entry(13)), finding("checkpoint-bad", signed(14))] + lost_head() + orphans(w, 13))
    c.add("signature-forged", "An entry in the middle is signed by a key that the log doesn't know.",
          {**sound, entry(11): body_signed(sound[entry(11)], C)}, [finding("entry-changed", entry(11))] + orphans(w, 11))
    c.add("pack-bit", "A bit of a pack is flipped.", {**sound, packs["d"]: flip(sound[packs["d"]], 30)},
          [finding("pack-damaged", packs["d"])])
    c.add("pack-bit-plain", "The same, found without reading lines.",
          {**sound, packs["r"]: flip(sound[packs["r"]], 30)}, [finding("pack-damaged", packs["r"])], deep=False)
    c.add("pack-truncated", "A pack is cut short.", {**sound, packs["d"]: sound[packs["d"]][:-9]},
          [finding("pack-damaged", packs["d"])])
    c.add("packs-swapped", "Two packs have changed places.",
          {**sound, packs["d"]: sound[packs["r"]], packs["r"]: sound[packs["d"]]},
          [finding("pack-damaged", packs["d"]), finding("pack-damaged", packs["r"])])
    c.add("pack-missing", "A pack is gone.", without(packs["d"]), [finding("pack-missing", packs["d"])])
    second = w.packs[5, "d"][0]
    c.add("pack-missing-middle", "A pack is gone in the first segment; the next base makes the state known again.",
          without(second), [finding("pack-missing", second)])
    base = w.packs[10, "b"][1]
    c.add("base-missing", "A part of the second base is gone; the deltas still give the state.", without(base),
          [finding("pack-missing", base)])
    first_base = w.packs[1, "b"][0]
    c.add("first-base-missing", "A part of the first base is gone: no state is known before the second base.",
          without(first_base), [finding("pack-missing", first_base)])
    renamed = packs["d"].replace(sha256(sound[packs["d"]]).hex(), sha256(b"another").hex())
    c.add("pack-renamed", "A pack's file has the name of another hash.",
          {**without(packs["d"]), renamed: sound[packs["d"]]},
          [finding("pack-missing", packs["d"]), ("note", "orphan", renamed)])
    c.add("orphan", "A pack that no entry names, as a crash leaves it.", {**sound, renamed: sound[packs["d"]]},
          [("note", "orphan", renamed)])
    c.add("genesis-bit", "A bit of the genesis entry is flipped.", {**sound, entry(0): flip(sound[entry(0)], 40)},
          [finding("genesis", entry(0))])
    c.add("genesis-missing", "The genesis entry is gone.", without(entry(0)), [finding("genesis", entry(0))])
    c.add("genesis-other", "The archive is sound, but not the one that the caller trusts.", sound,
          [finding("genesis", entry(0))], trust=C.verifier)
    c.add("genesis-trusted", "The archive is the one that the caller trusts.", sound, [], trust=A.verifier)
    c.add("entry-missing", "An entry in the middle is gone.", without(entry(9)),
          [finding("entry-missing", entry(9))] + orphans(w, 9))
    c.add("entry-missing-before-junk", "An entry is gone whose leaf nothing names, as junk follows it.",
          without(entry(5)), [finding("entry-missing", entry(5)), ("warning", "log-incomparable", signed(6))] + orphans(w, 5))
    c.add("entries-missing", "Two entries in a row are gone, so one leaf is unknown.", without(entry(2), entry(3)),
          [finding("entry-missing", entry(2)), finding("entry-missing", entry(3)),
           ("warning", "log-incomparable", signed(3))] + orphans(w, 2))
    c.add("entry-missing-key", "The entry that added a key is gone: what that key signed can't be verified.",
          without(entry(4)),
          [finding("entry-missing", entry(4)), *[finding("entry-unverifiable", entry(n)) for n in (5, 7, 8, 9, 10)],
           finding("void-leaf", entry(6)), *[finding("checkpoint-bad", signed(n)) for n in range(6, 12)],
           ("warning", "log-incomparable", signed(5))] + orphans(w, 5, 8, 9, 10))
    c.add("newest-removed", "The newest entry is gone, its checkpoint is still there.", without(entry(13)),
          [finding("log-truncated", signed(14))] + orphans(w, 13))
    c.add("newest-removed-with-checkpoint", "Newest entry and checkpoint are gone: only leftover packs remain to see.",
          without(entry(13), signed(14)), orphans(w, 13))
    c.add("newest-removed-against", "The same, seen with a checkpoint kept elsewhere.",
          without(entry(13), signed(14), *w.packs[13, "d"], *w.packs[13, "r"]), [finding("log-truncated", None)],
          against=note(w.leaves, A).decode())
    c.add("against-sound", "A checkpoint kept elsewhere agrees.", sound, [], against=note(w.leaves[:9], B).decode())
    c.add("against-forked", "A checkpoint kept elsewhere has another root.", sound, [finding("log-forked", None)],
          against=note(w.leaves[:8] + [sha256(b"fork")], B).decode())
    c.add("against-foreign", "The checkpoint kept elsewhere is of another log.", sound,
          [finding("checkpoint-foreign", None)], against=note(w.leaves[:9], STRANGER).decode())
    c.add("against-unknown-key", "The checkpoint kept elsewhere is signed by an unknown key.", sound,
          [finding("checkpoint-foreign", None)], against=note(w.leaves[:9], C).decode())
    c.add("against-unknown-leaf", "A leaf is unknown, so the checkpoint kept elsewhere can't be compared.",
          without(entry(2), entry(3)),
          [finding("entry-missing", entry(2)), finding("entry-missing", entry(3)),
           ("warning", "log-incomparable", signed(3)), ("warning", "log-incomparable", None)] + orphans(w, 2),
          against=note(w.leaves[:9], B).decode())
    c.add("junk-head", "A file that is no entry lies at the head.", {**sound, entry(14): b"junk"},
          [finding("void-leaf", entry(14)), ("note", "checkpoint-missing", signed(15))] + lost_head(15))
    c.add("junk-twice", "Two files that are no entries lie at the head.", {**sound, entry(14): b"", entry(15): b"junk"},
          [finding("void-leaf", entry(14)), finding("void-leaf", entry(15)), ("note", "checkpoint-missing", signed(15))]
          + lost_head(16))
    c.add("junk-beyond-hole", "A file that is no entry lies two numbers after the head.", {**sound, entry(15): b"junk"},
          [finding("entry-missing", entry(14)), finding("void-leaf", entry(15)),
           ("note", "checkpoint-missing", signed(15))] + lost_head(16))
    c.add("checkpoint-bit", "An older checkpoint is damaged; a good one of a greater size covers it.",
          {**sound, signed(6): flip(sound[signed(6)], 30)}, [("note", "checkpoint-bad", signed(6))])
    c.add("checkpoint-bit-newest", "The newest checkpoint is damaged.",
          {**sound, signed(14): flip(sound[signed(14)], 30)}, [finding("checkpoint-bad", signed(14))] + lost_head())
    c.add("checkpoint-foreign", "The newest checkpoint is of another log.",
          {**sound, signed(14): note(w.leaves, STRANGER)}, [finding("checkpoint-bad", signed(14))] + lost_head())
    c.add("checkpoint-size", "The newest checkpoint is a copy of the one before.",
          {**sound, signed(14): sound[signed(13)]}, [finding("checkpoint-bad", signed(14))] + lost_head())
    c.add("checkpoint-half-signed", "The newest checkpoint has a good signature and a false one in a known key's name.",
          {**sound, signed(14): sound[signed(14)] + f"\u2014 {ORIGIN} {b64(B.id_bytes + bytes(64))}\n".encode()},
          [finding("checkpoint-bad", signed(14))] + lost_head())
    c.add("checkpoint-cosigned", "A checkpoint has a signature by a stranger besides: that is allowed.",
          {**sound, signed(14): sound[signed(14)] + f"\u2014 witness.example {b64(bytes(76))}\n".encode()}, [])
    c.add("checkpoint-missing", "The newest checkpoint is missing, as after a crash.", without(signed(14)),
          [("note", "checkpoint-missing", signed(14))] + lost_head())
    c.add("checkpoint-missing-middle", "An older checkpoint is missing.", without(signed(4)),
          [("note", "checkpoint-missing", signed(4))])
    c.add("checkpoint-beyond", "A checkpoint of a greater size that no known key signed.",
          {**sound, signed(20): note(w.leaves + [ZERO] * 6, C)}, [finding("checkpoint-bad", signed(20))])
    c.add("tile-early", "There is a tile though the log has no 256 entries.", {**sound, "log/tile/0/000": bytes(8192)},
          [finding("tile-wrong", "log/tile/0/000")])


def body_signed(data, key):
    """The entry file with the same body, signed anew."""
    body = data.split(b"\n")[0]
    return body + b"\n" + key.id.encode() + b" " + b64(key.sign(b"tenure-entry/v0\n" + body)).encode() + b"\n"


def rewritten(data, **members):
    doc = {**json.loads(data.split(b"\n")[0]), **members}
    return body_signed(jcs(doc) + b"\n", A)


def signed_log_cases(c):
    """Wrong entries that a key of the log has signed."""
    w, sound = c.whole, c.whole.files
    other = rewritten(sound[entry(12)], tool="golden/2")
    c.add("entry-replaced", "An entry is replaced by another signed one; the next entry and the checkpoint know better.",
          {**sound, entry(12): other}, [finding("entry-changed", entry(12))])
    c.add("entry-replaced-unsigned", "The same without the checkpoint: the replacement counts, the next entry doesn't.",
          {path: data for path, data in {**sound, entry(12): other}.items() if path != signed(13)},
          [finding("void-leaf", entry(13)), ("note", "checkpoint-missing", signed(13)),
           finding("checkpoint-bad", signed(14))] + lost_head() + orphans(w, 13))
    c.add("head-replaced", "The newest entry is replaced by another signed one; the checkpoint is of the first.",
          {**sound, entry(13): rewritten(sound[entry(13)], tool="golden/2")},
          [finding("checkpoint-bad", signed(14))] + lost_head())

    def hold(name, says, expect=None, key=A, note_key=None, **change):
        writer = c.at(**change)
        writer.entry("hold", key, {"count": 0, "packs": []}, note_key or A)
        c.add(name, says, writer, expect or [finding("void-leaf", entry(14))])

    hold("void-prev", "A signed entry doesn't name the leaf before.", doc=lambda d: {**d, "prev": ZERO.hex()})
    hold("void-seq", "A signed entry has another number than its name.", doc=lambda d: {**d, "seq": 15})
    hold("void-origin", "A signed entry is of another log.", doc=lambda d: {**d, "origin": "elsewhere"})
    hold("void-not-canonical", "A signed entry is not canonical JSON.", body=lambda b: b.replace(b",", b", ", 1))
    hold("void-number", "A signed entry spells a number oddly.", body=lambda b: b.replace(b'"v":0', b'"v":0.0'))
    hold("void-duplicate", "A signed entry has a member twice.", body=lambda b: b[:-1] + b',"v":0}')
    hold("void-long", "A signed entry is longer than 65,535 bytes.", doc=lambda d: {**d, "x": "x" * LIMIT})
    hold("void-recovery", "The recovery key has signed an entry that is no key entry.", key=RECOVERY)
    hold("void-stranger", "An entry is signed by a key that the log doesn't know.", key=C)
    hold("void-members", "A signed entry has a hash in upper case.",
         doc=lambda d: {**d, "state": {**d["state"], "root": "A" * 64}})
    hold("void-time", "A signed entry has a time without milliseconds.",
         doc=lambda d: {**d, "committed": "2026-03-01T00:00:00Z"})
    hold("version-other", "An entry has another version: no statement is possible.", doc=lambda d: {**d, "v": 1})
    hold("req-unknown", "An entry requires a feature that is not known: no statement is possible.",
         doc=lambda d: {**d, "req": ["holograms"]})
    for name in ("version-other", "req-unknown"):
        c.cases[name][0].update(expect=[], exit=1)
    hold("hold-state", "An entry that is no capture changes the state.", [finding("entry-inconsistent", entry(14))],
         doc=lambda d: {**d, "state": {**d["state"], "objects": 1}})
    hold("hold-slot", "An entry that is neither capture nor gap changes last_slot.",
         [finding("entry-inconsistent", entry(14))], doc=lambda d: {**d, "last_slot": "2026-02-01T03:00:00.000Z"})
    hold("hold-segment", "An entry that is no capture changes the segment.",
         [finding("entry-inconsistent", entry(14))], doc=lambda d: {**d, "segment": 14})
    hold("member-unknown", "A member that readers don't know is ignored.", [("note", "void-leaf", entry(6))],
         doc=lambda d: {**d, "later": [1.5, {"€": None}]})

    writer = c.at()
    writer.leaf(b"junk", None)
    writer.leaf(b"more junk", None)
    writer.entry("void", A, {"voids": [14]})
    c.add("void-half", "Two void leaves in a row, of which one is acknowledged.", writer,
          [("note", "void-leaf", entry(14)), finding("void-leaf", entry(15)),
           ("note", "checkpoint-missing", signed(15))])

    def gap(name, says, slots, last_slot):
        writer = c.at()
        writer.last_slot = last_slot
        writer.entry("gap", A, {"slots": slots, "code": "stopped"})
        c.add(name, says, writer, [finding("entry-inconsistent", entry(14))])

    hour = "2026-02-01T{:02}:00:00.000Z".format
    gap("gap-early", "A gap begins at a slot that is filled.", [hour(2), hour(4)], hour(4))
    gap("gap-backwards", "A gap ends before it begins.", [hour(5), hour(4)], hour(4))
    gap("gap-last-slot", "A gap doesn't move last_slot to its end.", [hour(3), hour(4)], hour(3))


def key_cases(c):
    """Revocation (section 9)."""
    def key_entry(w, signer, add=(), revoke=(), note_key=None):
        w.entry("key", signer, {"add": [key.verifier for key in add],
                                "revoke": [{"id": key.id, "from": first} for key, first in revoke]}, note_key)

    def revoked(*seqs):
        return [finding("entry-revoked", entry(seq)) for seq in seqs]

    def bad_notes(*sizes):
        return [("note", "checkpoint-bad", signed(size)) for size in sizes]

    w = c.at()
    key_entry(w, A, revoke=[(B, 15)])
    w.entry("hold", B, {"count": 0, "packs": []}, A)
    c.add("key-revoked-used", "A key signs after it was revoked.", w, revoked(15))
    w = c.at()
    key_entry(w, A, revoke=[(B, 15)])
    w.entry("hold", B, {"count": 0, "packs": []})
    c.add("key-revoked-head", "A revoked key has signed the newest entry and checkpoint.", w,
          revoked(15) + [finding("checkpoint-bad", signed(16))] + lost_head(16))
    w = c.at()
    key_entry(w, RECOVERY, revoke=[(A, 11)], note_key=B)
    c.add("key-recovery", "The recovery key revokes a key from an earlier entry on.", w,
          revoked(11, 12, 13) + bad_notes(12, 13, 14))
    w = c.at()
    key_entry(w, B, add=[C])
    w.entry("hold", C, {"count": 0, "packs": []})
    key_entry(w, RECOVERY, revoke=[(B, 14)], note_key=A)
    c.add("key-thief-adds", "A thief's key entry adds a key; the recovery key takes back the stolen key and with it that.",
          w, revoked(14, 15) + bad_notes(15, 16))
    w = c.at()
    key_entry(w, B, revoke=[(A, 0)])
    key_entry(w, RECOVERY, revoke=[(B, 14)], note_key=A)
    c.add("key-thief-revokes", "A thief's key entry revokes the honest key, which counts for nothing once it is found out.",
          w, revoked(14) + bad_notes(15))
    w = c.at()
    key_entry(w, B, add=[A])
    key_entry(w, RECOVERY, revoke=[(B, 14)], note_key=A)
    c.add("key-thief-adds-known", "A thief's key entry adds a key that is known already, which must not taint it.",
          w, revoked(14) + bad_notes(15))
    w = c.at()
    w.leaf(b"junk", None)
    w.entry("void", B, {"voids": [14]})
    key_entry(w, A, revoke=[(B, 15)])
    c.add("key-thief-voids", "A void entry by a revoked key acknowledges nothing.", w,
          revoked(15) + bad_notes(16) + [finding("void-leaf", entry(14)), ("note", "checkpoint-missing", signed(15))])
    w = c.at()
    key_entry(w, A, revoke=[(A, 12)], note_key=B)
    c.add("key-revokes-itself", "A key revokes itself from an earlier entry on.", w,
          revoked(12, 13, 14) + bad_notes(13, 14))
    w = c.at()
    key_entry(w, A, revoke=[(B, 14)])
    key_entry(w, B, revoke=[(A, 14)])
    c.add("key-duel", "Two keys revoke each other from before: both revocations count until the recovery key decides.", w,
          revoked(14, 15) + [finding("checkpoint-bad", signed(15)), finding("checkpoint-bad", signed(16))] + lost_head(16))
    w = c.at()
    key_entry(w, A, revoke=[(B, 14)])
    key_entry(w, B, revoke=[(A, 14)])
    key_entry(w, RECOVERY, revoke=[(B, 14)], note_key=A)
    c.add("key-duel-decided", "The same, decided by the recovery key.", w, revoked(15) + bad_notes(16))


def content_cases(c):
    """Wrong captures that a key of the log has signed; all as entry 13, the newest."""
    def last(name, says, expect, deep=True, ops=LAST_OPS, cover=None, slot="2026-02-01T02:00:00.000Z", **change):
        w = c.at(13, **change)
        step_last(w, ops, cover, slot)
        rows = {"pack": w.packs.get((13, "d"), [None])[0], "entry": entry(13)}
        c.add(name, says, w, [finding(code, rows.get(where, where)) for code, where in expect], deep)

    def member(path, value):
        def change(doc):
            doc = copy.deepcopy(doc)
            inner = doc
            for step in path[:-1]:
                inner = inner[step]
            inner[path[-1]] = value
            return doc
        return change

    wrong = sha256(b"wrong").hex()
    last("state-root", "The state's root is wrong.", [("state-root", "entry")], doc=member(["state", "root"], wrong))
    last("state-root-plain", "The same: invisible without reading lines.", [], False, doc=member(["state", "root"], wrong))
    last("state-objects", "The number of objects is wrong.", [("state-root", "entry")],
         doc=member(["state", "objects"], 3))
    last("state-links", "The number of links is wrong.", [("state-root", "entry")], doc=member(["state", "links"], 3))
    last("delta-root", "The delta's root is wrong.", [("delta-root", "entry")], doc=member(["delta", "root"], wrong))
    for count in ("put", "del", "ladd", "ldel", "ev"):
        last(f"delta-count-{count}", f"The count {count} is wrong.", [("delta-counts", "entry")],
             doc=member(["delta", count], 9))
    w = c.at(11, doc=member(["state", "root"], wrong))
    step_after(w)
    w.change = {}
    w.entry("hold", A, {"count": 0, "packs": [], "state": json.loads(w.files[entry(11)].split(b"\n")[0])["state"]})
    step_last(w)
    c.add("state-root-middle", "The state's root is wrong in the middle; later entries are right again.", w,
          [finding("state-root", entry(11))])

    for name, path in (("cover", ["cover", 0, "st"]), ("delta", ["delta", "put"]), ("run", ["run"])):
        w = c.at(13, doc=member(path, None))
        step_last(w)
        c.add(f"void-capture-{name}", f"A signed capture has a member of another form in {name}.", w,
              [finding("void-leaf", entry(13))] + orphans(w, 13))
    last("slot-again", "The slot was filled before.", [("entry-inconsistent", "entry")], False,
         slot="2026-02-01T01:00:00.000Z")
    last("slot-last", "last_slot is not the slot.", [("entry-inconsistent", "entry")], False,
         doc=member(["last_slot"], "2026-02-01T01:00:00.000Z"))
    last("base-unasked", "A capture has a base but opens no segment.", [("entry-inconsistent", "entry")], False,
         doc=member(["base"], {"packs": []}))
    w = c.at(13)
    step_last(w, months=False, slot="2026-03-01T00:00:00.000Z")
    c.add("segment-overdue", "A capture of a later month opens no segment.", w,
          [finding("entry-inconsistent", entry(13))])
    w = c.at(13)
    w.container = "2026-01"  # so that it believes February to be new
    step_last(w)
    c.add("segment-early", "A capture opens a segment within the month.", w, [finding("entry-inconsistent", entry(13))])

    def renamed(name, says, change, expect_name):
        w = c.at(13)
        step_last(w)
        old = w.packs[13, "d"][0]
        new = change(old)
        data = w.files.pop(old)
        w.files[new] = data
        for path in (entry(13), signed(14)):
            del w.files[path]
        w.leaves.pop()
        doc = json.loads(c.whole.files[entry(13)].split(b"\n")[0])
        doc["delta"]["packs"][0]["n"] = new
        w.leaf(body_signed(jcs(doc) + b"\n", A), A)
        c.add(name, says, w, [finding("pack-name", new)])

    renamed("pack-name-part", "A pack has the wrong part number.", lambda n: n.replace("-d000-", "-d001-"), None)
    renamed("pack-name-kind", "A pack has the kind of another place.", lambda n: n.replace("-d000-", "-b000-"), None)
    renamed("pack-name-seq", "A pack has another entry's number.", lambda n: n.replace("0000000013-", "0000000012-"), None)
    renamed("pack-name-container", "A pack lies in another container.", lambda n: n.replace("2026-02/", "2026-01/"), None)
    renamed("pack-name-hash", "A pack's name has another hash than its row.",
            lambda n: n[:-68] + sha256(b"other").hex() + ".ndz", None)

    def lines(name, says, change, **more):
        last(name, says, [("pack-content", "pack")], d=change, **more)

    def replace(old, new):
        def change(texts):
            out = [text.replace(old, new) for text in texts]
            assert out != texts, (old, texts)
            return out
        return change

    lines("line-order", "Two lines are out of order.", lambda t: t[:1] + [t[2], t[1]] + t[3:])
    lines("line-order-links", "A removal stands before the addition of the same relation.",
          lambda t: sorted(t, key=lambda line: (line.split(b",")[0], b'"r":' in line, b'"+"' in line)))
    lines("line-twice", "A key has two content lines.", lambda t: t[:1] + t, doc=member(["delta", "put"], 3))
    lines("line-space", "A line has white space.", replace(b'{"k":"signin/e4",', b'{"k": "signin/e4",'))
    lines("line-members", "A line's members are in another order.",
          replace(b'{"k":"user/u0010","x":1}', b'{"x":1,"k":"user/u0010"}'))
    lines("line-escape", "A string is escaped though it need not be.", replace(b'"signin/e4"', b'"\\u0073ignin/e4"'))
    lines("line-member-unknown", "A line has a member that no kind of line has.",
          replace(b'{"k":"user/u0010","x":1}', b'{"k":"user/u0010","x":1,"y":1}'))
    lines("line-member-twice", "A line has a member twice.",
          replace(b'{"k":"user/u0010","x":1}', b'{"k":"user/u0010","x":1,"x":1}'))
    lines("line-x", "x is not 1.", replace(b'"x":1}', b'"x":true}'))
    lines("line-not-utf8", "A line is not UTF-8.", replace(b'"e":{}', b'"e":"\xff"'))
    lines("line-surrogate", "A string has an unpaired surrogate.", replace(b'"e":{}', b'"e":"\\ud800"'))
    lines("line-junk", "A line is no JSON.", lambda t: t + [b"zzz"])
    lines("line-empty", "A line is empty.", lambda t: t + [b""])
    lines("q-late", "A change was first seen at a later entry than its own.", replace(b'"x":1}', b'"x":1,"q":13}'))
    lines("q-negative", "q is no entry's number.", replace(b'"x":1}', b'"x":1,"q":-1}'))
    lines("links-unsorted", "Targets are out of order.",
          replace(b'["user/u0008","user/u0009"]', b'["user/u0009","user/u0008"]'))
    lines("links-not-filled", "Two lines where one would hold all targets.", lambda t: [
        part for line in t for part in ([line.replace(b',"user/u0009"]', b"]"), line.replace(b'"user/u0008",', b"")]
                                        if b'"+"' in line else [line])])
    lines("link-properties-empty", "Properties that are empty are spelled out.",
          replace(b'"user/u0009"]}', b'"user/u0009"],"p":{"user/u0009":{}}}'))
    lines("link-properties-stray", "Properties of a target that the line doesn't have.",
          replace(b'"user/u0009"]}', b'"user/u0009"],"p":{"user/u0007":{"a":1}}}'))
    w = c.at(13, d=lambda t: [t[0][:-1].replace(b'"]', b'","user/u3512"]') + b"}"])
    step_last(w, ops=[("+", "group/big", "members", [user(i) for i in range(3000, 3513)])])
    c.add("links-too-many", "A line has 513 targets.", w, [finding("pack-content", w.packs[13, "d"][0])])

    def content(name, says, text, as_json):
        """Replace the content of group/small by other bytes, with roots over those bytes."""
        w = c.at(13, d=replace(jcs({"marker": 1}), text))
        original = globals()["content_of"]
        globals()["content_of"] = lambda form, value: (
            (b'"c":' + jcs(value), sha256(text)) if value == {"marker": 1} else original(form, value))
        try:
            step_last(w, ops=[("put", "group/small", ("c", {"marker": 1}))])
        finally:
            globals()["content_of"] = original
        c.add(name, says, w, [finding("pack-content", w.packs[13, "d"][0])] if as_json else [])

    content("content-number", "A number in content is not spelled as ECMAScript does.", b'{"n":1.0}', True)
    content("content-number-exponent", "The same with an exponent.", b'{"n":1E3}', True)
    content("content-number-digits", "The same with more digits than needed.", b'{"n":0.10000000000000001}', True)
    content("content-number-big", "A number in content that no double holds.", b'{"n":9007199254740993}', True)
    content("content-number-zero", "Minus zero is spelled 0.", b'{"n":-0}', True)
    content("content-members", "Members of content are sorted by code points where UTF-16 sorts otherwise.",
            '{"\ufb33":1,"\U00010000":2}'.encode(), True)
    content("content-duplicate", "Content has a member twice.", b'{"a":1,"a":1}', True)
    content("content-sound", "Odd content that is spelled right.",
            '{"n":[1e+21,5e-324,1e-7,0.000001,-1.5,123456789012345680000],"s":"\\u001f\u007f/\u2028","\U00010000":2,'
            '"\ufb33":1}'.encode(), False)

    # Lines whose effect the roots include, and which are wrong by themselves.
    last("key-upper-case", "A key's GUID is in upper case.", [("pack-content", "pack")],
         ops=[("put", "user/AAAAAAAA-0000-4000-8000-000000000000", ("c", 1))])
    last("key-escape", "A key escapes a safe byte.", [("pack-content", "pack")], ops=[("put", "user/%41", ("c", 1))])
    last("key-escape-lower", "A key escapes with lower-case hex.", [("pack-content", "pack")],
         ops=[("put", "user/%c3%a9", ("c", 1))])
    last("key-no-id", "A key has no id.", [("pack-content", "pack")], ops=[("put", "user/", ("c", 1))])
    last("target-no-key", "A target is no key.", [("pack-content", "pack")],
         ops=[("+", "group/small", "members", ["user u0001"])])
    last("base64-bits", "Unused bits of base64 are not zero.", [("pack-content", "pack")],
         ops=[("put", "user/u0006", ("raw", b"a"))], d=replace(b'"YQ=="', b'"YR=="'))
    last("coverage-content", "Content changes though its collection was not due.", [("pack-content", "pack")],
         ops=[("put", "domain/caf%C3%A9.example", ("c", 1))])
    last("coverage-removal", "An object is removed though its collection was not read.", [("pack-content", "pack")],
         ops=[("x", "domain/caf%C3%A9.example")])
    last("coverage-links", "Links change though their relation was carried over.", [("pack-content", "pack")],
         ops=[("+", user(1), "manager", [user(5)])])
    last("coverage-facet", "A facet changes though it can't be read.", [("pack-content", "pack")],
         ops=[("put", GUID + "#activity", ("c", 1))], cover=dict(LAST_COVER, user_activity="absent"))
    last("coverage-facet-alone", "A facet changes though its collection was not read: each has its own row.", [],
         ops=[("put", GUID + "#activity", ("c", 1))], cover=dict(LAST_COVER, user="carried"))
    last("coverage-event", "An event of a collection that was not read.", [("pack-content", "pack")],
         ops=[("event", "signin/e9", ("c", 1))], cover=dict(LAST_COVER, signin="notdue"))
    last("coverage-no-row", "Content of a collection without a row of coverage.", [("pack-content", "pack")],
         ops=[("put", "robot/1", ("c", 1))])
    last("coverage-no-row-links", "Links of a relation without a row of coverage.", [("pack-content", "pack")],
         ops=[("+", user(1), "sponsors", [user(5)])])
    last("coverage-end-of-links", "A removed object's links end without a row of their own being read.", [],
         ops=[("x", user(1))])

    w = c.at(13)
    w.change["d"] = lambda t: t + [b'{"k":"user/u0001","r":"zzz","-":["user/u0005"]}']
    w.change["doc"] = lambda d: {**d, "delta": {**d["delta"], "ldel": 1},
                                  "cover": d["cover"] + [{"c": "user", "r": "zzz", "st": "complete"}]}
    step_last(w, ops=[("put", user(1), ("c", 1))])
    c.add("link-not-there", "A link is removed that wasn't there.", w, [finding("pack-content", w.packs[13, "d"][0])])

    def packed(name, says, change):
        last(name, says, [("pack-content", "pack")],
             pack=lambda row: row if row[0] != "d" else (row[0], *change(row[1], row[2])))

    packed("pack-raw", "A row's raw is not the length of the lines.", lambda data, raw: (data, raw + 1))
    packed("pack-seek-table", "The seek table has a wrong length.", lambda data, raw: (flip(data, len(data) - 17), raw))
    packed("pack-no-seek-table", "A pack has no seek table.", lambda data, raw: (data[:-25], raw))
    packed("pack-seek-reserved", "The seek table's descriptor is not zero.",
           lambda data, raw: (flip(data, len(data) - 5), raw))
    packed("pack-skippable", "A pack has another skippable frame.",
           lambda data, raw: (b"\x50\x2a\x4d\x18\x01\x00\x00\x00!" + data, raw))
    packed("pack-not-zstd", "A pack's frame is damaged, with a hash to fit.", lambda data, raw: (flip(data, 0), raw))
    packed("pack-no-end", "A pack's last line has no line feed.", lambda data, raw: pack_file([b'{"k":"user/u0010","x":1}'], separator=b""))

    # Bases, as entry 10 and what follows from it.
    def second_base(name, says, expect, steps=(), **change):
        w = c.at(10, **change)
        step_second_segment(w)
        w.change = {}
        for step in steps:
            step(w)
        rows = {"first": w.packs[10, "b"][0], "second": w.packs[10, "b"][1]}
        c.add(name, says, w, [finding(code, rows.get(where, where)) for code, where in expect])

    second_base("base-root", "The second base lacks an object.", [("base-root", entry(10))], b=lambda t: t[:-1])
    second_base("base-root-later", "The second base lacks an object; the states after it are folded from it.",
                [("base-root", entry(10)), ("state-root", entry(11)), ("state-root", entry(13))],
                (step_after, step_hold, step_last), b=lambda t: [line for line in t if b"u0012" not in line[:20]])
    second_base("base-removal", "A base has a removal.", [("pack-content", "second")],
                b=lambda t: t + [b'{"k":"user/zzz","x":1}'])
    second_base("base-q", "A base has a q.", [("pack-content", "second")],
                b=lambda t: t[:-1] + [t[-1][:-1] + b',"q":1}'])
    second_base("base-order", "A base is out of order across two parts.", [("pack-content", "second")],
                b=lambda t: [*t[:len(t) * 2 // 3 - 1], t[len(t) * 2 // 3], t[len(t) * 2 // 3 - 1],
                             *t[len(t) * 2 // 3 + 1:]])
    w = c.at(1, d=lambda t: [b'{"k":"domain/a","c":1}'] + t)
    step_first(w)
    c.add("first-delta", "The first capture's delta holds more than events.", w,
          [finding("pack-content", w.packs[1, "d"][0])])

    # Expiry.
    def expiry(w, kind):
        names = sorted(name for name in c.whole.files if "/s/0000000001/" in name)
        w.entry(kind, A, {"target": 1, "range": [1, 9], "count": len(names),
                          "names": sha256("".join(name + "\n" for name in names).encode()).hex()})
        return names
    w = c.at()
    names = expiry(w, "expire")
    del w.files[names[0]]
    c.add("expiring", "A pack of a segment that is being expired is gone.", w, [("warning", "pack-missing", names[0])])
    w = c.at()
    for name in expiry(w, "expire"):
        del w.files[name]
    expiry(w, "expired")
    c.add("expired", "A segment has expired; what came after is still verified.", w,
          [("note", "expired", entry(1))])


def with_acknowledged(cases):
    """v0 has one acknowledged void leaf, so every case that gets as far as entry 7 has its note."""
    for name, (case, _) in cases.items():
        codes = {(code, where) for _, code, where in case["expect"]}
        stops = name in ("genesis-bit", "genesis-missing") or case["exit"] == 1
        removed = entry(7) in case["remove"]
        if not stops and not removed and ("void-leaf", entry(6)) not in codes:
            case["expect"] = sorted(case["expect"] + [["note", "void-leaf", entry(6)]],
                                    key=lambda row: (row[0], row[1], row[2] or ""))


def tiles(folder):
    """520 entries, so two full tiles: genesis and `hold` entries; checkpoints only where the test wants them."""
    w = Writer()
    w.genesis()
    while w.seq < 520:
        w.entry("hold", A, {"count": 0, "packs": []})
    for n in range(2):
        some = range(256 * n, 256 * n + 256)
        w.files[f"log/tile/0/{n:03}"] = b"".join(w.leaves[i] for i in some)
        w.files[f"log/tile/entries/{n:03}"] = b"".join(
            len(w.files[entry(i)]).to_bytes(2, "big") + w.files[entry(i)] for i in some)
    write_files(pathlib.Path(folder), w.files)


def example(folder):
    """The archive of the worked example in docs/format.md, section 12: one user, then a group-like user with a link."""
    w = Writer()
    w.genesis()
    w.capture(A, "2026-08-01T13:00:00.000Z", [("put", "user/a", ("c", {"id": "a"}))], [{"c": "user", "st": "complete"}])
    w.capture(A, "2026-08-01T14:00:00.000Z",
              [("put", "user/b", ("c", {"id": "b"})), ("+", "user/b", "members", ["user/a"])],
              [{"c": "user", "st": "complete"}, {"c": "user", "r": "members", "st": "complete"}])
    write_files(pathlib.Path(folder), w.files)


def main():
    if sys.argv[1:2] == ["--example"] and len(sys.argv) == 3:
        return example(sys.argv[2])
    if sys.argv[1:2] == ["--tiles"] and len(sys.argv) == 3:
        return tiles(sys.argv[2])
    cases = Cases()
    for family in (damage_cases, signed_log_cases, key_cases, content_cases):
        family(cases)
    with_acknowledged(cases.cases)
    cases.write()


if __name__ == "__main__":
    main()
