"""Path templates: which files of a source are cases, and which other files belong to each.

A template is a path inside the source with named pieces: `imagesTr/{case}_0000.nii.gz`. A `{name}` is one or
more characters of one path piece, `{name:REGEX}` restricts it (no braces in REGEX), a name used twice must
say the same twice; `*` and `?` are as in a shell, `**/` is any number of folders. Links are not followed: a
link to a folder is a counted rejection (`link_cyclic`, `link_repeated`, `link_leaves_source`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from components.data.reading import Rejection
from components.errors import CardInvalid

NAMED = re.compile(r"\{(\w+)(?::[^{}]+)?\}")
PIECE = re.compile(r"\{(\w+)(?::([^{}]+))?\}|(\*\*/)|(\*)|(\?)|([^{*?]+)|(.)", re.DOTALL)


@dataclass(frozen=True)
class SourceTree:
    """Every file below a source's root: paths relative to it, in name order, and the links refused."""

    root: Path
    files: tuple[str, ...]
    refused: tuple[Rejection, ...]

    @cached_property
    def folders(self) -> Mapping[str, tuple[str, ...]]:
        """Each folder's own files ("" is the root)."""
        found: dict[str, list[str]] = {}
        for file in self.files:
            found.setdefault(file.rpartition("/")[0], []).append(file)
        return {folder: tuple(files) for folder, files in found.items()}

    def path(self, relative: str) -> Path:
        """Return where a file of the tree lies."""
        return self.root / relative

    def match(self, template: str, known: Mapping[str, str] | None = None) -> Iterator[tuple[str, dict[str, str]]]:
        """Yield the files that a template matches, in name order, with what its names stand for.

        `known` names are taken literally.
        """
        known = known or {}
        pattern = compile_template(template, known)
        folder = _plain_folder(template, known)
        for file in self.files if folder is None else self.folders.get(folder, ()):
            found = pattern.fullmatch(file)
            if found:
                yield file, {**known, **found.groupdict()}


def list_files(root: Path) -> SourceTree:
    """Walk a source once, without following links to folders; files whose link leaves the root are refused."""
    files: list[str] = []
    refused: list[Rejection] = []
    inside = root.resolve()
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        linked = [here / name for name in folders if (here / name).is_symlink()]
        linked += [here / name for name in names if (here / name).is_symlink()]
        reasons = {path.name: _fault_of_link(path, inside) for path in linked}
        refused += [Rejection(_relative(here / name, root), why) for name, why in reasons.items() if why]
        files += [_relative(here / name, root) for name in names if not reasons.get(name)]
    return SourceTree(root, tuple(sorted(files)), tuple(sorted(refused, key=lambda rejection: rejection.where)))


def _fault_of_link(path: Path, root: Path) -> str:
    try:
        target = path.resolve(strict=True)
    except FileNotFoundError:
        return "file_missing"
    except (OSError, RuntimeError):  # Python before 3.13 tells a loop by a RuntimeError
        return "link_cyclic"
    if not target.is_relative_to(root):
        return "link_leaves_source"
    if target.is_file():
        return ""
    return "link_cyclic" if path.parent.resolve().is_relative_to(target) else "link_repeated"


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def compile_template(template: str, known: Mapping[str, str]) -> re.Pattern[str]:
    """Turn a template into the regular expression of the whole path; CardInvalid when it is none."""
    check_inside(template)
    written, seen = "", set[str]()
    for found in PIECE.finditer(template):
        name, restriction, deep, star, one, text, stray = found.groups()
        if stray:
            raise CardInvalid(
                f"stray {stray!r} in path template", where=template, fix="write {name} or {name:REGEX}"
            )
        if name in known:
            written += re.escape(known[name])
        elif name:
            written += f"(?P={name})" if name in seen else f"(?P<{name}>{restriction or '[^/]+'})"
            seen.add(name)
        else:
            written += "(?:.*/)?" if deep else "[^/]*" if star else "[^/]" if one else re.escape(text)
    try:
        return re.compile(written.removeprefix("/"))
    except re.error as error:
        raise CardInvalid(f"not a path template: {error}", where=template, fix="mend the card") from error


def _plain_folder(template: str, known: Mapping[str, str]) -> str | None:
    """Return the one folder in which a template's files lie, or None when there may be several."""
    if any(found[1] not in known and "/" in found[0] for found in NAMED.finditer(template)):
        return None  # a restriction that spans folders
    folder = NAMED.sub(lambda found: f"{{{found[1]}}}", template).rpartition("/")[0]
    names = [found[1] for found in NAMED.finditer(folder)]
    if any(name not in known for name in names) or re.search(r"[*?]", NAMED.sub("", folder)):
        return None
    return NAMED.sub(lambda found: known[found[1]], folder).strip("/")


def check_inside(template: str) -> None:
    """Raise CardInvalid when a template is absolute or climbs out of its source."""
    path = PurePosixPath(template)
    if path.is_absolute() or ".." in path.parts:
        raise CardInvalid(
            f"path leaves its source: {template!r}", where="card", fix="paths are relative to the source"
        )


def fill(template: str, known: Mapping[str, str]) -> str:
    """Put known names into a template that is words, not a path; CardInvalid for a name it does not know."""
    missing = sorted({found[1] for found in NAMED.finditer(template)} - known.keys())
    if missing:
        raise CardInvalid(f"{missing[0]!r} is captured by no path", where=template, fix=f"one of {sorted(known)}")
    return NAMED.sub(lambda found: known[found[1]], template)


def names_of(file: str, captured: Mapping[str, str]) -> dict[str, str]:
    """Add `folder` and `stem` (the name up to its first dot) of a file to what its template captured."""
    folder, _, name = file.rpartition("/")
    return {"folder": folder, "stem": name.split(".", maxsplit=1)[0], **captured}
