"""Run as a program by root: ``drop_root.py UID GID plain|pass COMMAND…`` becomes COMMAND under that user and group.

With ``pass``, COMMAND keeps the capability to enter folders that are closed to it. Imports nothing but the standard
library, because it runs without site-packages. Ends with 97 and a sentence on stderr when it cannot do its job.
"""

import ctypes
import os
import sys

FAILED = 97

_PR_SET_SECUREBITS = 28
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAPABILITY_VERSION_3 = 0x20080522
# Reading and searching is enough; containers often grant only the wider one.
_CAP_DAC_READ_SEARCH = 2
_CAP_DAC_OVERRIDE = 1


def main(arguments: list[str]) -> int:
    """Become the command; returns only when that failed."""
    uid, gid, mode, *command = arguments
    try:
        if mode == "pass":
            _drop_to(int(uid), int(gid), _capability_to_pass())
        else:
            os.setgroups([])
            os.setgid(int(gid))
            os.setuid(int(uid))
        os.execv(command[0], command)  # noqa: S606 - the command comes from our own caller
    except (OSError, AttributeError) as error:
        print(f"cannot run {command[0]} as user id {uid}: {error}", file=sys.stderr)  # noqa: T201
    return FAILED


def _drop_to(uid: int, gid: int, capability: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    bit = 1 << capability
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    # Effective, permitted, inheritable, for capabilities 0 to 31 and then for 32 to 63.
    data = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
    # Otherwise access(2), by which PostgreSQL finds its programs, ignores the capabilities of all but root.
    _call(libc, "prctl", _PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    _call(libc, "capset", header, data)
    # Ambient capabilities are the ones that an ordinary program keeps across exec (capabilities(7)).
    _call(libc, "prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0)


def _capability_to_pass() -> int:
    # Asked while still root: afterwards Python's own files may be out of reach.
    permitted = _permitted_capabilities()
    for capability in (_CAP_DAC_READ_SEARCH, _CAP_DAC_OVERRIDE):
        if permitted >> capability & 1:
            return capability
    raise OSError(1, "root lacks the capability to enter folders of others (CAP_DAC_READ_SEARCH)")


def _permitted_capabilities() -> int:
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 - starts faster without pathlib
        for line in status:
            if line.startswith("CapPrm:"):
                return int(line.split()[1], 16)
    return 0


def _call(libc: ctypes.CDLL, name: str, *arguments: object) -> None:
    # prctl takes unsigned longs; a bare integer would be passed as an int.
    wide = (ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments)
    if getattr(libc, name)(*wide) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
