"""Annotated slides: golden tiles for areas and masks, classes, memory by regions, and what is refused."""

import json

import numpy as np
import pytest

from components.data.image import decode
from components.data.masks import decode_runs
from components.data.slides import open_slide
from components.errors import DatasetMissing
from tests.fakes.formats_volumes import (
    EXCLUDED,
    TUMOUR,
    changed,
    make_slides_source,
    tissue,
    write_asap,
    write_slide,
)
from tests.fakes.sources import read_all

XML = "annotations/tumor_001.xml"


def told(refused):
    return [(rejection.where, rejection.reason) for rejection in refused]


def test_a_drawn_tumour_is_a_region_of_its_tiles_without_its_hole(tmp_path):
    records, refused = read_all(tmp_path, make_slides_source(tmp_path))
    assert not refused
    marked = [r for r in records if r.regions]
    assert {r.source_path for r in marked} == {"fake_slides/tumor/tumor_001.tif"}
    boxes = sorted(region.box for r in marked for region in r.regions)
    # The second tile runs from x 64 to 127: the area enters at 6; the third from 128: only 128 to 130 are left.
    assert boxes[-1] == pytest.approx((6 / 64, 10 / 64, 1, 51 / 64), abs=0.5 / 64)
    (mask,) = [decode_runs(region.mask) for r in marked for region in r.regions if region.box == boxes[-1]]
    assert mask[15, 10] and not mask[30, 36] and mask[45, 60]


def test_normal_slides_have_nothing_to_draw_and_classes_come_from_the_folder(tmp_path):
    records, _ = read_all(tmp_path, make_slides_source(tmp_path))
    normal = [r for r in records if "/normal/" in r.source_path]
    assert {r.labels for r in normal} == {("normal lymph node",)}
    assert all(r.regions_complete and r.region_vocabulary == ("metastasis",) and not r.regions for r in normal)
    assert {r.fact("magnification") for r in records} == {"40x"} and "doe" not in repr([r.facts for r in records])


def test_glass_is_left_out_and_tiles_are_the_slides_own_pixels(tmp_path):
    records, _ = read_all(tmp_path, make_slides_source(tmp_path))
    first = next(r for r in records if "/tumor/" in r.source_path)
    assert np.array_equal(decode(first.image), tissue()[:64, :64])
    assert len([r for r in records if "/tumor/" in r.source_path]) == 6


def test_another_level_shows_the_same_area_at_its_own_scale(tmp_path):
    card = changed(make_slides_source(tmp_path), {"level": 1, "slides": "{kind:tumor}/{slide}.tif"})
    write_slide(tmp_path / "tumor" / "tumor_001.tif", tissue(), levels=2)
    records, refused = read_all(tmp_path, card)
    (marked,) = [r for r in records if r.regions and r.regions[0].box[0] > 0.3]
    assert not refused and marked.regions[0].box == pytest.approx((35 / 64, 5 / 64, 1, 26 / 64), abs=1.1 / 64)
    assert told(read_all(tmp_path, changed(card, {"level": 5}))[1])[0][1] == "slide_level_missing"


def as_geojson(path):
    ring = [[*TUMOUR, TUMOUR[0]], [*EXCLUDED, EXCLUDED[0]]]
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": ring}}
    many = {
        "geometry": {"type": "MultiPolygon", "coordinates": [ring]},
        "properties": {"classification": {"name": "_1"}},
    }
    point = {"geometry": {"type": "Point", "coordinates": [1, 2]}, "properties": {"classification": "_0"}}
    first = {**feature, "properties": {"classification": {"name": "_0"}}}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [first, point, many]}))


def as_imagescope(path):
    vertices = "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in TUMOUR)
    path.write_text(
        f'<Annotations><Annotation Name="_0"><Regions><Region><Vertices>{vertices}</Vertices></Region></Regions>'
        "</Annotation></Annotations>"
    )


@pytest.mark.parametrize(("writer", "suffix"), [(as_geojson, ".geojson"), (as_imagescope, ".xml")])
def test_other_programs_areas_give_the_same_boxes(writer, suffix, tmp_path):
    card = make_slides_source(tmp_path)
    wanted = sorted(region.box for r in read_all(tmp_path, card)[0] for region in r.regions)
    (tmp_path / XML).unlink()
    writer((tmp_path / XML).with_suffix(suffix))
    records, refused = read_all(tmp_path, changed(card, {"annotations": f"annotations/{{slide}}{suffix}"}))
    assert not refused and sorted(region.box for r in records for region in r.regions) == wanted


def test_masks_of_codes_or_of_one_label_each_may_be_smaller_than_the_slide(tmp_path):
    card = make_slides_source(tmp_path)
    wanted = sorted(region.box for r in read_all(tmp_path, card)[0] for region in r.regions)
    mask = np.zeros((64, 128), dtype=np.uint8)
    mask[5:25, 35:65] = 3
    write_slide(tmp_path / "masks" / "tumor_001_mask.tif", mask)
    by_code = {"annotations": "masks/{slide}_mask.tif", "mask_names": {3: "_0"}}
    write_slide(tmp_path / "labels" / "tumor_001" / "_0.tif", mask, tile=None)
    by_file = {"annotations": "labels/{slide}/{label}.tif"}
    for options in (by_code, by_file):
        records, refused = read_all(tmp_path, changed(card, options))
        found = sorted(region.box for r in records for region in r.regions)
        assert not refused and np.allclose(found, wanted, atol=2 / 64)
    write_slide(tmp_path / "masks" / "tumor_001_mask.tif", mask[:, :64])
    assert told(read_all(tmp_path, changed(card, by_code))[1]) == [("tumor/tumor_001.tif", "mask_size_differs")]


def test_at_most_so_many_tiles_are_taken_those_with_areas_first(tmp_path):
    card = changed(make_slides_source(tmp_path), {"max_tiles": 2})
    records, _ = read_all(tmp_path, card)
    of_tumour = [r for r in records if "/tumor/" in r.source_path]
    assert len(records) == 4 and sum(bool(r.regions) for r in of_tumour) >= 1
    assert read_all(tmp_path, card)[0] == records


def test_without_complete_nothing_may_be_called_absent(tmp_path):
    records, _ = read_all(tmp_path, changed(make_slides_source(tmp_path), {"complete": False}))
    assert not any(r.regions_complete or r.region_vocabulary for r in records) and any(r.regions for r in records)


BAD_ANNOTATIONS = {
    "annotation_unreadable": "<Annotations><Annotation>",
    "xml_has_entities": '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
}


@pytest.mark.parametrize("reason", sorted(BAD_ANNOTATIONS))
def test_annotations_that_do_not_read_refuse_their_slide(reason, tmp_path):
    card = make_slides_source(tmp_path)
    (tmp_path / XML).write_text(BAD_ANNOTATIONS[reason])
    records, refused = read_all(tmp_path, card)
    assert told(refused) == [("tumor/tumor_001.tif", reason)] and {r.labels for r in records} == {
        ("normal lymph node",)
    }


def test_missing_annotations_unknown_areas_and_broken_slides_are_named(tmp_path):
    card = make_slides_source(tmp_path)
    strict = changed(card, {"unannotated": "reject"})
    assert told(read_all(tmp_path, strict)[1]) == [("normal/normal_001.tif", "annotation_missing")]
    write_asap(tmp_path / XML, _0=TUMOUR, artefact=EXCLUDED)
    assert told(read_all(tmp_path, card)[1]) == [("tumor/tumor_001.tif#artefact", "label_not_in_vocabulary")]
    (tmp_path / "tumor" / "tumor_001.tif").write_bytes(b"II*\0 not a slide")
    assert [reason for _, reason in told(read_all(tmp_path, card)[1])] in (["file_unreadable"], ["file_truncated"])
    write_slide(tmp_path / "tumor" / "tumor_001.tif", tissue()[:, :, 0])
    assert told(read_all(tmp_path, card)[1]) == [("tumor/tumor_001.tif", "image_not_8_bit")]
    with pytest.raises(DatasetMissing, match="no file matches"):
        read_all(tmp_path, changed(card, {"slides": "nowhere/{slide}.tif"}))


@pytest.mark.parametrize("tile", [32, None])
def test_a_region_equals_the_same_cut_of_the_whole_and_glass_lies_around(tile, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (100, 150, 3)).astype(np.uint8)
    write_slide(tmp_path / "a.tif", pixels, tile=tile)
    with open_slide(tmp_path / "a.tif") as level:
        for top, left in ((0, 0), (33, 70), (60, 110)):
            assert np.array_equal(level.read(top, left, 40, 40), pixels[top : top + 40, left : left + 40])
        edge = level.read(90, 140, 20, 20)
    assert np.array_equal(edge[:10, :10], pixels[90:, 140:]) and (edge[10:] == 255).all()
