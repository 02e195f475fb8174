"""Runs the Python examples of Markdown files, where a run and its tables lie: each must print the text block under it.

`examples.py FILE.md…`
"""

import contextlib
import io
import re
import sys
from pathlib import Path

EXAMPLE = re.compile(r"^```python\n(.*?)^```\n\n?```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)

for page in map(Path, sys.argv[1:]):
    for number, (code, expected) in enumerate(EXAMPLE.findall(page.read_text(encoding="utf-8")), 1):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, f"{page}, example {number}", "exec"), {})
        said = [line.rstrip() for line in printed.getvalue().rstrip().splitlines()]
        assert said == expected.splitlines(), f"{page}, example {number} printed\n{printed.getvalue()}"
        print(f"{page.name}: example {number} prints what it says")
