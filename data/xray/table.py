"""A CSV file that lists images: columns ``path`` and ``label``, and, if known, ``patient`` and ``split``."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from parak8s.data.sources import Source, reading
from parak8s.data.xray.listing import PARTS, Listing, the_file
from parak8s.errors import InputError, nearest

COLUMNS = ("path", "label", "patient", "split")


def find(source: Source) -> Path | None:
    """Return the CSV file of a source: itself, or the only one that lies in its folder; None where there is none."""
    return the_file(source, ".csv")


def listed(table: Path) -> list[Path]:
    """Return the files that ``table`` lists.

    Raises:
        InputError: A row breaks a rule, or names no file.
    """
    return [_file(table, number, row) for number, row in _rows(table)]


def read(table: Path) -> Listing:
    """List the images in ``table``: UTF-8, commas, a header; paths from the folder of the table.

    ``patient`` says who an image is from, ``split`` whether it is in the source's own train, val or test part.

    Raises:
        InputError: A row breaks a rule, with its number.
        EnvironmentFault: The file may not be read.
    """
    rows = list(_rows(table))
    images = [_file(table, number, row) for number, row in rows]
    seen: dict[Path, int] = {}
    for (number, row), image in zip(rows, images, strict=True):
        if seen.setdefault(image, number) != number:
            raise InputError(f"{table}: row {number}: {row['path']} stands in row {seen[image]} too; remove one")
    labels = [row["label"] for _, row in rows]
    has = {column: any(row[column] for _, row in rows) for column in ("patient", "split")}
    return Listing(
        images=images,
        names=[row["path"] for _, row in rows],
        labels=labels,
        classes=tuple(sorted(set(labels))),
        parts=[_part(table, number, row) for number, row in rows] if has["split"] else None,
        patients=[row["patient"] for _, row in rows] if has["patient"] else None,
    )


def _rows(table: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield each row with its number, which is that of its line; a column that is not there is empty."""
    with reading(table), table.open(encoding="utf-8-sig", newline="") as text:
        reader = csv.reader(text, strict=True)
        try:
            header = _header(table, next(reader, []))
            for cells in reader:
                if cells:
                    yield reader.line_num, _row(table, reader.line_num, header, cells)
        except UnicodeDecodeError as error:
            raise InputError(f"{table}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error
        except csv.Error as error:
            raise InputError(f"{table}: row {reader.line_num}: not CSV: {error}") from error


def _header(table: Path, cells: list[str]) -> list[str]:
    names = [cell.strip().casefold() for cell in cells]
    if not names:
        raise InputError(f"{table}: empty; expected a header with path and label, and a row for each image")
    for wanted in ("path", "label"):
        if wanted not in names:
            raise InputError(f"{table}: row 1: no column {wanted!r} in the header; got {', '.join(names)}")
    for name in names:
        if name in COLUMNS and names.count(name) > 1:
            raise InputError(f"{table}: row 1: two columns {name!r}; remove one")
    return names


def _row(table: Path, number: int, header: list[str], cells: list[str]) -> dict[str, str]:
    if len(cells) != len(header):
        raise InputError(f"{table}: row {number}: expected {len(header)} columns, got {len(cells)}")
    values = dict.fromkeys(COLUMNS, "") | dict(zip(header, (cell.strip() for cell in cells), strict=True))
    for wanted in ("path", "label"):
        if not values[wanted]:
            raise InputError(f"{table}: row {number}: no {wanted}; fill it in, or remove the row")
    return values


def _file(table: Path, number: int, row: Mapping[str, str]) -> Path:
    path = table.parent / row["path"]
    if "\0" in row["path"] or not path.is_file():
        raise InputError(f"{table}: row {number}: no such file: {row['path']!r}, looked for in {table.parent}")
    return path


def _part(table: Path, number: int, row: Mapping[str, str]) -> str:
    name = row["split"].casefold()
    if name not in PARTS:
        raise InputError(f"{table}: row {number}: split is {row['split']!r}; {nearest(name, PARTS)}")
    return PARTS[name]
