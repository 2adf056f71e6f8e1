"""Statements gathered by their image on disk: nothing is lost on the way, and the order is the rows'."""

from components.data.row_mapping import Statement
from components.data.row_store import RowStore
from components.records import SourceQuestion

FULL = Statement(
    "t.csv#1", id="7", images=("b.png",), text="a text", text_kind="caption",
    questions=(SourceQuestion("Where?", "肺", ("肺", "liver"), "open"),), split="test", language="zh", patient="p",
    study="s", modality="CT", department="Oncology", body_part="chest", labels=("cyst", "scar"),
    facts=(("sex", "male"),), views=("PA",),
)  # fmt: skip


def test_a_statement_comes_back_as_it_was_put():
    with RowStore() as store:
        store.add(FULL)
        assert dict(store.by_image()) == {"b.png": [FULL]} and not list(store.alone()) and not list(store.sets())


def test_images_come_in_name_order_and_what_is_said_of_one_in_row_order():
    with RowStore() as store:
        for number, image in enumerate(("b", "a", "b")):
            store.add(Statement(f"t#{number}", images=(image,)))
        store.index()
        assert [(image, [one.where for one in said]) for image, said in store.by_image()] == [
            ("a", ["t#1"]), ("b", ["t#0", "t#2"]),
        ]  # fmt: skip
        assert [one.where for one in store.of("b")] == ["t#0", "t#2"] and store.of("c") == []


def test_a_set_is_kept_whole_and_bare_under_each_of_its_images():
    both = Statement("t#1", id="7", images=("b", "a"), text="of both", text_kind="report", views=("PA", "LL"))
    with RowStore() as store:
        store.add(both)
        assert list(store.sets()) == [(("b", "a"), [both])]
        assert dict(store.by_image()) == {"a": [both.bare(1)], "b": [both.bare(0)]}


def test_text_alone_comes_in_row_order():
    with RowStore() as store:
        for where in ("t#2", "t#1"):
            store.add(Statement(where, text="words"))
        assert [one.where for one in store.alone()] == ["t#2", "t#1"] and not list(store.by_image())


def test_an_image_is_found_once_and_the_others_are_told():
    with RowStore() as store:
        for image in ("a", "b"):
            store.add(Statement("t#1", images=(image,)))
        store.mark("a", "record", "train", "z.zip#a")
        store.mark("a", "another")
        assert store.is_marked("a") and not store.is_marked("b")
        assert store.record_of("a") == ("record", "train", "z.zip#a") and store.record_of("b") == ("", "", "")
        assert [image for image, _ in store.unfound()] == ["b"]


def test_an_id_is_new_once_in_each_file_and_in_each_store():
    with RowStore() as store:
        assert [store.is_new("t.csv", "7"), store.is_new("u.csv", "7"), store.is_new("t.csv", "7")] == [
            True, True, False,
        ]  # fmt: skip
    with RowStore() as store:
        assert store.is_new("t.csv", "7")
