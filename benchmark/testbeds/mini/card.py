"""The quality card as a page, and the requirements on a testbed that can distinguish methods. No torch is imported."""

from __future__ import annotations

from collections.abc import Iterator

from benchmark.json_types import JsonObject

STYLE, CONTENT, EMBLEM, UNASKED, SIGNATURE = 0.98, 0.95, 0.95, 0.01, 0.70


def verdict(card: JsonObject) -> Iterator[tuple[str, bool, str]]:
    """Yield (requirement, whether it is met, measured value) for each requirement; the worst case decides."""
    for kind in ("generated", "real"):
        for what, least in (("style", STYLE), ("content", CONTENT)):
            rows = {name: row[kind][what] for name, row in card["styles"].items()}
            worst = min(rows, key=lambda name: rows[name])
            below = sum(value < least for value in rows.values())
            yield (
                f"{what} of {kind} pictures >= {least}, every artist and plain",
                below == 0,
                f"worst {rows[worst]:.3f} ({worst}); {below} of {len(rows)} below; "
                f"mean {sum(rows.values()) / len(rows):.3f}",
            )
    for what, key in (("an emblem", "any"), ("the right emblem of three", "right class")):
        rates = {way: row[key] for way, row in card["emblem"].items() if way.startswith("asked")}
        worst = min(rates, key=lambda way: rates[way])
        yield f"{what} when asked >= {EMBLEM}", rates[worst] >= EMBLEM, f"{rates[worst]:.3f} ({worst})"
    unasked = card["emblem"]["unasked"]["any"]
    yield f"emblem unasked <= {UNASKED}", unasked <= UNASKED, f"{unasked:.3f}"
    alone = card["signature"]
    worst = min(alone, key=lambda name: alone[name])
    yield (
        f"signature subject alone brings its artist's style >= {SIGNATURE}, every artist",
        alone[worst] >= SIGNATURE,
        f"worst {alone[worst]:.3f} ({worst})",
    )


def card_text(card: JsonObject) -> str:
    """Return the card as a Markdown page."""
    lines = [
        "# Quality card of testbed mini",
        "",
        "Made by `bench testbed check mini`; shares of pictures, judged by the oracle.",
        "Samples of every style: [teacher.png](teacher.png).",
        "",
        "| required | met | measured |",
        "|---|---|---|",
    ]
    lines += [f"| {what} | {'yes' if met else 'no'} | {measured} |" for what, met, measured in verdict(card)]
    lines += [
        "",
        "| style | style, generated | content, generated | n | style, real | content, real | n | subject alone |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in card["styles"].items():
        generated, real = row["generated"], row["real"]
        alone = card["signature"].get(name, "")
        lines.append(
            f"| {name} | {generated['style']:.3f} | {generated['content']:.3f} | {generated['n']} "
            f"| {real['style']:.3f} | {real['content']:.3f} | {real['n']} | {alone} |"
        )
    lines += ["", "| emblem | found | right class | n |", "|---|---|---|---|"]
    for way, row in card["emblem"].items():
        lines.append(f"| {way} | {row.get('any', '')} | {row.get('right class', row.get('right', ''))} | {row['n']} |")
    lines += ["", "| against 2,000 held-out real plain pictures | FID | KID | n |", "|---|---|---|---|"]
    lines += [f"| {name} | {row['fid']} | {row['kid']} | {row['n']} |" for name, row in card["distances"].items()]
    return "\n".join(lines) + "\n"
