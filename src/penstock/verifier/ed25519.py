"""Checks Ed25519 signatures (RFC 8032, 5.1), and signed notes (c2sp.org/signed-note): the other half of `verify.py`."""

import base64
import hashlib

P, Q = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D, ROOT = -121665 * pow(121666, -1, P) % P, pow(2, (P - 1) // 4, P)
Point = tuple[int, int]


def add(a: Point, b: Point) -> Point:
    """The sum of two points of the curve."""
    t, x, y = D * a[0] * a[1] * b[0] * b[1], a[0] * b[1] + a[1] * b[0], a[1] * b[1] + a[0] * b[0]
    return x * pow(1 + t, -1, P) % P, y * pow(1 - t, -1, P) % P


def times(n: int, point: Point) -> Point:
    """A point added to itself."""
    total = (0, 1)
    while n:
        total, point, n = add(total, point) if n & 1 else total, add(point, point), n >> 1
    return total


def decode(data: bytes) -> Point:
    """The point of 32 bytes; ValueError: there is none."""
    sign, y = divmod(int.from_bytes(data, "little"), 1 << 255)
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if x * x % P == square else x * ROOT % P
    if len(data) != 32 or y >= P or x * x % P != square or (sign and not x):
        raise ValueError("a key or a signature is no point of the curve")
    return (x if x & 1 == sign else P - x), y


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature is that key's of that message."""
    if len(signature) != 64 or int.from_bytes(signature[32:], "little") >= Q:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % Q
    left = times(int.from_bytes(signature[32:], "little"), decode(b"\x58" + b"\x66" * 31))
    return left == add(decode(signature[:32]), times(h, decode(public)))


def opened(note: str, name: str, keys: list[bytes]) -> list[str]:
    """The lines of a signed note that one of the keys has signed under that name; ValueError: none has."""
    text, _, signatures = note.rpartition("\n\n")
    for who, data in (line.split(" ")[1:] for line in signatures.splitlines()):
        for key in keys:
            raw, known = base64.b64decode(data, validate=True), hashlib.sha256(name.encode() + b"\n\1" + key).digest()
            if (who, raw[:4]) == (name, known[:4]) and verify(key, text.encode() + b"\n", raw[4:]):
                return text.split("\n")
    raise ValueError(f"a note is not signed with the key of {name!r}: {note[:100]!r}")
