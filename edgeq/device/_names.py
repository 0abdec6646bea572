"""What `-d` takes: a URL, a name of the user's own, or a word that fits one device within reach."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Sequence

from edgeq import _paths
from edgeq._errors import UsageError

from .records import Found

_SHORTEST = 3  # characters of a word


def named() -> dict[str, str]:
    """Name to URL, from `devices.toml` in the EdgeQ home:

        [devices]
        pi = "ssh://pi@raspberrypi.local"

    raises  UsageError when the file says something else
    """
    path = _paths.home() / "devices.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("devices", {})
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: {' '.join(str(error).split())}") from error
    if not isinstance(table, dict) or not all(isinstance(url, str) and ":" in url for url in table.values()):
        raise UsageError(f'{path}: expected lines like pi = "ssh://pi@raspberrypi.local" under [devices]')
    return table


def resolve(text: str, schemes: Sequence[str], discover: Callable[[str], list[Found]]) -> str:
    """The URL that a word means.

    text      a URL (left as it is), a scheme alone ("adb"), a name of devices.toml, part of a device's URL or detail;
              where a scheme finds nothing, its transport says what is missing
    discover  with a scheme or ""; called only when that needs it
    raises    UsageError when nothing fits, or several devices do: it lists them
    """
    names = named()
    if text in names:
        return names[text]
    scheme = re.match(r"([a-z][a-z0-9]*)(:.*)?$", text, re.DOTALL)
    is_scheme = scheme is not None and scheme[1] in schemes
    if scheme and is_scheme and (scheme[1] == "local" or (scheme[2] or ":") != ":"):
        return text
    if scheme and is_scheme:
        within = [found for found in discover(scheme[1]) if found.url.startswith(f"{scheme[1]}:")]
    else:
        within = [found for found in discover("") if _fits(found, text)] if len(text) >= _SHORTEST else []
    ready = [found for found in within if found.state == "ready"] or within
    if len(ready) == 1:
        return ready[0].url
    if ready:
        listed = ", ".join(f"{found.name} ({found.url})" if found.name else found.url for found in ready)
        raise UsageError(f'"{text}" fits several devices: {listed}; name one with -d')
    if scheme and is_scheme:
        return f"{scheme[1]}:"
    close = difflib.get_close_matches(text, [*schemes, *names], n=1)
    own = f"; of your own: {', '.join(names)}" if names else ""
    own += f"; did you mean {close[0]}?" if close else "; edgeq devices lists what is there"
    raise UsageError(f'no transport for device "{text}"; there are: {", ".join(schemes)}{own}')


def _fits(found: Found, text: str) -> bool:
    """Part of its name, URL or detail; this machine only goes by its own word."""
    return found.url != "local" and text.casefold() in f"{found.name} {found.url} {found.detail}".casefold()
