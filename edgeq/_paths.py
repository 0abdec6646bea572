"""Where EdgeQ keeps its things. Only `writable_home` creates a folder; else whoever writes does."""

import os
import tempfile
from pathlib import Path

import platformdirs

from ._errors import StoreError, UnsupportedError

_PACKAGE = Path(__file__).resolve().parent


def home() -> Path:
    """$EDGEQ_HOME, or the platform's folder for user data."""
    if chosen := os.environ.get("EDGEQ_HOME"):
        return Path(chosen).expanduser().absolute()
    return platformdirs.user_data_path("edgeq", appauthor=False)


def writable_home() -> Path:
    """`home()`, made if it is missing: to be asked before long work whose result belongs there.

    raises  StoreError when it cannot be made or written
    """
    folder = home()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        why = "not a folder" if folder.exists() and not folder.is_dir() else error.strerror
        raise StoreError(f"EDGEQ_HOME: {folder} cannot be written: {why}; set EDGEQ_HOME to another folder") from None


def cache() -> Path:
    """Packages pulled from the Hub; safe to delete."""
    return home() / "cache"


def data() -> Path:
    """Data sets."""
    return home() / "data"


def keys() -> Path:
    """Private signing keys."""
    return home() / "keys"


def trusted() -> Path:
    """Public keys whose packages are accepted, beside the ones shipped with EdgeQ."""
    return home() / "trusted"


def shipped_keys() -> Path:
    """Public keys that come with EdgeQ: its own zoo's."""
    return _PACKAGE / "trusted"


def store() -> Path:
    """The results store."""
    return home() / "results.db"


def bundled_zoo() -> Path | None:
    """The starter zoo: inside an installed EdgeQ, or beside the sources in a checkout; None if there is none."""
    checkout = _PACKAGE.parent
    if (installed := _PACKAGE / "_zoo").is_dir():
        return installed
    if (checkout / "pyproject.toml").is_file() and (checkout / "zoo").is_dir():
        return checkout / "zoo"
    return None


def runtime() -> Path:
    """The C sources that firmware is built from: inside an installed EdgeQ, or beside the sources in a checkout.

    raises  UnsupportedError when they are not there
    """
    for folder in (_PACKAGE / "_runtime", _PACKAGE.parent / "runtime"):
        if (folder / "micro").is_dir():
            return folder
    raise UnsupportedError(f"the C sources of the runtime are not in {_PACKAGE}: reinstall EdgeQ")


def native(name: str, variable: str) -> Path:
    """A native file of EdgeQ: the one that the environment variable names, else the installed `edgeq/_lib/NAME`.

    raises  UnsupportedError when it is not there
    """
    if chosen := os.environ.get(variable):
        if (file := Path(chosen)).is_file():
            return file
        raise UnsupportedError(f"{variable}: {chosen} is not a file")
    import edgeq

    for folder in edgeq.__path__:  # an editable installation has two
        if (file := Path(folder) / "_lib" / name).is_file():
            return file
    raise UnsupportedError(f"{name} is not installed; build it with `pip install .`, or set {variable} to its path")
