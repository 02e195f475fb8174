"""Freezes what transformers does with text, for tests/it/text_parity.rs.

    python tests/references/make_text.py ../shared/models/stories260k

writes tests/references/text_stories260k.json (encode and decode) and tests/references/chat_templates.json (templates of our own).
"""

import json
import pathlib
import random
import sys

import jinja2
import transformers
from transformers import AutoTokenizer
from transformers.utils.chat_template_utils import render_jinja_template

HERE = pathlib.Path(__file__).parent

TEXTS = [
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


def text(folder):
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
        "made_with": {"transformers": transformers.__version__},
        "encode": [
            {
                "text": t,
                # One beginning-of-text token, also where the text brings its own.
                "ids": (lambda ids: ids[1:] if ids[:2] == [1, 1] else ids)(tokenizer.encode(t)),
            }
            for t in TEXTS
        ],
        "continuation": continuations,
        "decode": [
            {
                "ids": ids,
                "text": tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False),
            }
            for ids in lists
        ],
    }


TEMPLATES = {
    "chatml": "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "blocks on lines": "{{ bos_token }}\n{% for message in messages %}\n    {% if message.role == 'system' %}\n[{{ message.content | trim }}]\n"
    "    {%- else %}\n<{{ message.role | upper }}> {{ message.content.strip() }}\n    {% endif %}\n{% endfor %}\n"
    "{% if add_generation_prompt %}\n<ASSISTANT>{% endif %}\n",
    "llama 2": "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}"
    "{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
    "{% for message in loop_messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
    "llama 3": "{%- if not date_string is defined %}\n    {%- set date_string = \"26 Jul 2024\" %}\n{%- endif %}\n"
    "{%- if messages[0]['role'] == 'system' %}\n    {%- set system_message = messages[0]['content']|trim %}\n    {%- set messages = messages[1:] %}\n"
    "{%- else %}\n    {%- set system_message = \"\" %}\n{%- endif %}\n"
    "{{- bos_token }}{{- \"<|start_header_id|>system<|end_header_id|>\\n\\n\" }}\n"
    "{%- if tools is not none %}{{- \"Environment: ipython\\n\" }}{%- endif %}\n"
    "{{- \"Today Date: \" + date_string + \"\\n\\n\" }}{{- system_message }}{{- \"<|eot_id|>\" }}\n"
    "{%- for message in messages %}\n    {%- if not (message.role == 'ipython' or 'tool_calls' in message) %}\n"
    "        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}\n"
    "    {%- endif %}\n{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}\n{%- endif %}\n",
    "loop controls and namespaces": "{% set ns = namespace(last='') %}{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}"
    "{% set ns.last = m.content %}{% if loop.last %}{% break %}{% endif %}{{ m.content.split(' ')[0] }}|{% endfor %}{{ ns.last.title() }}"
    "{{ messages[-1]['content'][::-1] }}",
    "json": "{{ messages | tojson }}{{ messages[0].content | tojson }}\n{{ messages[0] | tojson(indent=2) }}",
    "python's words": "{{ true }} {{ tools }} {{ missing }}|{{ messages | length }}",
    "generation tags": "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{%- endgeneration -%}  !{% else %}"
    "{{ m.content }}{% endif %}{% endfor %}",
    "macros": "{% macro turn(who, what) %}<{{ who }}>{{ what }}{% endmacro %}{% for m in messages %}{{ turn(m.role, m.content) }}\n{% endfor %}"
    "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join('+') }}",
    "optional keys": "{% for m in messages %}{{ m.get('name', 'nobody') }}:{{ m.get('role') }}{% if m.tool_calls %}!{% endif %}"
    "{% for key, value in m.items() %}[{{ key }}={{ value }}]{% endfor %}{% endfor %}",
}

CHATS = {
    "user": [{"role": "user", "content": "  Where is <the> \"cat\" & it's dog?\n"}],
    "system": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello there"},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": "über 日本"},
    ],
    "wrong order": [{"role": "assistant", "content": "I speak first"}, {"role": "user", "content": "why"}],
}


def chats():
    specials = {"bos_token": "<s>", "eos_token": "</s>"}
    cases = []
    for name, template in TEMPLATES.items():
        for chat, messages in CHATS.items():
            case = {"template": name, "source": template, "chat": chat, "messages": messages, "specials": specials}
            try:
                rendered, _ = render_jinja_template(
                    [messages], chat_template=template, add_generation_prompt=True, **specials
                )
                case["rendered"] = rendered[0]
            except jinja2.exceptions.TemplateError as error:
                case["refused"] = str(error)
            cases.append(case)
    return {"made_with": {"transformers": transformers.__version__, "jinja2": jinja2.__version__}, "cases": cases}


def write(name, value):
    (HERE / name).write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


write("text_stories260k.json", text(sys.argv[1]))
write("chat_templates.json", chats())
