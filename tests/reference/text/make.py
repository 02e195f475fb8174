"""Freezes what Hugging Face transformers does with text, for tests/it/text_parity.rs.

    python tests/reference/text/make.py ../shared/models/stories260k

writes beside this file tokenizers/*, tokenizers.json (encode, decode and chats of these), classes.json (some of these under other
classes), stories260k.json (encode and decode of
a trained one) and chat_templates.json. chats.py holds the templates and chats, recipes.py the tokenizers.
"""

import datetime
import json
import random
import re
import sys
import tempfile
from pathlib import Path

import jinja2
import tokenizers
import transformers
from transformers import AutoTokenizer
from transformers.utils import chat_template_utils

import chats
import recipes

HERE = Path(__file__).resolve().parent
VERSIONS = {m.__name__: m.__version__ for m in (transformers, tokenizers, jinja2)}


class FixedClock(datetime.datetime):
    """A clock that stands where `strftime_now` of src/model/chat.rs stands: a prompt must not change from day to day."""

    @classmethod
    def now(cls, tz=None):
        return cls(2024, 7, 26)


chat_template_utils.datetime = FixedClock

STORIES_TEXTS = [
    "Once upon a time",
    "",
    " leading space",
    "two  spaces\nand a line\n\n",
    "trailing ",
    "<s>a text that brings its own",
    "a </s> inside",
    "Ünïcödé, 日本語 and 🙂",
    "\ttab",
]
CONTINUATIONS = [" park", "park", "", " a little girl", "\n"]


def encode(tokenizer, text):
    """A text that brings its own beginning-of-text token gets no second one, which transformers would add."""
    ids = tokenizer.encode(text)
    adds_one = len(ids) > len(tokenizer.encode(text, add_special_tokens=False))
    return ids[1:] if adds_one and ids[:2] == [tokenizer.bos_token_id] * 2 else ids


def encoded(tokenizer, texts):
    return [{"text": text, "ids": encode(tokenizer, text)} for text in texts]


def decoded(tokenizer, lists):
    """With AutoTokenizer's own `clean_up_tokenization_spaces`, which for these tokenizers changes nothing."""
    return [{"ids": ids, "text": tokenizer.decode(ids, skip_special_tokens=True)} for ids in lists]


def stories(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    chance = random.Random(20240726)
    lists = [[chance.randrange(512) for _ in range(length)] for length in (1, 2, 3, 8, 40, 200)]
    lists += [[1, 403, 407], [403, 2, 407], [230, 149], [0xE6 + 3, 0x97 + 3, 0xA5 + 3], [], [2]]
    # Within a text: encoded after an anchor that no merge crosses, and the anchor cut off.
    anchor = "\n"
    head = tokenizer.encode(anchor, add_special_tokens=False)
    continuations = []
    for piece in CONTINUATIONS:
        ids = tokenizer.encode(anchor + piece, add_special_tokens=False)
        assert ids[: len(head)] == head
        continuations.append({"text": piece, "ids": ids[len(head) :]})
    return {
        "made_with": VERSIONS,
        "encode": encoded(tokenizer, STORIES_TEXTS),
        "continuation": continuations,
        "decode": decoded(tokenizer, lists),
    }


def small_tokenizer(folder):
    """A tokenizer as AutoTokenizer reads it from its folder."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    chance = random.Random(f"decode {folder.name}")
    texts = recipes.texts(tokenizer)
    lists = [[chance.randrange(len(tokenizer)) for _ in range(length)] for length in (1, 2, 3, 8, 40, 120)]
    # A rollout ends at a horizon, also within a character; and it may begin within one.
    whole = tokenizer.encode(recipes.PREFIX_TEXT)
    lists += [whole[:end] for end in range(len(whole) + 1)] + [whole[start:] for start in range(1, len(whole))]
    lists += [tokenizer.encode(text) for text in texts]
    rendered = []
    for name, messages in chats.REAL_CHATS.items() if tokenizer.chat_template else ():
        case = {"chat": name, "messages": messages}
        try:
            case["text"] = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            case["ids"] = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
            texts.append(case["text"])  # as a plain text: still one beginning
        except jinja2.exceptions.TemplateError:
            continue  # chat_templates.json has the refusals
        rendered.append(case)
    return {
        "class": type(tokenizer).__name__,
        "encode": encoded(tokenizer, texts),
        "decode": decoded(tokenizer, lists),
        "chats": rendered,
    }


# A folder of tokenizers/, and what is written over its tokenizer_config.json and its config.json.
LLAMA = {"tokenizer_class": "LlamaTokenizer"}
CLASSES = [
    ("llama2", {"legacy": True}, {}),
    ("llama2", {"legacy": None, "add_prefix_space": None}, {}),
    ("llama2", {"add_prefix_space": False}, {}),
    ("llama2", {"tokenizer_class": "LlamaTokenizerFast"}, {"model_type": None}),
    ("llama2", {"tokenizer_class": None}, {}),
    ("llama2", {"tokenizer_class": None}, LLAMA),
    ("llama2", {"tokenizer_class": "NobodysTokenizer"}, {}),
    ("llama2", {"tokenizer_class": "TokenizersBackend"}, LLAMA),
    ("llama2", {}, {"model_type": "mistral"}),
    ("llama2", {}, {"model_type": "olmo2"}),
    ("llama2", {}, {"model_type": "phi3"}),
    ("llama2", {}, {"model_type": "gemma"}),
    ("llama3", LLAMA, {}),
    ("qwen", LLAMA, {"model_type": "qwen2"}),
]
CLASSES_TEXTS = [" ", "tari", " tari  ta", "<s>tari", "<s> tari <s>ri</s> na", "<s><s>ta", "▁ta"]


def other_classes(place):
    cases = []
    for folder, config, model in CLASSES:
        with tempfile.TemporaryDirectory() as changed:
            (Path(changed) / "tokenizer.json").write_bytes((place / folder / "tokenizer.json").read_bytes())
            for name, over in {"tokenizer_config.json": config, "config.json": model}.items():
                (Path(changed) / name).write_text(json.dumps(json.loads((place / folder / name).read_text()) | over))
            tokenizer = AutoTokenizer.from_pretrained(changed)
        texts = encoded(tokenizer, CLASSES_TEXTS)
        case = {"folder": folder, "tokenizer_config": config, "config": model, "class": type(tokenizer).__name__}
        cases.append(case | {"encode": texts, "decode": decoded(tokenizer, [text["ids"] for text in texts])})
    return {"made_with": VERSIONS, "cases": cases}


def chat_templates():
    templates, messages, cases = {}, {}, []
    for name, source, specials, over in chats.cases():
        templates[name] = {"source": source, "specials": specials}
        for chat, said in over.items():
            assert messages.setdefault(chat, said) == said, chat
            case = {"template": name, "chat": chat}
            try:
                rendered, _ = chat_template_utils.render_jinja_template(
                    [said], chat_template=source, add_generation_prompt=True, **specials
                )
                case["rendered"] = rendered[0]
            except Exception as error:
                # What `raise_exception` says must be said; the words for other faults are each engine's own.
                said_so = type(error) is jinja2.exceptions.TemplateError
                case["refused"] = str(error) if said_so else ""
            cases.append(case)
    return {"made_with": VERSIONS, "templates": templates, "chats": messages, "cases": cases}


def write(name, value):
    """Lists of ids stay on one line."""
    text = json.dumps(value, ensure_ascii=False, indent=1)
    text = re.sub(r"\[\n[\d,\s]+\]", lambda ids: " ".join(ids[0].split()).replace("[ ", "[").replace(" ]", "]"), text)
    assert json.loads(text) == value
    (HERE / name).write_text(text + "\n")


if __name__ == "__main__":
    write("chat_templates.json", chat_templates())
    folders = recipes.write_all(HERE / "tokenizers")
    write("tokenizers.json", {"made_with": VERSIONS} | {folder.name: small_tokenizer(folder) for folder in folders})
    write("classes.json", other_classes(HERE / "tokenizers"))
    write("stories260k.json", stories(sys.argv[1]))
