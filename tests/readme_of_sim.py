"""The Python blocks of sim/README.md, which tests run."""

import re
from pathlib import Path

TEXT = (Path(__file__).parents[1] / "sim" / "README.md").read_text(encoding="utf-8")
README_BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
