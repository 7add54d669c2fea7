"""A policy in a file, or in the YAML files of a folder."""

from collections.abc import Mapping
from pathlib import Path

from penstock.kernel.errors import PolicyInvalid
from penstock.ports.policies import Stamp

FILES_MAX = 200
BYTES_MAX = 4 * 1024 * 1024
ENDINGS = (".yaml", ".yml")


class PolicyFiles:
    """One file, or the ``*.yaml`` files of one folder; not those of folders in it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def place(self) -> str:
        return str(self.path)

    def stamp(self) -> Stamp:
        """Also the folder's own: a file that was taken away changes it."""
        found = []
        try:
            for path in (self.path, *self._files()):
                about = path.stat()
                found.append((path.name, about.st_mtime_ns, about.st_size if path.is_file() else 0, about.st_ino))
        except OSError:
            return ()
        return tuple(found)

    def read(self) -> Mapping[str, str]:
        """The texts by name.

        Raises:
            PolicyInvalid: see `PolicySource`.
        """
        try:
            files = self._files()
            if len(files) > FILES_MAX:
                raise PolicyInvalid(f"{self.path} has {len(files):,} files; the bound is {FILES_MAX}")
            data = {path.name: path.read_bytes() for path in files}
        except OSError as error:
            hint = "PENSTOCK_POLICY names a file, or a folder of *.yaml files"
            raise PolicyInvalid(f"{self.path} cannot be read: {error.strerror or error}", hint=hint) from error
        if sum(map(len, data.values())) > BYTES_MAX:
            raise PolicyInvalid(f"the files of {self.path} have more than {BYTES_MAX:,} bytes")
        texts = {}
        for name, content in data.items():
            try:
                texts[name] = content.decode("utf-8-sig")
            except UnicodeDecodeError as error:
                line = content[: error.start].count(b"\n") + 1
                raise PolicyInvalid(f"{name}:{line}:1: the file is not UTF-8", hint="save it as UTF-8") from error
        return texts

    def _files(self) -> list[Path]:
        if not self.path.is_dir():
            beside = self.path.with_name(f"{self.path.stem}.test{self.path.suffix}")
            return [self.path, beside] if beside.is_file() else [self.path]
        return sorted(path for path in self.path.iterdir() if path.name.endswith(ENDINGS) and path.is_file())
