"""Reports (findings, impression) and their images, in three published layouts.

`open_i`: the Indiana University chest X-rays, an XML file a study beside PNG files. `mimic_cxr`: text files in
`files/p10/p10000032/s50414267.txt` with a folder of images beside each, and the split and metadata tables.
`table`: rows with a report, such as R2Gen's `annotation.json` (IU X-ray and MIMIC-CXR) or a CSV with columns of
findings and impression. A report of several images is one record that names them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.data.card import Card
from components.data.faults import Refused
from components.data.mimic_studies import MimicStudies, iterate_studies
from components.data.open_i_xml import OpenIReport, read_report
from components.data.picture_files import read_picture
from components.data.reading import ReadContext, Rejection, find_files, parse_options
from components.data.report_text import join_sections, one_line, part_report
from components.data.row_files import Row, iterate_tables, value_at
from components.data.row_mapping import (
    RowMapping,
    Statement,
    add_words,
    check_path,
    is_chinese,
    plain_text,
    state_row,
)
from components.data.text_records import join_images
from components.records import Record
from components.settings import Frozen, Words

VERSION = 1
PORTIONS = True
Images = Literal["together", "first", "each"]
Statements = Iterator[Statement | Rejection]
SINGLE_IMAGE = Field(
    default="together", description="a report's images in one record, its first image alone, or the report at each"
)


class OpenI(Frozen):
    """The Indiana University chest X-rays as Open-i publishes them."""

    layout: Literal["open_i"]
    reports: str = Field(default="ecgen-radiology/*.xml", description="glob of the reports")
    image: str = Field(default="NLMCXR_png/{id}.png", description="path of the image with this id")
    archives: Words = Field(default=(), description="globs of zip and tar files that hold the images")
    images: Images = SINGLE_IMAGE
    mesh_labels: bool = Field(default=False, description="take MeSH major terms as labels, those of the label_map")


class MimicCxr(MimicStudies):
    """MIMIC-CXR-JPG with the reports of MIMIC-CXR."""

    layout: Literal["mimic_cxr"]
    images: Images = SINGLE_IMAGE
    archives: Words = Field(default=(), description="globs of zip and tar files that hold the images")


class ReportTable(RowMapping):
    """Rows with a report as one text, or as findings and impression."""

    layout: Literal["table"]
    image: str = Field(min_length=1, description='path of the image or images: "images/{image_path}"')
    report: str = Field(default="", description="column of the whole report")
    findings: str = Field(default="", description="column of the findings")
    impression: str = Field(default="", description="column of the impression")
    images: Images = SINGLE_IMAGE

    @model_validator(mode="after")
    def _one_way(self) -> ReportTable:
        if bool(self.report) == bool(self.findings or self.impression):
            raise ValueError("name either `report`, or `findings` and `impression`")
        return self


class Options(Frozen):
    """Which of the layouts it is, and its names."""

    published: Annotated[OpenI | MimicCxr | ReportTable, Field(discriminator="layout")]


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield the images' records, then a record a report of several images."""
    published = parse_options(Options, card).published
    if isinstance(published, OpenI):
        statements = _open_i(root, published, card)
    elif isinstance(published, MimicCxr):
        statements = _mimic(root, published)
    else:
        statements = _table(root, published, card)
    arranged = (one for said in statements for one in _arrange(said, published.images))
    yield from join_images(arranged, root, card, context, archives=published.archives)


def _arrange(said: Statement | Rejection, images: Images) -> Statements:
    if isinstance(said, Rejection) or (images == "together" and len(said.images) > 1):
        yield said
        return
    for index in range(1 if images == "first" else len(said.images)):
        yield said.only(index)


def _open_i(root: Path, published: OpenI, card: Card) -> Statements:
    for path in find_files(root, published.reports):
        where = path.relative_to(root).as_posix()
        try:
            report = read_report(path)
            paths = tuple(check_path(published.image.replace("{id}", name)) for name in report.images)
        except Refused as fault:
            yield Rejection(where, fault.reason)
            continue
        reason = "report_without_image" if not paths else "" if report.sections else "text_empty"
        text = join_sections(report.sections)
        labels = _mesh(report, card) if published.mesh_labels else ()
        yield Rejection(where, reason) if reason else Statement(
            where=where, id=report.name, images=paths, text=text, text_kind="report", patient=report.name,
            study=report.name, labels=labels,
        )  # fmt: skip


def _mesh(report: OpenIReport, card: Card) -> tuple[str, ...]:
    terms = [card.term(term) for term in report.terms]
    return tuple(sorted({term.label for term in terms if term is not None and term.label}))


def _mimic(root: Path, published: MimicCxr) -> Statements:
    for study in iterate_studies(root, published):
        if isinstance(study, Rejection):
            yield study
            continue
        try:
            sections = part_report(read_picture(root, study.report).decode())
        except (Refused, UnicodeDecodeError) as fault:
            yield Rejection(study.report, fault.reason if isinstance(fault, Refused) else "text_not_unicode")
            continue
        yield Statement(
            where=study.report, images=study.images, text=join_sections(sections), text_kind="report",
            patient=study.subject, study=study.study, split=study.split, views=study.views,
        ) if sections else Rejection(study.report, "report_without_sections")  # fmt: skip


def _table(root: Path, published: ReportTable, card: Card) -> Statements:
    named = (published.report, published.findings, published.impression)
    needed = (*published.columns(), *(name for name in named if name))
    for row in iterate_tables(root, published.tables, needed=needed):
        yield row if isinstance(row, Rejection) else _table_row(row, published, card)


def _table_row(row: Row, published: ReportTable, card: Card) -> Statement | Rejection:
    def say(statement: Statement) -> tuple[Statement, str]:
        text = _text(row, published)
        return replace(statement, text=text, text_kind="report"), text

    return add_words(state_row(row, published, card), say)


def _text(row: Row, published: ReportTable) -> str:
    if published.report:
        return plain_text(value_at(row.values, published.report), fault="text_not_text")
    columns = {"findings": published.findings, "impression": published.impression}
    sections = {
        name: one_line(plain_text(value_at(row.values, column), fault="text_not_text"))
        for name, column in columns.items()
        if column
    }
    return join_sections(sections, language="zh" if is_chinese("".join(sections.values())) else "en")
