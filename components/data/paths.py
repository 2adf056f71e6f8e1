"""How a card says where a file lies: templates filled from another file's path or from a table's row.

A template is a path inside the source with names in braces, such as `{parent}/masks/{stem}_*.png`. What fills
it comes from the data, so the result may neither be absolute nor climb: that is `path_escapes_source`.
"""

from __future__ import annotations

import fnmatch
import glob
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from components.data.faults import Refused
from components.data.reading import find_files, name_of, resolve_inside
from components.errors import CardInvalid, DataError

FIELD = re.compile(r"\{([^{}]+)\}")
PATH_FIELDS = ("folder", "parent", "stem", "name", "suffix")


def fields_of_path(relative: str, pattern: str = "") -> dict[str, str]:
    """Return what a template may name of a picture's path, and the named groups of `pattern` over it.

    `folder` holds the file, `parent` holds that folder; `stem`, `name` and `suffix` are the file's. Raises
    Refused (`path_not_in_pattern`) when the pattern is not found.
    """
    path = PurePosixPath(relative)
    known = {
        "folder": path.parent.as_posix(), "parent": path.parent.parent.as_posix(),
        "stem": path.stem, "name": path.name, "suffix": path.suffix,
    }  # fmt: skip
    if not pattern:
        return known
    match = re.search(pattern, relative)
    if match is None:
        raise Refused("path_not_in_pattern", relative)
    return {**known, **{name: value or "" for name, value in match.groupdict().items()}}


def check_template(template: str, known: Iterable[str], *, where: str) -> None:
    """Raise CardInvalid when a template names something that nothing fills."""
    missing = sorted(set(FIELD.findall(template)) - set(known))
    if missing:
        raise CardInvalid(
            f"template {template!r} names {', '.join(missing)}; known are {', '.join(sorted(known))}",
            where=where, fix="gmai sources",
        )  # fmt: skip


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put values into a template; unlike `str.format`, a name in braces is only ever a name."""
    return FIELD.sub(lambda match: values[match[1]], template)


def locate(root: Path, template: str, values: Mapping[str, str]) -> list[Path]:
    """List the files that a filled template names, in name order; without `*` in it, at most one.

    Raises Refused: `path_escapes_source` for an absolute path, `..` or a link that leads out, `link_cyclic`.
    """
    is_glob = "*" in template
    relative = fill(template, {key: glob.escape(value) for key, value in values.items()} if is_glob else values)
    check_stays(relative)
    found = sorted(root.glob(relative)) if is_glob else [root / relative]
    try:
        inside = [resolve_inside(root, path.relative_to(root).as_posix()) for path in found]
    except DataError as error:
        raise Refused(name_of(error), relative) from error
    return [path for path in inside if path.is_file()]


def locate_one(root: Path, template: str, values: Mapping[str, str]) -> Path:
    """Return the one file that a template names; Refused: `file_missing`, `file_ambiguous`."""
    found = locate(root, template, values)
    if not found:
        raise Refused("file_missing", fill(template, values))
    if len(found) > 1:
        raise Refused("file_ambiguous", fill(template, values))
    return found[0]


def check_stays(relative: str) -> None:
    """Raise Refused (`path_escapes_source`) for a path that is absolute, climbs, or holds a NUL byte."""
    path = PurePosixPath(relative.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\0" in relative or re.match(r"[A-Za-z]:", relative):
        raise Refused("path_escapes_source", relative)


def find_all(root: Path, patterns: Sequence[str], skip: Sequence[str] = ()) -> list[tuple[Path, str]]:
    """List (path, path inside the source) of the files of several globs, each once, in name order.

    Raises DatasetMissing for a glob without any file.
    """
    found: dict[str, Path] = {}
    for pattern in patterns:
        found.update((path.relative_to(root).as_posix(), path) for path in find_files(root, pattern))
    return [(found[name], name) for name in sorted(found) if not is_named(name, skip)]


def is_named(relative: str, patterns: Iterable[str]) -> bool:
    """Tell whether one of the globs matches the path inside the source (`*` crosses folders here)."""
    return any(fnmatch.fnmatchcase(relative, pattern) for pattern in patterns)
