"""Reads a YAML file of a configuration: safe, bounded, no key twice."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from assay.foundation.errors import ConfigError
from assay.foundation.sources import Source
from assay.plan.layers import Layers

# Values in one file, and how deep they may lie in each other; the largest catalogue has thousands.
_MOST, _DEEPEST = 100_000, 50


def read(path: Path, layers: Layers) -> Source:
    """What a YAML file says; an empty one says nothing."""
    shown, content = layers.shown_path(path), b""
    try:
        content = path.read_bytes()
        # Bytes, because YAML itself says how it is encoded: UTF-8 or UTF-16, with a mark or not.
        value = yaml.load(content, Loader=_Loader)
    except OSError as error:
        raise ConfigError(
            f"the file cannot be read ({error.strerror})",
            where=shown,
            remedy="put a readable file there, or take it away",
        ) from error
    except yaml.reader.ReaderError as error:
        raise ConfigError(
            f"is not a text file ({error.reason})", where=shown, remedy="save it as UTF-8"
        ) from error
    except yaml.MarkedYAMLError as error:
        number = error.problem_mark.line
        line = content.splitlines()[number : number + 1]
        raise ConfigError(
            f"is not valid YAML, line {number + 1} ({error.problem})",
            where=shown,
            remedy="indent with spaces, not with tabs" if b"\t" in b"".join(line) else None,
        ) from error
    except (ValueError, RecursionError) as error:  # a date of month 99; thousands of brackets
        raise ConfigError(f"is not valid YAML ({error})", where=shown) from error
    if not _is_bounded(value):
        raise ConfigError(
            f"holds more than {_MOST:,} values, or lists in lists {_DEEPEST} deep",
            where=shown,
            remedy="an alias (*name) must not multiply what it stands for, or stand for itself",
        )
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise ConfigError(
            "must hold a mapping of keys to values", where=shown, remedy="write lines 'key: value'"
        )
    return Source(shown, (), value)


def _is_bounded(value: Any) -> bool:
    """Whether a file's values can be gone through; aliases make endless ones of a few lines."""
    waiting, found = [(value, 0)], 0
    while waiting:
        part, depth = waiting.pop()
        found += 1
        if found > _MOST or depth > _DEEPEST:
            return False
        inner = part.values() if isinstance(part, dict) else part
        if isinstance(part, dict | list):
            waiting += [(item, depth + 1) for item in inner]
    return True


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """A safe loader that refuses a key written twice instead of dropping the first."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key must be a single word", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key}' appears twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)
