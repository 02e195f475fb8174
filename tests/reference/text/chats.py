"""Templates and chats for chat_templates.json: what make.py renders with transformers."""

from pathlib import Path

HERE = Path(__file__).resolve().parent

# Small templates around one thing each.
HAND_WRITTEN = {
    "chatml": "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "blocks on lines": "{{ bos_token }}\n{% for message in messages %}\n"
    "    {% if message.role == 'system' %}\n[{{ message.content | trim }}]\n"
    "    {%- else %}\n<{{ message.role | upper }}> {{ message.content.strip() }}\n    {% endif %}\n{% endfor %}\n"
    "{% if add_generation_prompt %}\n<ASSISTANT>{% endif %}\n",
    "llama 2": "{% if messages[0]['role'] == 'system' %}"
    "{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}"
    "{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
    "{% for message in loop_messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "{% if loop.index0 == 0 and system_message != false %}"
    "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
    "llama 3": "{%- if not date_string is defined %}\n    {%- set date_string = \"26 Jul 2024\" %}\n{%- endif %}\n"
    "{%- if messages[0]['role'] == 'system' %}\n    {%- set system_message = messages[0]['content']|trim %}"
    "\n    {%- set messages = messages[1:] %}\n"
    "{%- else %}\n    {%- set system_message = \"\" %}\n{%- endif %}\n"
    "{{- bos_token }}{{- \"<|start_header_id|>system<|end_header_id|>\\n\\n\" }}\n"
    "{%- if tools is not none %}{{- \"Environment: ipython\\n\" }}{%- endif %}\n"
    "{{- \"Today Date: \" + date_string + \"\\n\\n\" }}{{- system_message }}{{- \"<|eot_id|>\" }}\n"
    "{%- for message in messages %}\n    {%- if not (message.role == 'ipython' or 'tool_calls' in message) %}\n"
    "        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'"
    "+ message['content'] | trim + '<|eot_id|>' }}\n"
    "    {%- endif %}\n{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}\n{%- endif %}\n",
    "loop controls and namespaces": "{% set ns = namespace(last='') %}"
    "{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}"
    "{% set ns.last = m.content %}{% if loop.last %}{% break %}{% endif %}{{ m.content.split(' ')[0] }}|{% endfor %}"
    "{{ ns.last.title() }}"
    "{{ messages[-1]['content'][::-1] }}",
    "json": "{{ messages | tojson }}{{ messages[0].content | tojson }}\n{{ messages[0] | tojson(indent=2) }}",
    "python's words": "{{ true }} {{ tools }} {{ missing }}|{{ messages | length }}",
    "generation tags": "{% for m in messages %}"
    "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{%- endgeneration -%}  !{% else %}"
    "{{ m.content }}{% endif %}{% endfor %}",
    "macros": "{% macro turn(who, what) %}<{{ who }}>{{ what }}{% endmacro %}"
    "{% for m in messages %}{{ turn(m.role, m.content) }}\n{% endfor %}"
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

# What templates take from Python and Jinja, a line each, rendered over two chats.
FEATURES = {
    "tests": "{% for x in [messages, messages[0], messages[0].content, 3, 2.5, true, none, missing] %}"
    "{{ x is defined }},{{ x is none }},{{ x is string }},{{ x is mapping }},{{ x is iterable or x is none }},"
    "{{ x is number }},{{ x is boolean }},{{ x is true }},{{ x is integer }},{{ x is undefined }}\n{% endfor %}",
    "no tools": "{% if tools is iterable and tools | length > 0 %}tools{% endif %}{{ tools is iterable }}{{ tools is mapping }}"
    "{% if tools is not none and tools is not undefined %}tools{% endif %}{% if tools %}tools{% endif %}{{ tools is defined }}",
    "sequences": "{{ messages is sequence }}{{ 'text' is sequence }}{{ {} is sequence }}{{ 3 is sequence }}"
    "{{ none is sequence }}{{ missing is sequence }}{{ true is sequence }}{{ missing is iterable }}{{ 'text' is iterable }}"
    "{{ {} is iterable }}{{ none is iterable }}{{ 3 is iterable }}",
    "tests of numbers": "{% for x in range(4) %}{{ x is even }}{{ x is odd }}{{ x is divisibleby 3 }}{{ x is eq 2 }}"
    "{{ x is gt 1 }}{{ x in [1, 2] }}{{ x is in [1, 2] }}{{ x not in [1] }} {% endfor %}",
    "slices": "{{ messages[1:] | length }}{{ messages[:-1] | length }}{{ messages[-2:] | length }}{{ messages[9:] | length }}"
    "{% for m in messages[::-1] %}{{ m.role }} {% endfor %}{{ messages[0].content[2:7] }}|{{ messages[0].content[-3:] }}"
    "|{{ messages[0].content[::2] }}|{{ messages[0].content[1] }}",
    "loop": "{% for m in messages %}"
    "{{ loop.index }}/{{ loop.length }},{{ loop.index0 }},{{ loop.revindex }},{{ loop.revindex0 }},"
    "{{ loop.first }},{{ loop.last }},{{ (loop.previtem or m).role }}-{{ (loop.nextitem or m).role }},{{ loop.cycle('a', 'b') }},"
    "{{ loop.previtem is defined and loop.previtem.role == 'user' }},{{ loop.depth }},{{ loop.changed(m.role) }}\n{% endfor %}",
    "loop filters and else": "{% for m in messages if m.role == 'user' %}{{ loop.index0 }}{{ m.role }}{% endfor %}"
    "{% for m in messages if m.role == 'nobody' %}x{% else %}none{% endfor %}",
    "loop controls": "{% for m in messages %}{% if loop.index0 == 2 %}{% break %}{% endif %}{% if m.role == 'system' %}"
    "{% continue %}{% endif %}{{ m.role }}{% for c in m.content %}{% if c == 'l' %}{% break %}{% endif %}{{ c }}.{% endfor %}"
    "{% endfor %}",
    "loop scope": "{% set x = 1 %}{% for m in messages %}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}"
    "{% if true %}{% set x = 7 %}{% endif %}{{ x }}",
    "namespaces": "{% set ns = namespace(a=1, found=false) %}{% for m in messages %}{% set ns.a = ns.a + loop.index %}"
    "{% set ns.b = m.role %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.found }}{{ ns.missing is defined }}",
    "string methods": "{% for m in messages %}{% set c = m.content %}{{ c.startswith('H') }}{{ c.endswith('?') }}"
    "{{ c.upper() }}"
    "{{ c.lower() }}{{ c.strip() }}|{{ c.lstrip() }}|{{ c.rstrip() }}|{{ c.capitalize() }}|{{ c.replace('e', '3') }}|"
    "{{ c.replace('l', 'L', 1) }}|{{ c.find('l') }},{{ c.rfind('l') }},{{ c.find('zz') }},{{ c.count('l') }}|{{ c.isdigit() }}"
    "{{ c.isalpha() }}{{ c.isupper() }}\n{% endfor %}",
    "strip of characters": "{{ 'xxabxcxx'.strip('x') }}|{{ 'xyxaby'.lstrip('xy') }}|{{ 'a</s>'.rstrip('</s>') }}|"
    "{{ '\\n\\na\\n'.strip('\\n') }}|",
    "split": "{% for s in ['<think>a\\nb</think>\\n\\nc', 'no', '</think>', ''] %}{{ s.split('</think>')[0].rstrip('\\n')"
    ".split('<think>')[-1].lstrip('\\n') }}|{{ s.split('</think>')[-1].lstrip('\\n') }}|{{ s.split('</think>') | length }}\n"
    "{% endfor %}{{ ' a  b c '.split() | join(',') }}|{{ ' a  b '.split(' ') | join(',') }}|"
    "{{ 'a,b,c'.split(',', 1) | join('+') }}"
    "|{{ 'a\\nb\\r\\nc'.splitlines() | join('+') }}",
    "rsplit": "{{ 'a-b-c'.rsplit('-', 1) | join('+') }}|{{ 'a-b-c'.rsplit('-') | join('+') }}|"
    "{{ ' a b '.rsplit() | join('+') }}",
    "partition": "{{ 'a-b-c'.partition('-') | join('+') }}|{{ 'a-b-c'.rpartition('-') | join('+') }}|"
    "{{ 'a'.partition('-') | length }}",
    "removeprefix": "{{ 'prefix-x'.removeprefix('prefix-') }}|{{ 'x-suffix'.removesuffix('-suffix') }}|"
    "{{ 'x'.removeprefix('y') }}",
    "splits at most": "{{ ' a  b c '.split(none, 1) | join('|') }};{{ ' a  b c '.rsplit(none, 1) | join('|') }};"
    "{{ 'a--b--c'.split('--', maxsplit=1) | join('|') }};{{ 'a b c'.split(maxsplit=0) | join('|') }};"
    "{{ 'a-b-c'.rsplit(sep='-', maxsplit=1) | join('|') }};{{ 'aéb é'.rsplit('é', 5) | join('|') }};"
    "{{ '  '.split() | length }}{{ ''.rsplit() | length }}{{ ''.split('-') | length }}{{ 'a b'.split(none, -1) | length }};"
    "{{ 'éa\u3000b '.rsplit(none, 1) | join('|') }}",
    "empty separator": "{{ 'a'.split('') }}",
    "places": "{{ 'banána'.find('a') }},{{ 'banána'.find('a', 2) }},{{ 'banána'.find('a', -2) }},{{ 'banána'.find('n', 3, -1) }},"
    "{{ 'banána'.rfind('n', 0, 4) }},{{ 'banána'.find('b', 4, 2) }},{{ 'banána'.index('ná') }},{{ 'banána'.rindex('n') }}",
    "no such place": "{{ 'a'.index('b') }}",
    "filled up": "{{ 'ab'.ljust(5) }}|{{ 'ab'.rjust(5, '.') }}|{{ 'ab'.center(5, 'é') }}|{{ 'abc'.center(6, '-') }}|"
    "{{ 'ab'.ljust(1) }}|{{ '-7'.zfill(4) }}|{{ '7'.zfill(3) }}|{{ 'é+'.zfill(4) }}|{{ '+'.zfill(2) }}",
    "cases": "{{ 'aBé É1'.swapcase() }}{{ 'ÀB'.casefold() }}{{ 'éCOLE x'.capitalize() }}",
    "startswith of several": "{{ 'x'.startswith(('a', 'x')) }}{{ 'x'.endswith(('a', 'b')) }}",
    "title": "{{ \"it's a o'clock x1y ünïcode\".title() }}",
    "format": "{{ '%s-%s' | format('a', 'b') }}|{{ '{} and {}'.format('a', 1) }}|{{ 'x' * 3 }}|"
    "{{ '-'.join(['a', 'b']) }}",
    "mappings": "{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}{{ messages[0].keys() | list | join(',') }}"
    "{{ messages[0].values() | list | length }}{{ messages[0].get('role') }}{{ messages[0].get('x') }}"
    "{{ messages[0].get('x', 'y') }}"
    "{{ 'role' in messages[0] }}{{ 'tool_calls' not in messages[0] }}{{ messages[0]['x'] is defined }}"
    "{{ messages[0] | length }}",
    "literal mappings": "{% set d = {'a': 1, 'b': [1, 'x', none, true]} %}{{ d.a }}{{ d['b'][1] }}"
    "{{ d.items() | list | length }}"
    "{% for k in d %}{{ k }}{% endfor %}{{ d | tojson }}{{ dict(a=1, b='c') | tojson }}{{ d | dictsort | length }}",
    "order of keys": "{{ {'type': 1, 'b': 2, 'a': 3} | tojson }}{% for k, v in {'z': 1, 'y': 2}.items() %}{{ k }}{{ v }}"
    "{% endfor %}",
    "printing lists": "{{ [1, 'a', none, true, 2.0, \"it's\"] }} {{ {'a': 'b\\n'} }}"
    " {{ ('x',) }} {{ 'é\\n' }} {{ 1.0 }} {{ 10 / 4 }}",
    "printing messages": "{{ messages }} {{ messages[0] }} {{ messages | string | length }}",
    "arithmetic": "{{ 7 % 3 }} {{ -7 % 3 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ 2 ** 5 }} {{ 6 / 3 }} {{ 1 + 2 * 3 }}"
    " {{ 'a' ~ 1 ~ none ~ true }}"
    " {{ 3 > 2 and not false }} {{ 1 == 1.0 }} {{ 0 or 'x' }} {{ 'a' and 'b' }}",
    "ternaries": "{% for m in messages %}{{ 'u' if m.role == 'user' }}{{ 'a' if m.role == 'assistant' else 'n' }}{% endfor %}"
    "{{ ('x' if false) is defined }}",
    "tojson": "{{ messages | tojson(indent=2) }}{{ [] | tojson(indent=2) }}{{ {} | tojson(indent=2) }}{{ [[], {}] | tojson }}"
    "{{ \"<'&é\\u2028\\n\\t\\u0001\\x7f\" | tojson }}{{ 1.0 | tojson }}{{ 1e20 | tojson }}{{ none | tojson }}",
    "tojson ensure_ascii": "{{ 'é' | tojson(ensure_ascii=false) }}",
    "tojson in order": "{{ ['é'] | tojson(true) }}{{ {'b': 1, 'a': [{}]} | tojson(false, 1, (' ,', '='), true) }}"
    "{{ ['é🙂\x7f\u2028\n\"'] | tojson(ensure_ascii=true, indent='--') }}{{ [1, {'a': []}] | tojson(indent=0) }}"
    "{{ {'d': {'z': [{'y': 1, 'x': 2}], 'b': 0}, 'c': none} | tojson(sort_keys=true, indent=2) }}"
    "{{ [1, 2] | tojson(indent=none, separators=none) }}",
    "tojson sort_keys": "{{ {'b': 1, 'a': 'é'} | tojson(sort_keys=true) }}",
    "tojson separators": "{{ [1, {'a': 2}] | tojson(separators=(',', ':')) }}",
    "filters": "{{ 'aB' | upper }}{{ 'aB' | lower }}{{ 'aB c' | capitalize }}{{ 'it\\'s a' | title }}{{ ' a ' | trim }}|"
    "{{ [3, 1, 2] | sort | join(',') }}"
    "{{ [1, 2] | first }}{{ [1, 2] | last }}{{ 'abc' | reverse }}{{ [1, 2] | reverse | list | length }}"
    "{{ 'aXb' | replace('X', '-') }}"
    "{{ missing | default('d') }}{{ '' | default('d', true) }}{{ none | default('d') }}{{ '3' | int + 1 }}{{ '2.5' | float }}"
    "{{ 2.567 | round(1) }}{{ [1, 2, 3] | sum }}{{ [1, 5] | max }}{{ [1, 1, 2] | unique | list | length }}"
    "{{ 5 | string ~ 'x' }}{{ -3 | abs }}",
    "filters of text": "{{ 'a\\nb' | indent(2) }}|{{ 'a\\nb' | indent(2, true) }}|{{ '<a>' | e }}|{{ '<a>' | safe }}|"
    ""
    "|{{ [1, 2, 3] | batch(2) | list | length }}|{{ 'abc' | list | join('.') }}",
    "filters of messages": "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}"
    "{{ messages | selectattr('role', '==', 'user') | list | length }}"
    "{{ messages | rejectattr('role', 'equalto', 'user') | list | length }}"
    "{{ messages | selectattr('role', 'in', ['user', 'system']) | list | length }}"
    "{{ messages | selectattr('tool_calls') | list | length }}"
    "{{ messages | selectattr('tool_calls', 'defined') | list | length }}{{ messages | map(attribute='role') | join(' ') }}"
    "{{ messages | map(attribute='role') | map('upper') | list | tojson }}"
    "{{ messages | map(attribute='x', default='d') | join }}"
    "{{ [1, 2, 3] | select('odd') | list | length }}{{ ['a', ''] | reject('equalto', '') | list | length }}"
    "{{ (messages | selectattr('role', 'equalto', 'user') | list)[-1].content }}{{ messages | join(',', attribute='role') }}"
    "{{ messages | groupby('role') | list | length }}",
    "macros with defaults": "{% macro turn(m, sep='\\n', mark=none) %}{% if mark is none %}-{% else %}{{ mark }}{% endif %}"
    "{{ m.role }}{{ sep }}"
    "{% endmacro %}{% for m in messages %}{{ turn(m) }}{{ turn(m, sep=';') }}{{ turn(m, ';', '*') }}{% endfor %}"
    "{%- macro deep(n) -%}{%- if n > 0 -%}{{ n }}{{ deep(n - 1) }}{%- endif -%}{%- endmacro -%}{{ deep(3) }}"
    "{{ deep(2) | trim | length }}",
    "call blocks": "{% macro box(t) %}[{{ t }}:{{ caller() }}]{% endmacro %}{% call box('x') %}{{ messages[0].role }}"
    "{% endcall %}",
    "set blocks": "{% set text %}\n  {{ messages[0].role }}!\n{% endset %}<{{ text }}>{{ text is string }}{{ text.strip() }}"
    "{% set up | upper %}a{{ messages[0].role }}{% endset %}{{ up }}",
    "filter blocks": "{% filter upper %}a{{ messages[0].role }}{% endfilter %}{% filter trim %}  b {% endfilter %}",
    "white space": "a\n  {%- if true %}\n  b  \n  {%- endif -%}\n  c\n\n  {% if true -%}\n\n  d\n  {% endif %}"
    "\n  {%+ if true %}e{% endif +%}"
    "\n f"
    "\n  {#- gone -#}\n  g\n  {# a line #}\nh {{- ' i ' -}} j\n{{ 'k' }}\nl\n\n",
    "raw and comments": "{% raw %}{{ a }}{% b %}{% endraw %}{# {{ c }} #}{{ '{{ d }}' }}{{ \"{% e %}\" }}",
    "escapes": "{{ 'a\\tb\\\\n\\'q\\' \\u00e9 \\x41' }}{{ \"two\nlines\" }}",
    "unpacking": "{% set a, b = 1, 'x' %}{{ a }}{{ b }}{% for i, m in [(0, 'p'), (1, 'q')] %}{{ i }}{{ m }}{% endfor %}"
    "{% for i in range(2, 8, 3) %}{{ i }}{% endfor %}{% for i in range(3, 0, -1) %}{{ i }}{% endfor %}",
    "with": "{% with a = messages[0].role %}{{ a }}{% endwith %}{{ a is defined }}",
    "clock": "{{ strftime_now('%d %b %Y') }}|{{ strftime_now('%Y-%m-%d') }}|"
    "{{ strftime_now('%B %-d, %A %H:%M %j %y %p %I %%') }}"
    "|{{ strftime_now is defined }}",
    "clock without a zone": "{{ strftime_now('[%Z%z]%-m/%-d %-H') }}",
    "undefined": "[{{ missing }}{{ messages[0].missing }}{{ messages[99] }}]{{ missing | length }}{{ missing == none }}"
    "{{ not missing }}",
    "undefined attribute": "{{ missing.more }}",
    "undefined in a sum": "{{ 'a' + missing }}",
    "none in a sum": "{{ 'a' + none }}",
    "a number in a sum": "{{ 'a' + 1 }}",
    "refusal with a value": "{{ raise_exception('no ' ~ messages | length ~ ' of ' + messages[0].role) }}",
    "appending": "{% set l = [] %}{% set _ = l.append(1) %}{{ l | length }}",
    "list sums": "{% set l = [] %}{% for m in messages %}{% set l = l + [m.role] %}{% endfor %}{{ (['a'] + ['b']) | join }}"
    "{{ l | length }}"
    "{% set ns = namespace(l=[]) %}{% for m in messages %}{% set ns.l = ns.l + [m.role] %}{% endfor %}{{ ns.l | join(',') }}",
    "equality": "{{ messages[0] == messages[0] }}{{ messages[0] == messages[-1] }}{{ messages[0] != messages[-1] }}"
    "{{ [1] == [1] }}"
    "{{ messages[-1] in messages }}{{ 'ell' in messages[0].content }}{{ none == false }}{{ '' == none }}",
}

# In the manner of real ones: templates/<name>.jinja with the special tokens that their models have.
REAL = {
    "llama-3": {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
    "llama-3.1": {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
    "qwen2.5": {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
    "qwen3": {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
    "gemma-2": {"bos_token": "<bos>", "eos_token": "<eos>"},
    "gemma-3": {"bos_token": "<bos>", "eos_token": "<eos>"},
    "mistral": {"bos_token": "<s>", "eos_token": "</s>"},
    "phi-3": {"bos_token": "<s>", "eos_token": "<|endoftext|>"},
    "deepseek": {"bos_token": "<｜begin▁of▁sentence｜>", "eos_token": "<｜end▁of▁sentence｜>"},
    "olmo-2": {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"},
}
SPECIALS = {"bos_token": "<s>", "eos_token": "</s>"}


def chat(*contents, roles=("user", "assistant"), system=None):
    """Messages whose roles alternate."""
    first = [] if system is None else [{"role": "system", "content": system}]
    return first + [{"role": roles[i % len(roles)], "content": content} for i, content in enumerate(contents)]


REAL_CHATS = {
    "one turn": chat("Hello there"),
    "system and user": chat("Who are you?", system=" You are terse. "),
    "turns": chat("one", "two", "three"),
    "turns with system": chat("one", " two\n", "three", "four", "five", system="Count."),
    "text of every kind": chat(
        " \n\tÜnïcödé 日本語 🙂 e\u0301 «\u00a0»\u2028\r\n",
        "\"quotes\" and 'quotes' \\ \\n",
        "{{ messages }} {% if %} {# #} <b>&amp;</b> ",
    ),
    "blanks": chat("  leading", "trailing  \n\n", "\n\n", system="\n"),
    "empty": chat("", "", ""),
    "empty system": chat("Hi", system=""),
    "special tokens": chat("<s> <|im_end|> </s>", "<bos>", "<|eot_id|><|begin_of_text|>"),
    "thoughts": chat("2 + 2?", "<think>\nEasy.\n</think>\n\n4", "3 + 3?", "<think>\n\n</think>\n\n6\n"),
    "unclosed thought": chat("Go", "<think>wait", "on", "a</think>b</think>\n c"),
    "answer last": chat("Say ", "Well"),
    "assistant first": chat("I speak first", "why", roles=("assistant", "user")),
    "two users": chat("one", "two", roles=("user",)),
    "system later": chat("one", "rules", "two", roles=("user", "system", "user")),
    "only system": chat(system="Alone."),
    "tools": chat("weather?", "let me see", "7", "seven", roles=("user", "assistant", "tool", "assistant")),
    "tool response in a user turn": chat("q", "<think>a</think>b", "<tool_response>\n7\n</tool_response>"),
    "unknown role": chat("psst", roles=("narrator",)),
}


def cases():
    """Every template with its special tokens and the chats it is rendered over: name, source, specials, {name: messages}."""
    for name, source in HAND_WRITTEN.items():
        yield name, source, SPECIALS, CHATS
    over = {"user": CHATS["user"], "turns with system": REAL_CHATS["turns with system"]}
    for name, source in FEATURES.items():
        yield f"feature: {name}", source, SPECIALS, over
    for name, specials in REAL.items():
        yield name, (HERE / "templates" / f"{name}.jinja").read_text(), specials, REAL_CHATS
