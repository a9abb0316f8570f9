"""The files that docs/plugins.md shows, by the name in their first line."""

import re
from pathlib import Path

DOCS = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```(?:python|toml)\n# ([a-z]+\.(?:py|toml))\n(.*?)```", DOCS, re.DOTALL))
FILES["bridges.csv"] = re.findall(r"```csv\n(.*?)```", DOCS, re.DOTALL)[0]


def written(name: str, folder: Path) -> Path:
    """One of the files, in a folder."""
    path = folder / name
    path.write_text(FILES[name])
    return path
