"""JSON from strangers: one meaning per text, or an error."""

import json

from ._errors import FormatError


def canonical(value: object) -> bytes:
    """The one spelling of a value: sorted keys, no blanks, ASCII. Raises ValueError for NaN and infinities."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def parse(raw: bytes, where: str) -> dict[str, object]:
    """Parse a JSON object; `where` names the file in messages.

    raises  FormatError for anything that two parsers could read differently: bytes that are not UTF-8, a key given
            twice, NaN or Infinity, nesting deeper than the parser can go
    """
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise FormatError(f"{where}: byte {error.start} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise FormatError(f"{where}: not JSON: {error.msg} at byte {error.pos}") from None
    except RecursionError:
        raise FormatError(f"{where}: nested too deeply") from None
    except ValueError as error:
        raise FormatError(f"{where}: {error}") from None
    if not isinstance(value, dict):
        raise FormatError(f"{where}: a JSON {type(value).__name__}, expected an object")
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    seen: dict[str, object] = {}
    for key, value in pairs:
        if key in seen:
            raise ValueError(f"key {key!r} is given twice")
        seen[key] = value
    return seen


def _refuse_constant(text: str) -> object:
    raise ValueError(f"{text} is not JSON")
