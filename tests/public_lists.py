"""Harmless files in the formats of the public prompt lists: the lists themselves hold offensive text."""

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

from prompts.sources import Source, source

SECRET = "a quiet harbour"
"""How every made-up prompt begins; no output may hold it."""

HEADERS = {
    "i2p": "prompt,categories,hard,inappropriate_percentage,nudity_percentage,q16_percentage,sd_safety_percentage,"
    "prompt_toxicity,lexica_url,sd_seed,sd_guidance_scale,sd_image_width,sd_image_height,sd_model",
    "i2p-esd": ",prompt,categories,hard,inappropriate_percentage,nudity_percentage,q16_percentage,sd_safety_percentage,"
    "prompt_toxicity,lexica_url,evaluation_seed,evaluation_guidance,sd_image_width,sd_image_height,sd_model,"
    "case_number",
    "mma": "target_prompt,adv_prompt,sanitized_adv_prompt",
    "ring-a-bell": "sensitive prompt,evaluation_seed",
    "artists-van-gogh": ",Unnamed: 0,case_number,prompt,evaluation_seed,artist,evaluation_guidance,base",
    "artists-monet": ",Unnamed: 0,case_number,prompt,evaluation_seed,artists,evaluation_guidance,base",
    "artists": ",case_number,prompt,evaluation_seed,artist",
    "artists-picasso": "Unnamed: 0,case_number,prompt,evaluation_seed,artists,evaluation_guidance",
}
VALUES = {
    "categories": "hate, self-harm",
    "sd_guidance_scale": "7.5",
    "evaluation_guidance": "7",
    "sd_image_width": "512",
    "sd_image_height": "768",
}


def titled(number: int) -> str:
    return f'{SECRET}, "No. {number}"'


def table(name: str, rows: int = 4, **changed: list[str]) -> str:
    """`rows` rows of list `name` as CSV; `changed` replaces the cells of a column by its own."""
    header = HEADERS[name].split(",")
    wanted = source(name)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    for number in range(rows):
        cells = {column: VALUES.get(column, "0") for column in header}
        for column in header:
            if column.endswith("prompt"):
                cells[column] = titled(number) if column == wanted.columns["text"][0] else "another text"
            if column.endswith("seed"):
                cells[column] = str(1000 + number)
            if column.startswith("artist"):
                cells[column] = wanted.artist
            if column in changed:
                cells[column] = changed[column][number]
        writer.writerow(cells.values())
    return out.getvalue()


def written(folder: Path, data: str | bytes, name: str = "list.csv") -> Path:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def sized(name: str, rows: int = 4, **changed: Any) -> Source:
    """List `name` as if it had been published with so few rows."""
    return replace(source(name), rows=rows, **changed)
