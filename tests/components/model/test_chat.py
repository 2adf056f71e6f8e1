from components.model.chat import IMAGE_TOKEN, encode_conversation, encode_prompt
from components.model.language import load_tokenizer
from components.records import Turn
from tests.fakes.models import tiny_language

TURNS = (Turn("human", "<image>\nIs there a kidney?"), Turn("gpt", "yes"))


def encoded(turns=TURNS, image_tokens=4):
    tokenizer = load_tokenizer(tiny_language(), "unused")
    return tokenizer, encode_conversation(tokenizer, turns, image_tokens=image_tokens)


def test_only_the_assistants_text_and_its_end_mark_are_supervised():
    tokenizer, conversation = encoded()
    supervised = [token for token, flag in zip(conversation.ids, conversation.supervised, strict=True) if flag]
    assert tokenizer.decode(supervised) == "yes<|im_end|>"


def test_the_whole_text_is_the_chat_template_with_the_image_expanded():
    tokenizer, conversation = encoded(image_tokens=3)
    assert tokenizer.decode(conversation.ids) == (
        "<|im_start|>user\n<image><image><image>\nIs there a kidney?<|im_end|>\n"
        "<|im_start|>assistant\nyes<|im_end|>\n"
    )


def test_the_prefix_ends_with_the_last_image_token():
    tokenizer, conversation = encoded()
    assert tokenizer.decode(conversation.ids[: conversation.prefix_length]).endswith("<image>" * 4)
    assert IMAGE_TOKEN not in tokenizer.decode(conversation.ids[conversation.prefix_length :])


def test_what_the_tokenizer_sets_before_a_text_stands_before_the_conversation():
    from tokenizers import processors

    tokenizer, bare = encoded()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A <|im_end|>", special_tokens=[("<|endoftext|>", 0), ("<|im_end|>", 2)]
    )
    framed = encode_conversation(tokenizer, TURNS, image_tokens=4)
    assert framed.ids == (0, *bare.ids) and framed.supervised == (False, *bare.supervised)
    assert framed.prefix_length == bare.prefix_length + 1
    assert encode_prompt(tokenizer, "What?", image_tokens=4)[:2] == [0, 1]


def test_a_tokenizer_without_the_marks_of_a_turn_is_given_them(tmp_path):
    from tokenizers import Tokenizer
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    plain = Tokenizer(BPE(vocab={"<s>": 0, "</s>": 1, "a": 2, "b": 3}, merges=[]))
    PreTrainedTokenizerFast(tokenizer_object=plain, bos_token="<s>", eos_token="</s>").save_pretrained(tmp_path)
    tokenizer = load_tokenizer(tiny_language(source="pretrained", path=str(tmp_path)), "unused")
    assert tokenizer.encode("<|im_start|>a<|im_end|><image>", add_special_tokens=False) == [4, 2, 5, 6]


def test_text_alone_has_no_prefix():
    _, conversation = encoded((Turn("human", "What is CT?"), Turn("gpt", "A scan.")))
    assert conversation.prefix_length == 0


def test_a_prompt_is_the_conversation_up_to_the_answer():
    tokenizer, conversation = encoded()
    prompt = encode_prompt(tokenizer, TURNS[0].value, image_tokens=4)
    assert list(conversation.ids[: len(prompt)]) == prompt
    assert not any(conversation.supervised[: len(prompt)]) and conversation.supervised[len(prompt)]


def test_every_turn_of_the_assistant_is_supervised():
    tokenizer, conversation = encoded((*TURNS, Turn("human", "Which side?"), Turn("gpt", "left")))
    supervised = [t for t, flag in zip(conversation.ids, conversation.supervised, strict=True) if flag]
    assert tokenizer.decode(supervised) == "yes<|im_end|>left<|im_end|>"


def test_a_byte_tokenizer_reads_chinese_and_gives_it_back():
    tokenizer = load_tokenizer(tiny_language(), "unused")
    assert tokenizer.decode(tokenizer.encode("左肺 CT", add_special_tokens=False)) == "左肺 CT"
