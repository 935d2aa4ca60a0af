"""The poster's four claims, tested as validation/poster_claims_protocol.md says.

    python validation/poster_claims.py                              page and figures, from the CSVs
    python validation/poster_claims.py --part degree --workers 2    the runs of a part, and its rows
    python validation/poster_claims.py --part degree --rows         its rows again, no training
    python validation/poster_claims.py --quick                      tiny runs: that it all works

A part fills a store (runs/claims, not committed; what is there is not computed again) and refreshes
its rows in tau_rnn/evidence/*.csv, which are committed and are all that the page is made of. The
stored runs keep their networks, so --timescales measures them anew. Exit status: 0 if
every run is complete (--quick: and every check of the machinery passes), 1 if not. The science is
no part of it: a claim that fails is a result.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import _evidence_effects as made
import _evidence_runs as runs
import _evidence_untrained as before
from _evidence_csv import EVIDENCE, refresh
from _evidence_figures import LARGEST
from _evidence_page import write_page

from tau_rnn.experiment.claims import load_claims

HERE = Path(__file__).resolve().parent
PARTS = [*runs.PARTS, before.PART]


def write_rows(plan: runs.Plan, part: str, store, folder: Path, workers: int, again=False) -> None:
    """Refresh a part's rows in all tables from the stored runs, of seeds that are complete."""
    configs = runs.whole_seeds(runs.PARTS[part](plan), store)
    done = runs.load(configs, store, plan.looks)
    tables = {"runs": [runs.run_row(part, d) for d in done], "conditions": made.levels(part, done)}
    if part == "confirmation":
        tables["timescales"] = timescales(configs, store, folder, workers, again)
        tables["effects"], tests = made.confirmation(plan, done, tables["timescales"])
        tables["claims"] = [{"part": part, **row} for row in made.claims_table(tests)]
    else:
        tables["effects"], _ = made.between(part, done)
        more = {"degree": made.slopes, "homogeneous": made.against_best}
        if part in more:
            tables["effects"] += more[part](plan, done)
    write_tables(part, tables, folder)


def write_tables(part: str, tables: dict[str, list[dict]], folder: Path) -> None:
    """Refresh a part's rows in all tables."""
    for name, rows in tables.items():
        refresh(folder / f"{name}.csv", part, rows, PARTS)


def write_untrained(plan: runs.Plan, folder: Path, workers: int) -> None:
    """Measure the untrained networks; nothing is stored but the rows."""
    rows = before.measure_all(plan, workers)
    tables = {"untrained": rows, "conditions": before.levels(plan, rows),
              "effects": before.differences(plan, rows)}  # fmt: skip
    write_tables(before.PART, tables, folder)


def timescales(configs, store, folder: Path, workers: int, again: bool) -> list[dict]:
    """The effective timescales of the runs of claim 4: those in the table, and what it lacks."""
    known = [] if again else load_claims(folder).get("timescales", [])
    plain = [c for c in configs if made.is_plain(c)]
    keys = {c.key for c in plain}
    kept = [row for row in known if row["key"] in keys]
    lacking = keys - {row["key"] for row in kept}
    todo = [c.to_json() for c in plain if c.key in lacking]
    with runs.processes(workers) as pool:
        found = list(pool.map(made.timescale_rows, todo, [str(store)] * len(todo)))
    return kept + [row for rows in found for row in rows]


def quick(workers: int) -> int:
    """The parts with tiny runs; returns the exit status."""
    checks = [("the confirmation has 680 runs", len(runs.PARTS["confirmation"](runs.FULL)) == 680)]
    plan = runs.TINY
    with tempfile.TemporaryDirectory() as name:
        store, folder = Path(name) / "store", Path(name)
        for part in ("confirmation", "degree", "homogeneous", "lasting", "tau-trained"):
            configs = runs.PARTS[part](plan)
            errors = runs.fill(configs, store, workers, say=lambda *a, **k: None)
            checks.append((f"{part}: {len(configs)} tiny runs are complete", not errors))
            write_rows(plan, part, store, folder, workers)
        write_untrained(plan, folder, workers)
        first = {p.name: p.read_text(encoding="utf-8") for p in sorted(folder.glob("*.csv"))}
        write_rows(plan, "degree", store, folder, workers)
        again = {p.name: p.read_text(encoding="utf-8") for p in sorted(folder.glob("*.csv"))}
        lines = {k: sorted(v.splitlines()) for k, v in again.items()}
        same = lines == {k: sorted(v.splitlines()) for k, v in first.items()}
        checks.append(("rows written again are the same rows", same))
        for what, count, table, mark in (
            ("tests", 28, "claims", ",claim,,"), ("slopes", 16, "effects", ",slope,"),
            ("comparisons with the best", 18, "effects", ',"best, other seeds",'),
        ):  # fmt: skip
            checks.append((f"{count} {what}", first[f"{table}.csv"].count(mark) == count))
        text = write_page(load_claims(folder), folder)
        sizes = [path.stat().st_size for path in (folder / "figures").glob("*.png")]
        checks.append((f"seven figures of at most {LARGEST // 1000} kB",
                       len(sizes) == 7 and max(sizes) <= LARGEST))  # fmt: skip
        checks.append(("a page of at most 900 words", 0 < len(text.split()) <= 900))
    for what, good in checks:
        print(f"{'ok  ' if good else 'FAIL'}  {what}")
    return 0 if all(good for _, good in checks) else 1


def main(argv=None) -> int:
    """Run a part, or write the page; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--part", choices=PARTS, metavar="NAME", help=", ".join(PARTS))
    parser.add_argument("--rows", action="store_true", help="only the rows of stored runs")
    parser.add_argument("--timescales", action="store_true",
                        help="the same, with all effective timescales measured again")  # fmt: skip
    parser.add_argument("--workers", type=int, default=1, metavar="P", help="processes")
    parser.add_argument("--store", default="runs/claims", metavar="FOLDER",
                        help="where the runs are kept (default: runs/claims)")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="tiny runs, nothing written")
    args = parser.parse_args(argv)
    if args.quick:
        return quick(args.workers)
    if args.part is None:
        write_page(load_claims(), HERE)
        return 0
    if args.part == before.PART:
        write_untrained(runs.FULL, EVIDENCE, args.workers)
        return 0
    if not (args.rows or args.timescales):
        try:
            if runs.fill(runs.PARTS[args.part](runs.FULL), args.store, args.workers):
                return 1
        except KeyboardInterrupt:
            print("Interrupted; the same command continues from there.", file=sys.stderr)
            return 130
    write_rows(runs.FULL, args.part, args.store, EVIDENCE, args.workers, args.timescales)
    return 0


if __name__ == "__main__":
    sys.exit(main())
