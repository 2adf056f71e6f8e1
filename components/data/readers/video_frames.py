"""Videos as pictures: folders of frames, animated GIF, WebP, PNG or TIFF, and motion-JPEG AVI; every n-th frame.

Other video files need a codec that this project does not carry: they are `video_codec_missing`, and the
rejection's hint is the command that turns one into a folder of frames. A video is one study.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image, ImageSequence
from pydantic import Field, model_validator

from components.data.card import Card
from components.data.faults import Refused
from components.data.image import decoding, store
from components.data.path_classes import PathClasses, labels_of_path
from components.data.paths import find_all
from components.data.pictures import PictureOptions, finish_pictures, open_picture
from components.data.reading import UNREADABLE, Draft, ReadContext, Rejection, parse_options, reason_of
from components.data.segments import SegmentTable, Timeline, read_timeline
from components.records import Record
from components.settings import Positive, Words

VERSION = 1
PORTIONS = True
ANIMATED = (".gif", ".webp", ".png", ".apng", ".tif", ".tiff")
LARGEST_CHUNK = 64 << 20
Array = np.ndarray[Any, Any]


class Options(PictureOptions, PathClasses):
    """Where videos or folders of frames lie, which frames are taken, and how a path tells the class."""

    videos: Words = Field(default=(), description="globs of video files")
    frames: Words = Field(default=(), description="globs of frames; those of one folder are a video")
    every: Positive = Field(default=1, description="take every n-th frame")
    start: int = Field(default=0, ge=0, description="number of the first frame to take")
    most: int = Field(default=0, ge=0, description="at most so many frames of a video; 0 is all")
    segments: SegmentTable | None = Field(default=None, description="a table a video: what which frames show")

    @model_validator(mode="after")
    def _has_a_place(self) -> Options:
        if not self.videos and not self.frames:
            raise ValueError("give `videos` or `frames`")
        return self

    def takes(self, number: int) -> bool:
        """Tell whether a frame is taken, by its number from 0."""
        place, rest = divmod(number - self.start, self.every)
        return number >= self.start and not rest and (not self.most or place < self.most)


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield the taken frames, folder by folder, then video by video."""
    options = parse_options(Options, card)
    drafts = _drafts(root, card, options, context)
    yield from finish_pictures(drafts, root, card, options, context)


def _drafts(root: Path, card: Card, options: Options, context: ReadContext) -> Iterator[Draft | Rejection]:
    folders: dict[str, list[tuple[Path, str]]] = {}
    for path, relative in find_all(root, options.frames, options.skip):
        folders.setdefault(PurePosixPath(relative).parent.as_posix(), []).append((path, relative))
    max_side = context.max_side
    for folder, frames in folders.items():
        if not context.takes(folder, (relative for _, relative in frames)):
            continue
        yield from _labelled(root, folder, _read_folder(folder, frames, card, options, max_side), card, options)
    for path, relative in find_all(root, options.videos, options.skip):
        if not context.takes(relative):
            continue
        yield from _labelled(root, relative, _read_video(path, relative, card, options, max_side), card, options)


def _labelled(
    root: Path, video: str, drafts: Iterator[Draft | Rejection], card: Card, options: Options
) -> Iterator[Draft | Rejection]:
    """Add what the video's table says of each frame; a video whose table is absent is refused whole."""
    if options.segments is None:
        yield from drafts
        return
    try:
        timeline, refused = read_timeline(root, video, options.segments, card)
    except Refused as error:
        yield Rejection(video, error.reason)
        return
    yield from refused
    for draft in drafts:
        yield draft if isinstance(draft, Rejection) else _at_its_frame(draft, timeline)


def _at_its_frame(draft: Draft, timeline: Timeline) -> Draft:
    shown, absent = timeline.at(int(dict(draft.facts)["frame"]))
    shown |= set(draft.labels)
    absent = (absent | set(draft.absent_labels)) - shown
    return replace(draft, labels=tuple(sorted(shown)), absent_labels=tuple(sorted(absent)))


def _read_folder(
    folder: str, frames: list[tuple[Path, str]], card: Card, options: Options, max_side: int
) -> Iterator[Draft | Rejection]:
    for number, (path, relative) in enumerate(sorted(frames, key=lambda frame: by_number(frame[1]))):
        if options.takes(number):
            yield _read_frame(path, relative, (folder, number), card, options, max_side)


def by_number(name: str) -> tuple[list[int | str], str]:
    """Sort key that puts frame_2 before frame_10."""
    parts = re.split(r"(\d+)", name)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name


def _read_frame(
    path: Path, relative: str, place: tuple[str, int], card: Card, options: Options, max_side: int
) -> Draft | Rejection:
    try:
        labels, absent = labels_of_path(relative, card, options)
        pixels, window = open_picture(path, options.deep_window)
    except UNREADABLE as error:
        return Rejection(relative, reason_of(error))
    return Draft(
        relative, store(pixels, max_side), study=place[0], labels=labels, absent_labels=absent, window=window,
        facts=(("frame", str(place[1])),),
    )  # fmt: skip


def _read_video(
    path: Path, relative: str, card: Card, options: Options, max_side: int
) -> Iterator[Draft | Rejection]:
    try:
        labels, absent = labels_of_path(relative, card, options)
        for number, pixels in _frames(path, options):
            yield Draft(
                relative, store(pixels, max_side), part=f"frame/{number:06d}", study=relative, labels=labels,
                absent_labels=absent, window="stored", facts=(("frame", str(number)),),
            )  # fmt: skip
    except UNREADABLE as error:
        reason = reason_of(error)
        hint = f"ffmpeg -i {path.name} {path.stem}/%06d.png, then options: frames"
        yield Rejection(relative, reason, hint if reason == "video_codec_missing" else "")


def _frames(path: Path, options: Options) -> Iterator[tuple[int, Array]]:
    """Yield (number, 8-bit pixels) of the taken frames; Refused: `video_codec_missing`, `file_truncated`, …"""
    ending = path.suffix.lower()
    if ending not in (*ANIMATED, ".avi"):
        raise Refused("video_codec_missing", path.name)
    shown = _animation(path) if ending in ANIMATED else _motion_jpeg(path)
    with decoding(path):
        for number, frame in enumerate(shown):
            if options.takes(number):
                yield number, np.asarray(frame.convert("L" if frame.mode in ("1", "L") else "RGB"))


def _animation(path: Path) -> Iterator[Image.Image]:
    if path.suffix.lower() == ".gif":
        _check_gif_ends(path)
    with Image.open(path) as video:
        yield from ImageSequence.Iterator(video)


def _check_gif_ends(path: Path) -> None:
    """Pillow takes a GIF that is cut between two frames for a shorter one; its last byte is ";"."""
    with path.open("rb") as handle:
        handle.seek(-min(64, path.stat().st_size), io.SEEK_END)
        if not handle.read().rstrip(b"\0\r\n").endswith(b";"):
            raise Refused("file_truncated", path.name)


def _motion_jpeg(path: Path) -> Iterator[Image.Image]:
    for content in jpeg_chunks(path):
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as frame:
            yield frame


def jpeg_chunks(path: Path) -> Iterator[bytes]:
    """Yield the JPEG files inside a motion-JPEG AVI, in order (Microsoft's AVI RIFF File Reference).

    Raises Refused: `file_unreadable` when it is no AVI, `video_codec_missing` when its frames are not JPEG,
    `file_truncated`.
    """
    with path.open("rb") as handle:
        start = handle.read(12)
        if start[:4] != b"RIFF" or start[8:] != b"AVI ":
            raise Refused("file_unreadable", f"{path.name} is no AVI")
        while len(header := handle.read(8)) == 8:
            kind, size = header[:4], int.from_bytes(header[4:], "little")
            if kind in (b"RIFF", b"LIST"):
                handle.seek(4, io.SEEK_CUR)
            elif kind[2:] in (b"dc", b"db") and size:
                yield _jpeg(handle.read(min(size, LARGEST_CHUNK)), size)
                handle.seek(size % 2, io.SEEK_CUR)
            else:
                handle.seek(size + size % 2, io.SEEK_CUR)
    if path.stat().st_size < int.from_bytes(start[4:8], "little"):
        raise Refused("file_truncated", path.name)


def _jpeg(content: bytes, size: int) -> bytes:
    if len(content) < size:
        raise Refused("file_truncated", "a frame is cut short")
    if content[:2] != b"\xff\xd8":
        raise Refused("video_codec_missing", "its frames are not JPEG")
    return content
