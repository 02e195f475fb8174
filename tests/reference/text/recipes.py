"""Small tokenizers of the kinds that the supported models have, trained on seeded nonsense; vocabularies of at most 400.

Each is a folder tokenizers/<name> with tokenizer.json, tokenizer_config.json and a config.json that only says `model_type`, by
which AutoTokenizer chooses its class.
"""

import json
import random
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from chats import HERE, REAL

WORDS = 220  # of the made-up language
SYLLABLES = "ta ri sho na lé ku mü ön per il st ña 日本 語 да нет 🙂".split()
LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN_SPLIT = LLAMA3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")

PREFIX_TEXT = "Tari 日本語 naïve 🙂👩\u200d👩 да, «lé»!\n it's 12345"
TEXTS = [
    "",
    " ",
    "Tari nalé kuper",
    " leading",
    "trailing ",
    "two  spaces\n\n\nlines\r\n\tand   tabs",
    "it's I'LL they've 1234567 3.14 'quoted' \"double\"",
    "Ünïcödé, 日本語, нет and 🙂👩\u200d👩\U0001f469\U0001f3fd",
    "e\u0301 A\u030a \u1100\u1161 ﬁ ①",
    "\u00a0\u2028\u200b\ufeff▁under▁score\u0000\u0007",
    "<|user|>  hello<|end|>\n<|assistant|>",
    "{{ braces }} <b>&amp;</b> <0x41> <unk>",
]


def texts(tokenizer):
    """Texts to encode; with this tokenizer's special tokens before, within, doubled."""
    specials = [token for token in (tokenizer.bos_token, tokenizer.eos_token, *sorted(tokenizer.get_added_vocab())) if token]
    bos = tokenizer.bos_token or ""
    brought = [bos + "tari", bos + " tari", f"{bos}tari {bos}naku", "".join(specials), " ".join(specials)]
    return TEXTS + brought + [f"ta {token} ri{token}na" for token in specials]


def corpus():
    chance = random.Random("reachspec text")
    words = ["".join(chance.choices(SYLLABLES, k=chance.randint(1, 3))) for _ in range(WORDS)]
    ends = [" ", " ", " ", ", ", ".\n", "  ", " 12 "]
    return ["".join(chance.choice(words) + chance.choice(ends) for _ in range(40)) for _ in range(60)]


def special(*contents, **how):
    return [AddedToken(content, special=True, normalized=False, **how) for content in contents]


def beginning(token, id):
    return processors.TemplateProcessing(single=f"{token} $A", pair=f"{token} $A {token}:1 $B:1", special_tokens=[(token, id)])


def byte_level(size, split=None, normalizer=None, first=(), **model):
    """Bytes as visible letters, and merges of them."""
    tokenizer = Tokenizer(models.BPE(**model))
    if normalizer:
        tokenizer.normalizer = normalizer
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split is None)
    pieces = [pre_tokenizers.Split(Regex(split), behavior="isolated"), whole] if split else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(pieces) if pieces else whole
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, special_tokens=list(first), show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer


def byte_fallback(specials, prepend):
    """Letters and merges of them, `▁` for a space; a letter that is not known is written as bytes."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    to_bar = normalizers.Replace(" ", "▁")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), to_bar]) if prepend else to_bar
    # Words are kept apart while it is trained only: a merge may join letters after a `▁`, not before one.
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(parts + [decoders.Strip(" ", 1, 0)] * prepend)
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=390, special_tokens=specials + bytes_, show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    written = json.loads(tokenizer.to_str())
    # Bytes are ordinary tokens.
    written["added_tokens"] = written["added_tokens"][: len(specials)]
    written["pre_tokenizer"] = None
    return Tokenizer.from_str(json.dumps(written))


def gpt2():
    tokenizer = byte_level(320, first=["<|endoftext|>"])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer, {"tokenizer_class": "GPT2Tokenizer", "model_max_length": 1024}


def llama3():
    tokenizer = byte_level(340, split=LLAMA3_SPLIT, ignore_merges=True)
    names = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    tokenizer.add_special_tokens(special(*names))
    framed = beginning(names[0], tokenizer.token_to_id(names[0]))
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), framed])
    return tokenizer, {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": True} | REAL["llama-3.1"]


def qwen():
    tokenizer = byte_level(340, split=QWEN_SPLIT, normalizer=normalizers.NFC())
    tokenizer.add_special_tokens(special("<|endoftext|>", "<|im_start|>", "<|im_end|>"))
    # Not special: they are part of what is said.
    tokenizer.add_tokens([AddedToken(name, normalized=False) for name in ("<think>", "</think>", "<tool_call>")])
    config = {"tokenizer_class": "Qwen2Tokenizer", "bos_token": None, "add_bos_token": False, "add_prefix_space": False}
    return tokenizer, config | REAL["qwen3"]


def gemma():
    names = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"]
    tokenizer = byte_fallback(names, prepend=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.post_processor = beginning("<bos>", 2)
    flags = {"add_bos_token": True, "add_eos_token": False, "unk_token": "<unk>", "pad_token": "<pad>"}
    return tokenizer, {"tokenizer_class": "GemmaTokenizer", "extra_special_tokens": names[5:]} | flags | REAL["gemma-2"]


def llama2():
    tokenizer = byte_fallback(["<unk>", "<s>", "</s>"], prepend=True)
    tokenizer.post_processor = beginning("<s>", 1)
    config = {"tokenizer_class": "LlamaTokenizer", "legacy": False, "add_bos_token": True, "add_eos_token": False}
    return tokenizer, config | {"unk_token": "<unk>"} | REAL["mistral"]


def mistral():
    """As llama2 but for a class that takes tokenizer.json as it is. The flags contradict the post-processor, which stands."""
    tokenizer, config = llama2()
    return tokenizer, config | {"tokenizer_class": "PreTrainedTokenizerFast", "add_bos_token": False, "add_eos_token": True}


def phi3():
    """Llama 2's without a beginning, and added tokens that take the white space after them along."""
    tokenizer, config = llama2()
    turns = special("<|user|>", "<|assistant|>", "<|system|>", "<|end|>", rstrip=True)
    tokenizer.add_special_tokens(special("<|endoftext|>") + turns)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B:1")
    return tokenizer, config | {"add_bos_token": False, "pad_token": "<|endoftext|>"} | REAL["phi-3"]


# name: (recipe, model_type, where the chat template is written, the template)
RECIPES = {
    "gpt2": (gpt2, "gpt2", None, None),
    "llama3": (llama3, "llama", "file", "llama-3.1"),
    "qwen": (qwen, "qwen3", "string", "qwen3"),
    "gemma": (gemma, "gemma2", "string", "gemma-2"),
    "llama2": (llama2, "llama", "list", "mistral"),
    "mistral": (mistral, "mistral", "list", "mistral"),
    "phi3": (phi3, "phi3", "string", "phi-3"),
}


def write_all(place):
    folders = []
    for name, (recipe, model_type, where, template) in RECIPES.items():
        tokenizer, config = recipe()
        assert tokenizer.get_vocab_size() <= 400, name
        folder = Path(place) / name
        folder.mkdir(parents=True, exist_ok=True)
        text = template and (HERE / "templates" / f"{template}.jinja").read_text()
        if where == "file":
            (folder / "chat_template.jinja").write_text(text)
        elif where == "list":
            config["chat_template"] = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": text}]
        elif where == "string":
            config["chat_template"] = text
        tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
        for file, value in {"tokenizer_config.json": config, "config.json": {"model_type": model_type}}.items():
            (folder / file).write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")
        folders.append(folder)
    return folders
