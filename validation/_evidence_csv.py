"""Tables of the evidence: rows that belong to a part, replaced together."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import tau_rnn
from tau_rnn.experiment.files import write_text

EVIDENCE = Path(tau_rnn.__file__).parent / "evidence"


def cell(value: Any) -> Any:
    """A value as a table holds it: six digits, an empty cell for what is not there."""
    if value is None or value != value:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value


def refresh(path: Path, part: str, rows: list[dict[str, Any]], order: list[str]) -> None:
    """Replace a part's rows in a table, or add them; the others stay, parts in their order."""
    kept: list[dict[str, Any]] = []
    if path.exists():
        with open(path, newline="", encoding="utf-8") as file:
            kept = [row for row in csv.DictReader(file) if row.get("part") not in (part, None)]
    rows = kept + [{k: cell(v) for k, v in row.items()} for row in rows]
    rows.sort(key=lambda row: order.index(row["part"]))
    columns = dict.fromkeys(k for row in rows for k in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text.getvalue())
