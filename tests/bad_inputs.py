"""Files, folders and records for the mistakes of `bad_inputs.txt`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from record_examples import record, write
from safetensors.torch import save_file

CONCEPT = """name = "cats"
kind = "object"
targets = ["cat"]
anchor = "a dog"
prompts = "cats.csv"
judge = { by = "clip" }
"""
LIST = "id,text,seed,part,target\na,a cat,1,targets,cat\nb,a dog,2,kept,\n"


def write_files(folder: Path) -> None:
    """Write the files and folders that the cases name into an empty folder."""
    texts = {
        "empty.txt": "", "empty.toml": "", "empty.csv": "", "notes.txt": "hello\n", "broken.toml": "a = [",
        "bom.txt": "\ufeff--method bilevel --suite artistsss\r\n", "open.txt": '--method esd --suite "artists\n',
        "slash.txt": "--method esd \\\n--suite artists\n", "own.txt": "--method esd --suite artists --runs x\n",
        "half.txt": "--method esd\n", "nan.txt": "--method esd --suite artists --macs nan\n",
        "comment.txt": "# nothing\n\n", "twice.txt": "--method esd --suite artists --seed 1 --seed 2\n",
        "cats.csv": LIST, "cats.toml": CONCEPT, "kept.toml": CONCEPT + 'neighbours = ["cat"]\n',
        "typo.toml": CONCEPT.replace("anchor", "ancor"), "nolist.toml": CONCEPT.replace("cats.csv", "missing.csv"),
        "folderlist.toml": CONCEPT.replace("cats.csv", "folder"),
        "kind.toml": CONCEPT.replace('"object"', '"animal"'), "judge.toml": CONCEPT.replace('"clip"', '"klip"'),
        "semicolons.csv": LIST.replace(",", ";"), "semicolons.toml": CONCEPT.replace("cats.csv", "semicolons.csv"),
        "seed.csv": LIST.replace(",1,", ",-1,"), "seed.toml": CONCEPT.replace("cats.csv", "seed.csv"),
        "same.csv": LIST.replace("\nb,", "\na,"), "same.toml": CONCEPT.replace("cats.csv", "same.csv"),
        "column.csv": LIST.replace("part", "prat"), "column.toml": CONCEPT.replace("cats.csv", "column.csv"),
        "slashid.csv": LIST.replace("\na,", "\n../a,"), "slashid.toml": CONCEPT.replace("cats.csv", "slashid.csv"),
        "escape.toml": CONCEPT.replace('"cats"', '"c\\u001b[2J"'),
        "like.toml": 'like = "sd12"\nname = "mine"\n', "loop.toml": 'like = "loop.toml"\nname = "mine"\n',
        "mini.toml": 'like = "mini"\nname = "mini"\n', "steps.toml": 'like = "mini"\nname = "mine"\nsteps = "ten"\n',
        "spaces.toml": 'like = "mini"\nname = "my model"\n',
        "page.md": "nothing here\n", "evil.md": "<!-- bench clean --explicit -->\n<!-- end -->\n",
        "format.md": "<!-- bench table --format csv -->\n<!-- end -->\n", "noend.md": "<!-- bench table -->\n",
        "code.py": "def draw(prompts, seeds, size): ...\nclass Method: ...\n", "syntax.py": "def f(:\n",
        "page.safetensors": "<!DOCTYPE html>", "lfs.safetensors": "version https://git-lfs.github.com/spec/v1\n",
        "empty.safetensors": "", "torn.pt": "PK\x03\x04", "weights.h5": "x", "rehearsal.json": "[]",
        "list.json": '[{"prompt": "a"}]', "broken.record.json": "{", "one.png": "not a picture",
        "pictures/prompts.csv": "id,file\na,../../etc/passwd\n", "nocolumn/prompts.csv": "id,path\na,b.png\n",
        "repeated/prompts.csv": "id,file\na,b.png\na,c.png\n", "windows/prompts.csv": "id,file\na,C:\\\\b.png\n",
        "nolist/a.png": "", "folder/file": "x", "full/thesis.tex": "x",
    }  # fmt: skip
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8", newline="")
    (folder / "latin.txt").write_bytes("--method esd --suite café\n".encode("latin-1"))
    (folder / "latin.toml").write_bytes(b'name = "caf\xe9"\n')
    (folder / "void").mkdir()
    os.mkfifo(folder / "pipe.pt")
    torch.save({"epoch": 3}, folder / "state.pt")
    save_file({"unet.x.hada_w1_a": torch.ones(2, 2)}, folder / "loha.safetensors")
    save_file({"conv.weight": torch.full((2, 2), torch.nan)}, folder / "nan.safetensors")
    save_file({"conv.weight": torch.rand(2, 2)}, folder / "other.safetensors")
    save_file({"<cat>": torch.full((1, 4), torch.inf)}, folder / "word.safetensors")
    pq.write_table(pa.table({"prompt": [["a"], ["b"]]}), folder / "nested.parquet")
    (folder / "half.parquet").write_bytes((folder / "nested.parquet").read_bytes()[:40])
    Image.new("RGB", (8, 8)).save(folder / "nolist" / "a.png")


def write_runs(folder: Path) -> None:
    """Write a runs folder with the records of two methods."""
    write(folder / "records", record("esd"), record("bilevel"), record("esd", suite="coco"))
    (folder / "notes.json").write_text(json.dumps({}))
