"""Selects rows of a table by method, or the user's own runs (`bench table --method A,B --mine`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from benchmark.errors import DataError
from benchmark.records.record import Record
from benchmark.registry import unknown
from benchmark.tables.select import Found, Source

_Group = TypeVar("_Group", list[Record], dict[str, Record])


@dataclass(frozen=True)
class RowChoice:
    """The rows to show: of these `methods` (empty for all), and with `mine` only the user's own runs.

    Rows that are left out are still used: CP, CSD and resilience remain relative to the same reference model.
    """

    methods: tuple[str, ...] = ()
    mine: bool = False

    def keeps(self, record: Record, source: Source) -> bool:
        """Return whether the row of this record is shown. A reproduced reference run (◉) is a run of the user's."""
        is_chosen_method = not self.methods or record.method in self.methods
        return is_chosen_method and (not self.mine or source != "reference")

    def of(self, groups: Sequence[tuple[_Group, Source]]) -> list[tuple[_Group, Source]]:
        """Return the chosen models of a table, each with its source.

        Raises:
            UsageError: no model in the table is of one of the methods.
            DataError: none of these models is the user's.
        """
        first_records = [(_first(group), source) for group, source in groups]
        available = list(dict.fromkeys(record.method for record, _ in first_records))
        for method in self.methods:
            if method not in available:
                raise unknown("method of this table", method, available)
        chosen = [group for group, entry in zip(groups, first_records, strict=True) if self.keeps(*entry)]
        if not chosen and self.mine:
            of_methods = f" of {' or '.join(self.methods)}" if self.methods else ""
            method = self.methods[0] if self.methods and self.methods[0] not in ("base", "distilled") else "bilevel"
            raise DataError(
                f"No row{of_methods} in this table is a run of yours: create one with `bench run --method {method}`, "
                "name its folder with --runs, or leave out --mine."
            )
        return chosen

    def count(self, entries: Iterable[Found]) -> int:
        """Return how many of these records would be in the chosen rows."""
        return sum(self.keeps(record, source) for record, source in entries)


EVERY_ROW = RowChoice()


def _first(group: list[Record] | dict[str, Record]) -> Record:
    return group[0] if isinstance(group, list) else next(iter(group.values()))
