"""The embedded server's own settings, each with its reason.

The file is written anew at each start: whoever wants other values runs a server of their own.
"""

from pathlib import Path

PORT = 5432  # only names the socket file: the server listens on no network

_SETTINGS: tuple[tuple[str, str, str], ...] = (
    ("listen_addresses", "", "no network; the socket lies in a folder that only the owner can enter"),
    ("port", str(PORT), "names the socket file"),
    ("unix_socket_permissions", "0700", "a second lock behind the folder's permissions"),
    ("max_connections", "200", "many small Penstock processes share one server"),
    ("fsync", "on", "what was answered as recorded survives a power cut"),
    ("synchronous_commit", "on", "as above; the append function insists on it too"),
    ("full_page_writes", "on", "a torn page is repaired from the log"),
    ("shared_buffers", "256MB", "the hot end of the journal and the queue stay in memory on a small machine"),
    ("wal_buffers", "16MB", "a burst of appends waits for the disk, not for room in memory"),
    ("max_wal_size", "2GB", "checkpoints rarely come early, so pages are rarely logged in full"),
    ("min_wal_size", "256MB", "log files are reused instead of made anew"),
    ("checkpoint_timeout", "15min", "as max_wal_size; crash recovery stays within seconds"),
    ("wal_compression", "off", "with rare checkpoints little is logged in full, and processor time is dearer"),
    ("random_page_cost", "1.1", "solid-state disks"),
    ("jit", "off", "short statements pay more for compiling than they gain"),
    ("max_parallel_workers_per_gather", "0", "parallel scans would take both cores of a small machine from appends"),
    ("max_locks_per_transaction", "256", "some statements touch every partition of the journal"),
    ("autovacuum_naptime", "20s", "the queue's rows change often and must not bloat"),
    ("idle_in_transaction_session_timeout", "30s", "a stopped process must not hold its locks for ever"),
    ("client_connection_check_interval", "2s", "the session of a killed process ends, also in the middle of a wait"),
    ("log_min_messages", "warning", "the log is for trouble"),
    ("log_checkpoints", "off", "as above"),
    ("log_line_prefix", "%m [%p] ", "when and which process"),
    ("timezone", "UTC", "times mean the same everywhere"),
    ("log_timezone", "UTC", "as above"),
)


def render(socket_dir: Path) -> str:
    """The text of ``postgresql.conf`` for a server whose socket is in ``socket_dir``."""
    lines = ["# Written by Penstock at each start of the server; changes here are lost."]
    for name, value, reason in (*_SETTINGS, ("unix_socket_directories", str(socket_dir), "where the socket is")):
        quoted = value.replace("'", "''")
        lines.append(f"{name} = '{quoted}'  # {reason}")
    return "\n".join(lines) + "\n"
