from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from components.data.terms import may_reach_third_party
from components.errors import ConfigError, DataError, TermsDenied
from components.pairs.endpoint import ChatEndpoint, Reply, is_loopback
from components.pairs.faithfulness import Faithfulness
from components.pairs.language_model import LanguageModelGenerator
from components.pairs.make import open_generator, run_pair, write_pairs
from components.pairs.pieces import verified
from components.pairs.prompts import make_prompt
from components.pairs.replies import ReplyRefused, Row, find_json, read_reply
from components.pairs.reply_cache import RememberingModel
from components.pairs.surroundings import look_around
from components.records import pair_from_row
from components.settings import LanguageWriter, settings_from
from components.tracking.tables import iterate_rows
from tests.components.pairs.test_make import PAIRS, RECORDS, corpus, write_records
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.scans import make_scan, make_study
from tests.fakes.sources import make_captions_source, make_card, write_card

ROOT = Path(__file__).parents[3]
KEY = "sk-a-secret-that-no-file-may-hold"
GOOD = {"caption": "An axial CT image of the abdomen. The liver is visible."}
LIE = {"caption": "A coronal CT image of the abdomen."}
QUESTIONS = {"pairs": [{"question": "Which organ is large?", "answer": "The liver can be seen."}]}


def fitting(request: dict) -> dict:
    """Reply as a good model does: to each form in its shape."""
    asked = request["messages"][1]["content"][0]["text"]
    if "questions about the image" in asked:
        return QUESTIONS
    return {"caption": "This region shows the structure."} if "inside the box" in asked else GOOD


@pytest.fixture
def serve():
    servers = []

    def start(*script: tuple[int, object]) -> FakeEndpoint:
        servers.append(FakeEndpoint(list(script)))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def endpoint(server: FakeEndpoint, **changes) -> ChatEndpoint:
    waits: list[float] = []
    made = ChatEndpoint(server.address, "tiny", key=KEY, **{"retries": 2, "wait": waits.append} | changes)
    made.waits = waits
    return made


def write(model, generator, tmp_path: Path, *, kinds=("caption",), allowed=True, record=None, **options):
    """Make and verify one scan's pairs."""
    record = record or replace(make_scan(), image=b"\x89PNG")
    remembering = RememberingModel(model, tmp_path / "replies")
    generator.chinese_share = 0.0
    writer = LanguageModelGenerator(
        remembering, generator, allowed={"scans": allowed}, options=LanguageWriter(model="tiny", **options)
    )
    around = look_around([record])["scans"]
    return list(verified(record, writer, around=around, kinds=kinds)), writer


def test_a_good_reply_becomes_a_pair_with_its_prompt_hash_model_and_seed(serve, generator, tmp_path) -> None:
    server = serve((200, fitting))
    kinds = ("caption", "region_caption", "instruct", "percept")
    pairs, writer = write(endpoint(server), generator, tmp_path, kinds=kinds, prompt_price=2.0, reply_price=5.0)
    written = [pair for pair in pairs if pair.generator.name == "language_model"]
    assert {pair.kind for pair in written} == {"caption", "region_caption", "instruct"}
    assert {pair.generator.name for pair in pairs if pair.kind == "percept"} == {"templates"}
    assert {(pair.generator.model, pair.generator.seed, pair.rejected_reason) for pair in written} == {
        ("tiny", 7, "")
    }
    assert len({pair.generator.prompt_hash for pair in written}) == len(server.requests)
    assert written[0].conversations[0].value.startswith("<image>\n")
    number = len(server.requests)
    assert writer.bill() == {
        "model": "tiny", "replies": number, "prompt_tokens": 10 * number, "reply_tokens": 4 * number,
        "cost": pytest.approx(number * (10 * 2 + 4 * 5) / 1e6),
    }  # fmt: skip


def test_the_five_tuple_guides_and_the_sources_own_words_stay_here(serve, generator, tmp_path) -> None:
    server = serve((200, fitting))
    record = replace(make_scan(), image=b"\x89PNG", text="Mr. Smith of Ward 9", source_path="smith/9.png")
    write(endpoint(server), generator, tmp_path, kinds=("caption", "region_caption"), record=record)
    caption, region = server.requests[0], server.requests[1]
    asked = caption["messages"][1]["content"]
    for slot in ("CT", "General Surgery", "liver", "kidney (left, right)", "lung tumour"):
        assert slot in asked[0]["text"]
    assert asked[1]["image_url"]["url"].startswith("data:image/png;base64,iVBORw")
    assert '"This region"' in region["messages"][1]["content"][0]["text"]
    assert "<box> [[" in region["messages"][1]["content"][0]["text"]
    assert caption["seed"] == 7
    assert "mith" not in json.dumps(server.requests)


def test_the_key_is_sent_and_shown_nowhere(serve, generator, tmp_path) -> None:
    server = serve((200, GOOD))
    model = endpoint(server)
    write(model, generator, tmp_path)
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert KEY not in repr(model)
    stored = [path.read_text() for path in (tmp_path / "replies").rglob("*.json")]
    assert stored
    assert not any(KEY in text for text in stored)
    with pytest.raises(ConfigError) as caught:
        write(endpoint(serve((401, "no"))), generator, tmp_path / "other")
    assert KEY not in str(caught.value)


def test_a_failure_on_the_way_is_repeated_with_doubling_waits(serve, generator, tmp_path) -> None:
    server = serve((500, "broken"), (429, "busy"), (200, GOOD))
    model = endpoint(server)
    pairs, _ = write(model, generator, tmp_path)
    assert [pair.rejected_reason for pair in pairs] == [""]
    assert model.waits == [1.0, 2.0]


def test_an_endpoint_that_stays_away_stops_the_stage_and_the_next_run_resumes(serve, generator, tmp_path) -> None:
    record = replace(make_scan(), image=b"")
    server = serve((200, GOOD), (503, "gone"))
    with pytest.raises(DataError, match="did not answer in 3 requests: status 503"):
        write(endpoint(server), generator, tmp_path, kinds=("caption", "instruct"), record=record)
    again = serve((200, QUESTIONS))
    pairs, writer = write(endpoint(again), generator, tmp_path, kinds=("caption", "instruct"), record=record)
    assert {pair.kind for pair in pairs} == {"caption", "instruct"}
    assert writer.traffic() == {"replies_asked": 1, "replies_remembered": 1}
    assert len(again.requests) == 1


def test_broken_json_is_asked_again_under_another_seed_and_then_refused(serve, generator, tmp_path) -> None:
    server = serve((200, '{"caption": "An axial'), (200, GOOD))
    pairs, _ = write(endpoint(server), generator, tmp_path)
    assert [(pair.rejected_reason, pair.generator.seed) for pair in pairs] == [("", 8)]
    server = serve((200, "Sorry, no."))
    pairs, _ = write(endpoint(server), generator, tmp_path / "other", attempts=2)
    assert [pair.rejected_reason for pair in pairs] == ["reply_not_json"]
    assert [request["seed"] for request in server.requests] == [7, 8]


def test_a_request_that_is_not_accepted_is_not_repeated(serve, generator, tmp_path) -> None:
    server = serve((400, "too long"))
    pairs, _ = write(endpoint(server), generator, tmp_path)
    assert [pair.rejected_reason for pair in pairs] == ["endpoint_refused"]
    assert len(server.requests) == 1


def test_a_contradiction_is_refused_with_its_reason_and_lowers_the_score(serve, generator, tmp_path) -> None:
    pairs, _ = write(endpoint(serve((200, LIE))), generator, tmp_path)
    good, _ = write(endpoint(serve((200, GOOD))), generator, tmp_path / "other")
    assert [pair.rejected_reason for pair in pairs] == ["plane_contradicts"]
    faithfulness = Faithfulness()
    for pair in [*pairs, *good]:
        faithfulness.add(pair)
    assert faithfulness.scores() == {"scans": {"language_model": {"made": 2, "accepted": 1, "score": 0.5}}}


class Elsewhere:
    """Somebody else's model; it fails the test when it is asked."""

    name, is_third_party = "theirs", True

    def complete(self, prompt, *, seed):
        raise AssertionError("the record left this machine")


def test_the_templates_write_all_pairs_of_a_source_that_may_not_reach_somebody_elses_model(
    generator, tmp_path
) -> None:
    kinds = ("caption", "instruct", "percept")
    pairs, _ = write(Elsewhere(), generator, tmp_path, kinds=kinds, allowed=False)
    assert {pair.kind for pair in pairs} == set(kinds)
    assert {pair.generator.name for pair in pairs} == {"templates"}
    assert not any(pair.rejected_reason for pair in pairs)


def settings_with(tmp_path, monkeypatch, denied: str):
    """Settings that name an endpoint elsewhere, over a source that allows it and one that does not say."""
    monkeypatch.chdir(tmp_path)
    for name, answer in (("open_ct", "yes"), ("ward_ct", "not stated")):
        card = make_captions_source(tmp_path / name)
        terms = card.terms.model_copy(update={"may_reach_third_party_model": answer})
        write_card(Path("conf/sources"), card.model_copy(update={"name": name, "terms": terms}))
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["corpus"]["sources"] = ["open_ct", "ward_ct"]
    raw["pair"] |= {"generator": "language_model", "denied_sources": denied}
    raw["pair"]["language_model"] |= {"endpoint": "https://api.example.org/v1", "model": "m", "cache": "cache"}
    return settings_from(raw, where="test")


def test_opening_raises_and_names_the_denied_sources_before_a_byte_leaves(tmp_path, monkeypatch) -> None:
    with pytest.raises(TermsDenied, match="third-party model: ward_ct") as caught:
        open_generator(settings_with(tmp_path, monkeypatch, "raise"))
    assert "pair.denied_sources=templates" in str(caught.value)


def test_the_setting_leaves_denied_sources_to_the_templates(tmp_path, monkeypatch) -> None:
    made = open_generator(settings_with(tmp_path, monkeypatch, "templates"))
    assert made.allowed == {"open_ct": True, "ward_ct": False}


def test_only_a_stated_yes_allows_it() -> None:
    terms = dict.fromkeys(("may_leave_machine", "may_be_redistributed", "commercial_use"), "yes")
    answers = {}
    for answer in ("yes", "no", "not stated"):
        card = make_card("s", "plain_volumes", {}, terms=terms | {"may_reach_third_party_model": answer})
        answers[answer] = may_reach_third_party(card)
    assert answers == {"yes": True, "no": False, "not stated": False}
    kept_here = make_card(
        "s", "plain_volumes", {},
        terms=terms | {"may_leave_machine": "no", "may_reach_third_party_model": "yes"},
    )  # fmt: skip
    assert not may_reach_third_party(kept_here)


@pytest.mark.parametrize(
    ("address", "is_here"),
    [("http://127.0.0.1:1/v1", True), ("http://localhost/v1", True), ("http://[::1]:8000", True),
     ("https://api.example.org/v1", False), ("http://10.0.0.7/v1", False),
     ("http://localhost.example.org", False), ("http://127.0.0.1@example.org", False)],
)  # fmt: skip
def test_only_the_loopback_interface_is_this_machine(address: str, is_here: bool) -> None:
    assert is_loopback(address) is is_here


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        ("caption", "no json", "reply_not_json"),
        ("caption", "{'caption': 'single quotes'}", "reply_not_json"),
        ("caption", "[" * 100_000, "reply_not_json"),
        ("caption", '{"text": "x"}', "reply_schema_invalid"),
        ("caption", '{"caption": "  "}', "reply_schema_invalid"),
        ("caption", '{"caption": 7}', "reply_schema_invalid"),
        ("instruct", "[]", "reply_schema_invalid"),
        ("instruct", '[{"question": "Q?"}]', "reply_schema_invalid"),
        ("caption", '{"caption": "<image> again"}', "reply_holds_markup"),
        ("region_caption", '{"caption": "The liver."}', "region_not_begun_as_asked"),
        ("percept", '[{"question": "Q?", "answer": "a", "options": ["a"]}]', "reply_schema_invalid"),
        ("percept", '[{"question": "Q?", "answer": "c", "options": ["a", "b"]}]', "reply_schema_invalid"),
        ("percept", '[{"question": "Q?", "answer": "a", "options": ["a", "a"]}]', "reply_schema_invalid"),
        ("percept", '[{"question": "Q?", "answer": "a", "options": ["a", "<box>"]}]', "reply_holds_markup"),
        ("report", '{"findings": "The liver."}', "reply_schema_invalid"),
        ("report", '{"findings": "The liver.", "impression": ["none"]}', "reply_schema_invalid"),
        ("text_only", '{"turns": []}', "reply_schema_invalid"),
        (
            "text_only",
            '[{"question": "Q?", "answer": "A."}, {"question": "<image>", "answer": "A."}]',
            "reply_holds_markup",
        ),
        ("comparison", '{"caption": "x"}', "reply_schema_invalid"),
    ],
)
def test_a_reply_of_another_shape_has_its_reason(kind: str, text: str, reason: str) -> None:
    with pytest.raises(ReplyRefused) as caught:
        read_reply(kind, text, "en")
    assert caught.value.reason == reason


def test_json_is_found_among_other_words_and_the_papers_bare_list_is_taken() -> None:
    assert find_json('Sure {smile}:\n```json\n{"caption": "x"}\n```') == {"caption": "x"}
    assert read_reply("instruct", '[{"question": "Q?", "answer": "A."}]', "en") == [Row("Q?", "A.")]
    assert read_reply("region_caption", '{"caption": "该区域显示肝脏。"}', "zh")[0].answer.startswith("该区域")


def test_a_torn_file_of_the_cache_is_asked_for_again(tmp_path) -> None:
    class Counting:
        name, is_third_party, asked = "m", False, 0

        def complete(self, prompt, *, seed):
            self.asked += 1
            return Reply("text", 1, 1)

    scene_prompt = make_prompt("caption", _scene(), language="en")
    model = RememberingModel(Counting(), tmp_path)
    for _ in range(2):
        model.complete(scene_prompt, seed=1)
    (stored,) = tmp_path.rglob("*.json")
    stored.write_text('{"text": "to')
    model.complete(scene_prompt, seed=1)
    model.complete(scene_prompt, seed=2)
    model.complete(replace(scene_prompt, temperature=0.5), seed=1)
    assert model.model.asked == 4


def _scene():
    from components.pairs.draft import make_scene

    record = make_study()[0]
    return make_scene(record, look_around([record])["scans"])


def test_a_local_transformers_model_answers_the_same_every_time(generator, tmp_path) -> None:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from components.pairs.local_model import LocalModel

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bare = Tokenizer(models.BPE(vocab={letter: place for place, letter in enumerate(alphabet)}, merges=[]))
    bare.pre_tokenizer, bare.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    folder = tmp_path / "random"
    PreTrainedTokenizerFast(tokenizer_object=bare).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=256, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    model = LocalModel(folder)
    prompt = make_prompt("caption", _scene(), language="en", max_tokens=8, temperature=1.0)
    first, again, other = (model.complete(prompt, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert (first.reply_tokens, model.is_third_party) == (8, False)
    pairs, _ = write(model, generator, tmp_path, attempts=1, max_tokens=8, allowed=False)
    assert [pair.rejected_reason for pair in pairs] == ["reply_not_json"]
    with pytest.raises(ConfigError, match="no transformers model"):
        LocalModel(tmp_path)


@pytest.mark.parametrize(
    "address", ["http://me:secret@host/v1", "http://host/v1?api_key=secret", "http://host/#s"]
)
def test_an_address_that_holds_a_secret_is_refused_before_it_is_written_down(address: str) -> None:
    with pytest.raises(ValueError, match="GMAI_LLM_API_KEY alone"):
        LanguageWriter(endpoint=address, model="tiny")


def test_the_key_is_in_no_file_no_log_and_no_run(
    settings, fake_run, serve, monkeypatch, tmp_path, caplog, capsys
) -> None:
    monkeypatch.setenv("GMAI_LLM_API_KEY", KEY)
    caplog.set_level("DEBUG")
    server = serve((503, KEY[::-1]), (200, fitting))
    writer = LanguageWriter(endpoint=server.address, model="tiny", cache="cache", back_off_seconds=0.0)
    chosen = settings.pair.model_copy(update={"generator": "language_model", "language_model": writer})
    Path("conf/sources").mkdir(parents=True)
    monkeypatch.setattr("components.pairs.make.load_cards", lambda names: [])
    write_records(corpus())
    settings = settings.model_copy(update={"pair": chosen})
    run_pair(settings)
    assert {headers["Authorization"] for headers in server.headers} == {f"Bearer {KEY}"}
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.is_relative_to(tmp_path / "cache") for path in written)
    shown = [path.read_bytes() for path in written]
    printed = capsys.readouterr()
    said = (caplog.text, printed.out, printed.err, repr(vars(fake_run)), repr(settings))
    shown += [text.encode() for text in said]
    assert not any(KEY.encode() in text for text in shown)


def test_several_requests_at_once_keep_the_order_and_the_bill(settings, serve, generator, tmp_path) -> None:
    write_records(corpus())
    found = []
    for workers in (1, 4):
        remembering = RememberingModel(endpoint(serve((200, fitting))), tmp_path / str(workers))
        options = LanguageWriter(model="tiny", prompt_price=1.0)
        writer = LanguageModelGenerator(remembering, generator, allowed={}, options=options)
        out = tmp_path / f"out{workers}"
        write_pairs(RECORDS, out, writer, kinds=("caption", "instruct"), shard_bytes=1 << 20, workers=workers)
        found.append(([path.read_bytes() for path in sorted(out.iterdir())], writer.bill()))
    assert found[0] == found[1]


def test_the_stage_writes_what_it_cost_and_how_faithful_it_was(
    settings, fake_run, serve, monkeypatch, tmp_path
) -> None:
    server = serve((200, fitting))
    writer = LanguageWriter(endpoint=server.address, model="tiny", cache=str(tmp_path / "cache"), prompt_price=1.0)
    chosen = settings.pair.model_copy(
        update={"generator": "language_model", "language_model": writer, "chinese_share": 0.0}
    )
    Path("conf/sources").mkdir(parents=True)
    monkeypatch.setattr("components.pairs.make.load_cards", lambda names: [])
    write_records(corpus())
    manifests = []
    for _ in range(2):
        run_pair(settings.model_copy(update={"pair": chosen}))
        manifests.append((PAIRS / "manifest.json").read_text())
    details = json.loads(manifests[0])["details"]
    assert manifests[0] == manifests[1]
    assert details["language_model"]["replies"] == len(server.requests)
    assert details["language_model"]["cost"] > 0
    assert 0 < details["faithfulness"]["scans"]["language_model"]["score"] <= 1
    assert fake_run.metrics["replies_remembered"] == len(server.requests)
    made = {pair_from_row(row).generator.name for row in iterate_rows(PAIRS)}
    assert made == {"templates", "language_model"}
