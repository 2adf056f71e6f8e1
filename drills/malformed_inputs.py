"""At least 200 malformed inputs over every reader that has a fake: each gives its reason, or is read by a rule.

Every maker of tests/fakes (a function from a folder to a card) is built once; its files are then spoilt one at a
time in every way that fits their kind (tests/fakes/spoilings.py), and the source is read as ingest would. Each
spoiling says which reasons may refuse it and by which rules it may be read; a rule is checked on the records'
pixels. A try is unnamed when anything else comes of it: another reason or none, an exception that is no
ProjectError, no end in time, a picture from outside the folder, a file written. A file that the source does not
read at all is no try. The peer is the plain library of each format, asked whether it notices by itself.

`python drills/malformed_inputs.py [--seconds 20] [--only NAME]` ends with one JSON line.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import re
import shutil
import signal
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
FILES_OF_A_KIND = 2
OUTSIDE_SIZE = (41, 43)  # of no picture of a fake
# What follows from a refusal elsewhere in the source, beside the reason itself.
CONSEQUENCES = frozenset({
    "image_of_set_refused", "slices_missing", "second_image_missing", "second_text_of_image", "file_missing",
    "image_in_another_split", "row_missing", "row_repeated", "answer_not_among_options", "text_empty",
    "row_length_differs", "split_unknown", "image_not_listed", "label_file_missing", "mask_missing",
    "annotation_missing",
})  # fmt: skip
TARGET = 1.0  # the share of malformed inputs that are named


class TooLong(BaseException):
    """A reader did not end in time; no `except` of a reader catches it."""


@dataclass(frozen=True)
class Outcome:
    """What came of one spoilt file: the reason or rule, and what is wrong with that ("" for nothing)."""

    what: str
    name: str
    wrong: str
    noticed_by_library: bool = False


Read = tuple[list[Any], list[Any]]  # records and rejections


def makers() -> dict[str, Callable[[Path], Any]]:
    """Return every function of tests/fakes that turns a folder into a card, by name."""
    found: dict[str, Callable[[Path], Any]] = {}
    for path in sorted((ROOT / "tests" / "fakes").glob("*.py")):
        if path.stem != "sources" and not path.stem.startswith("formats"):
            continue
        module = importlib.import_module(f"tests.fakes.{path.stem}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            is_maker = name.startswith("make_") and function.__annotations__.get("return") == "Card"
            named = [p for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_KEYWORD]
            required = [parameter for parameter in named if parameter.default is parameter.empty]
            if is_maker and [parameter.name for parameter in required] == ["root"]:
                found[name] = function
    return found


def some_files(root: Path) -> list[Path]:
    """Return at most FILES_OF_A_KIND files of each ending."""
    seen: Counter[str] = Counter()
    chosen = []
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        seen[path.suffix.lower()] += 1
        if seen[path.suffix.lower()] <= FILES_OF_A_KIND:
            chosen.append(path.relative_to(root))
    return chosen


def _raise_too_long(*_: object) -> None:
    raise TooLong


def read_within(root: Path, card: Any, seconds: int) -> Read:
    """Read a source whole, as ingest does; TooLong when it does not end."""
    from tests.fakes.sources import read_all

    signal.signal(signal.SIGALRM, _raise_too_long)
    signal.alarm(seconds)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read_all(root, card)
    finally:
        signal.alarm(0)


def name_of_error(error: Exception) -> str:
    """Return the name with which the message of an error that stops a source begins; its class says less."""
    found = re.match(r"[a-z0-9]+(?:_[a-z0-9]+)+(?=:)", str(error))
    return found[0] if found else ""


@dataclass(frozen=True)
class Trial:
    """A source that was built sound, and one of its files to spoil."""

    name: str
    original: Path
    card: Any
    sound: Read
    relative: Path
    is_named: bool

    def spoilt(self, spoiling: Any, root: Path) -> bool:
        """Copy the source to `root` and spoil the file; False when it stays what it was."""
        shutil.rmtree(root.parent, ignore_errors=True)
        shutil.copytree(self.original, root)
        _write_outside(root.parent)
        path = root / self.relative
        before = path.read_bytes()
        try:
            spoiling.spoil(path)
        except (OSError, ValueError) as error:  # a mask kept as numbers is no picture to save anew
            if path.is_file() and path.read_bytes() == before:
                return False
            raise AssertionError(f"{spoiling.name} of {path}") from error
        return path.is_symlink() or not path.is_file() or path.read_bytes() != before


def _write_outside(folder: Path) -> None:
    from PIL import Image

    from tests.fakes.spoilings import OUTSIDE

    Image.new("L", OUTSIDE_SIZE, 137).save(folder / OUTSIDE)


def verdict(trial: Trial, root: Path, spoiling: Any, seconds: int) -> tuple[str, str]:
    """Read a spoilt source; return (the reason or rule, "") or (what it gave, what is wrong)."""
    from components.errors import ProjectError

    before = listing(root.parent)
    try:
        records, refused = read_within(root, trial.card, seconds)
    except ProjectError as error:
        return judge_reasons({name_of_error(error)}, spoiling)
    except TooLong:
        return "", "hang"
    except BaseException as error:  # noqa: BLE001 - the drill's very purpose is to see what escapes a reader
        if isinstance(error, KeyboardInterrupt):
            raise
        return "", f"crash: {type(error).__name__}: {error}"[:160]
    if listing(root.parent) != before:
        return "", "writes"
    if any(is_outside(record) for record in records):
        return "", "escape"
    new = {one.reason for one in refused if one not in trial.sound[1]}
    return judge_reasons(new, spoiling) if new else judge_records(trial, records, root, spoiling)


def listing(folder: Path) -> list[tuple[str, int]]:
    """Every file below a folder and its size, so that one more is seen."""
    return sorted((path.as_posix(), path.lstat().st_size) for path in folder.rglob("*"))


def is_outside(record: Any) -> bool:
    """Tell whether a record's path climbs, or its picture is the one outside the source."""
    return ".." in record.source_path or (record.width, record.height) == OUTSIDE_SIZE


def judge_reasons(reasons: Iterable[str], spoiling: Any) -> tuple[str, str]:
    """A refusal is right when it is one of the spoiling's own reasons, and all else follows from it."""
    given = set(reasons)
    own = sorted(given & spoiling.reasons)
    rest = sorted(given - spoiling.reasons - CONSEQUENCES)
    if own and not rest:
        return own[0], ""
    return "", f"another reason: {', '.join(rest or sorted(given)) or 'no name'}"


def judge_records(trial: Trial, records: list[Any], root: Path, spoiling: Any) -> tuple[str, str]:
    """A file that nobody refused must be read by one of the spoiling's rules."""
    from tests.fakes.spoilt_reads import Seen

    seen = Seen(root / trial.relative, records, trial.sound[0], trial.is_named)
    rule = next((name for name, check in spoiling.conversions.items() if check(seen)), "")
    if rule:
        return rule, ""
    fewer = len(records) < len(trial.sound[0])
    return "", "silent loss" if fewer else "silent keep"


def is_named(root: Path, relative: Path) -> bool:
    """Tell whether a table or document of the source names a file: only then can it be known to be absent."""
    from tests.fakes.spoilings import TEXTS

    texts = (path for path in root.rglob("*") if path.is_file() and path.suffix.lower() in TEXTS)
    named = relative.stem.encode() if len(relative.stem) > 3 else relative.name.encode()
    return any(named in path.read_bytes() for path in texts if path != root / relative)


def trials(only: str, seconds: int, scratch: Path) -> Iterator[Trial]:
    """Yield every file to spoil: some of each kind of every fake that change something when they are gone."""
    for name, maker in makers().items():
        if only and only != name:
            continue
        original = scratch / "original" / name
        original.mkdir(parents=True)
        card = maker(original)
        sound = read_within(original, card, seconds)
        for relative in some_files(original):
            if is_read(original, card, sound, relative, scratch / "without" / card.name):
                yield Trial(name, original, card, sound, relative, is_named(original, relative))


def is_read(original: Path, card: Any, sound: Read, relative: Path, root: Path) -> bool:
    """Tell whether a source is another without a file."""
    from components.errors import ProjectError

    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(original, root)
    (root / relative).unlink()
    try:
        return read_within(root, card, 20) != sound
    except ProjectError:
        return True


def tries(only: str, seconds: int, scratch: Path) -> Iterator[Outcome]:
    """Yield what came of every spoilt file, one by one."""
    from tests.fakes.library_opens import is_noticed
    from tests.fakes.spoilings import spoilings_of

    for trial in trials(only, seconds, scratch):
        root = scratch / "spoilt" / trial.card.name
        for spoiling in spoilings_of(trial.relative):
            if not trial.spoilt(spoiling, root):
                continue
            name, wrong = verdict(trial, root, spoiling, seconds)
            what = f"{trial.card.reader} {trial.relative.as_posix()} {spoiling.name}"
            yield Outcome(what, name, wrong, is_noticed(root / trial.relative))


def summary(outcomes: Iterable[Outcome]) -> Mapping[str, Any]:
    """Print what went wrong and count the rest."""
    names: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    noticed = 0
    for outcome in outcomes:
        noticed += outcome.noticed_by_library
        if outcome.wrong:
            wrong[outcome.wrong.split(":")[0]] += 1
            print(f"{outcome.what}: {outcome.wrong}", flush=True)
        else:
            names[outcome.name] += 1
    number = names.total() + wrong.total()
    return {
        "name": "malformed_inputs", "tries": number, "unnamed": wrong.total(),
        "by_kind": dict(sorted(wrong.items())), "ratio": names.total() / max(1, number), "target": TARGET,
        "peer": {"share noticed by the plain library": noticed / max(1, number)},
        "reasons": dict(sorted(names.items())),
    }  # fmt: skip


def main() -> None:
    """Run every try, print what went wrong and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=20, help="after which a reader is said to hang")
    parser.add_argument("--only", default="", help="one maker of tests/fakes")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        print(json.dumps(summary(tries(asked.only, asked.seconds, Path(scratch)))))


if __name__ == "__main__":
    main()
