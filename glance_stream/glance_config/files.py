"""Which files make up a Glance configuration, in the order in which later ones win."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from glance_stream.errors import InvalidRequest

# glance/common/wsgi_app.py CONFIG_FILES: the last one wins.
OF_A_DIRECTORY = ("glance-image-import.conf", "glance-api.conf")
# oslo_config.cfg find_config_dirs: read after all files.
PARTS_OF_A_DIRECTORY = ("glance.conf.d", "glance-image-import.conf.d", "glance-api.conf.d")


def find(names: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """The files that are meant by files and directories. A file's ``.d`` directory belongs to it. Raises InvalidRequest."""
    files: list[Path] = []
    parts: list[Path] = []
    for name in names:
        path = Path(os.path.abspath(Path(name).expanduser()))
        try:
            own, more = _of_directory(path) if path.is_dir() else ([path], _parts(path.with_name(f"{path.name}.d")))
        except OSError as error:  # a directory on the way, such as /etc/glance, may be closed to this user
            raise _refusal(path, error) from error
        files += own
        parts += more
    found = list(dict.fromkeys([*files, *parts]))
    for file in found:
        _require_readable(file)
    return found


def _of_directory(path: Path) -> tuple[list[Path], list[Path]]:
    files = [path / name for name in OF_A_DIRECTORY if (path / name).exists()]
    parts = [part for name in PARTS_OF_A_DIRECTORY for part in _parts(path / name)]
    if not files and not parts:
        parts = _parts(path)  # as with Glance's own --config-dir
    if not files and not parts:
        raise InvalidRequest(f"configuration {path}: there is neither a glance-api.conf nor any other *.conf in it")
    return files, parts


def _parts(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.iterdir() if path.suffix == ".conf" and not path.name.startswith("."))


def _require_readable(file: Path) -> None:
    try:
        file.read_bytes().decode()
    except OSError as error:
        raise _refusal(file, error) from error
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"configuration {file}: not UTF-8 at byte {error.start}") from error


def _refusal(path: Path, error: OSError) -> InvalidRequest:
    todo = "name another with --glance-config"
    if isinstance(error, PermissionError):
        todo = "run as a user that may read it, such as glance's own, or let its group read it"
    return InvalidRequest(f"configuration {path}: {error.strerror}; {todo}")
