"""verify.py EXPORT KEY [--checkpoint HELD] [--newer] [--pruned]: checks an audit export of Penstock, offline.

Needs Python 3.9 and ed25519.py beside it, nothing else. Exit code 0: all of it is what the log committed to before the
checkpoint that you hold; 1: it is not, and the first event that does not fit is named."""

import argparse, base64, functools, hmac, json, sys, uuid  # noqa: E401
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import ed25519


def need(fits, words):
    if not fits:
        raise ValueError(words)


class Export:  # what is known after each line: a word, a space, and what the method of that word takes
    def __init__(self, options):
        self.options, self.keys, self.edge, self.size, self.hidden, self.first = options, [], [], 0, 0, None
        self.chains, self.done, self.refs, self.leaves, self.name, self.seq = {}, set(), set(), [], "event", 0
        self.run, self.digest = {"erased": 0, "pruned": False}, sha256()
        self.count = dict.fromkeys(("events", "newer", "payloads", "erased"), 0)

    def on_log(self, text):
        self.about, before = json.loads(text), "first"
        base, own = self.about["base"], self.options.checkpoint
        self.origin = f"{base}/{quote(self.about['tenant'], safe='')}"
        for note in self.about["keys"]:  # each is brought in by the one before it
            self.keys.append(base64.b64decode(note.split("\n")[3], validate=True))
            for signer in self.keys[-2:]:
                said = ed25519.opened(note, base, [signer])[:3]
                need(said == ["penstock.audit.key/v1", base, before], "the history of the log's keys is broken")
            before = note.split("\n")[3]
        name, _, key = Path(self.options.key).read_text().strip().split("+", 2)
        ours = name in (base, self.origin) and base64.b64decode(key)[1:] in self.keys
        need(ours, f"your key, of {name!r}, is none of the keys of the log {self.origin!r}")
        self.final = self.head(self.about["checkpoint"])
        self.held = self.head(Path(own).read_text(encoding="utf-8")) if own else self.final
        need(self.held[0] <= self.final[0], "your checkpoint is newer than the export: have it made again")

    def head(self, note):
        need(note.split("\n")[0] == self.origin, f"a checkpoint is of another log: {note[:99]!r}, not {self.origin!r}")
        lines = ed25519.opened(note, self.origin, self.keys)
        return int(lines[1]), base64.b64decode(lines[2])

    def on_node(self, text):
        level, node = text.split()
        self.hidden = self.size + (1 << int(level))
        self.grow(int(level), bytes.fromhex(node.decode()))

    def on_leaf(self, text):
        leaf = json.loads(text)
        self.first = self.first or (self.size, leaf["at"])
        if leaf["kind"] != "key":
            chain = self.chains.setdefault(leaf.get("run", ""), [(0, b"", 0)])
            need(chain[-1][0] < leaf["seq"], f"leaf {self.size} is of a second history of {leaf.get('run', 'actions')}")
            chain.append((leaf["seq"], leaf["hash"].encode(), self.size))
        self.grow(0, sha256(b"\0" + text).digest())

    def grow(self, level, node):  # RFC 6962, 2.1; ``edge``: the roots of the largest full subtrees, from the left
        place = self.size >> level
        need(self.size == place << level, f"the proof is out of order at leaf {self.size}")
        for _ in range((place ^ (place + 1)).bit_length() - 1):
            node = sha256(b"\1" + self.edge.pop() + node).digest()
        self.edge, self.size = [*self.edge, node], self.size + (1 << level)
        for size, root in (self.held, self.final):
            if self.size - (1 << level) < size <= self.size:
                need(self.size == size, "the export does not connect to your checkpoint: have it made for it")
                found = functools.reduce(lambda right, left: sha256(b"\1" + left + right).digest(), self.edge[::-1])
                need(found == root, f"the log was rewritten: its first {size} leaves are not those of the checkpoint")

    def on_chain(self, text):  # of a run, or ("") of the operators' actions
        self.close()
        self.run, tenant, self.seq = json.loads(text), self.about["tenant"].encode(), 0
        run = self.run["run"]
        self.name = f"run {run}: event" if run else "action"
        need(self.size == self.final[0] and run not in self.done, f"{self.name}s stand too early, or are there twice")
        place = len(tenant).to_bytes(4, "big") + tenant + (uuid.UUID(run).bytes if run else b"")
        self.hash = sha256((b"penstock.journal.1" if run else b"penstock.actions.1") + place).digest()
        self.leaves = self.chains.get(run, [])[:0:-1]
        self.done.add(run)

    def on_event(self, text):
        self.seq, (seq, digest, body) = self.seq + 1, text.split(b" ", 2)
        if not self.run["run"]:  # an action is chained with its number and its time
            at, _, body = body.partition(b" ")
            body = int(seq).to_bytes(8, "big") + int(at).to_bytes(8, "big") + body
        elif self.run["salt"] or self.run["erased"]:
            self.refs.update(ref for refs in json.loads(body).get("payloads", {}).values() for ref in refs)
        self.hash = sha256(self.hash + body).digest()
        last, said, leaf = self.leaves[-1] if self.leaves else (0, b"", 0)
        if int(seq) != self.seq or self.hash.hex().encode() != digest or self.seq > last:
            what = "missing" if int(seq) > self.seq else "one too many" if self.seq > last else "not what was recorded"
            raise ValueError(f"{self.name} {self.seq} is {what}")
        if self.seq == last:
            need(said == digest, f"{self.name} {self.seq}, or one before it, was rewritten: leaf {leaf} says otherwise")
            self.leaves.pop()
        self.count["events"] += 1
        self.count["newer"] += leaf >= self.held[0]

    def on_payload(self, text):
        ref, data = text.decode().split()
        found = hmac.digest(base64.b64decode(self.run["salt"]), base64.b64decode(data, validate=True), "sha256")
        need(base64.urlsafe_b64encode(found).decode() == ref + "=", f"{self.name}s: payload {ref} was changed")
        self.refs.remove(ref)
        self.count["payloads"] += 1

    def close(self):
        gone = " (pruned, says the operator: see --pruned)" * self.run["pruned"]
        need(not self.leaves or (gone and self.options.pruned), f"{self.name} {self.seq + 1} is missing{gone}")
        need(len(self.refs) == self.run["erased"], f"{self.name}s: a payload is missing")
        self.count["erased"], self.refs = self.count["erased"] + len(self.refs), set()

    def on_end(self, text):
        self.close()
        since, until = self.about["since"], self.about["until"]
        need(self.size == self.final[0], "the log is cut off")
        if since is None:
            need(self.options.newer or not self.count["newer"], "there are events newer than your checkpoint: --newer")
        else:
            need(self.hidden == self.first[0] and (not self.hidden or self.first[1] < since), "the period is not whole")
        for run in self.chains.keys() - self.done:
            inside = since is None or not run or since <= (uuid.UUID(run).int >> 80) * 1000 < until
            need(not inside, f"run {run} is missing: the log has it" if run else "the actions are missing")
        said, by = f"penstock.audit.export/v1\n{self.digest.hexdigest()}\n".encode(), bytes.fromhex(text.decode())
        need(by.hex().encode() == text and ed25519.verify(self.keys[-1], said, by), "a line is not what was signed")


def main(argv=None):
    parser, flag = argparse.ArgumentParser(description=__doc__), {"action": "store_true"}
    for name, more in {"export": {}, "key": {}, "--checkpoint": {}, "--newer": flag, "--pruned": flag}.items():
        parser.add_argument(name, **more)
    export, number, word = Export(parser.parse_args(argv)), 0, b""
    try:
        with open(export.options.export, "rb") as file:
            for number, line in enumerate(file, 1):
                word, _, text = line.rstrip(b"\n").partition(b" ")
                if word != b"who":  # who answers for a call, says the operator
                    getattr(export, "on_" + word.decode())(text)
                export.digest.update(line)
        need(word == b"end" and line.endswith(b"\n"), "the export is cut off")
    except Exception as error:
        return f"BAD: {error} (line {number}, after {export.count['events']:,} events that fit)"
    print("ok:", ", ".join(f"{number:,} {what}" for what, number in export.count.items()))


if __name__ == "__main__":
    sys.exit(main())
