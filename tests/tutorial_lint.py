"""Rules for the text of the tutorials, as pure functions: each returns a list of complaints.

tests/test_tutorials.py applies them. They hold what a reader relies on and no renderer checks: that
links lead somewhere, that quoted code exists, that GitHub shows the mathematics, and that numbers
in the prose come from a block.
"""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TUTORIALS = ROOT / "tutorials"
sys.path.insert(0, str(TUTORIALS))

from run import Block, blocks, chapters, missing, notebook  # noqa: E402

__all__ = ["ROOT", "TUTORIALS", "Block", "blocks", "chapters", "missing", "notebook"]

#: How fast a book like this is read, and how long an exercise takes beside its text.
WORDS_A_MINUTE, LINES_A_MINUTE, EXERCISE_MINUTES = 230, 12, 5
MOST_WORDS, MOST_LINES = 2200, 150  # of a chapter before "Going deeper"

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"


# Parts of a text


def without_fences(text: str) -> str:
    """The text with the lines of fenced blocks and HTML comments emptied; lines keep numbers."""
    lines = text.splitlines()
    for block in blocks(text):
        for k in range(block.line - 2, block.end):
            lines[k] = ""
    text = "\n".join(lines) + "\n"
    return re.sub(r"<!--.*?-->", lambda m: re.sub(r"[^\n]", "", m[0]), text, flags=re.S)


def without_code(text: str) -> str:
    """The same without code spans, each replaced by one word."""
    return re.sub(r"(`+)(.+?)\1", "code", without_fences(text))


def displays(text: str) -> list[tuple[int, list[str]]]:
    """The display equations: (number of the line of the opening $$, the lines between)."""
    lines, found, start = without_fences(text).splitlines(), [], None
    for number, line in enumerate(lines, 1):
        if line.strip() == "$$":
            if start is None:
                start = number
            else:
                found.append((start, lines[start : number - 1]))
                start = None
    if start is not None:
        found.append((start, ["the display that opens here is never closed"]))
    return found


def prose(text: str) -> str:
    """What is read as sentences: no blocks, no display equations; code spans stay."""
    lines = without_fences(text).splitlines()
    for start, inside in displays(text):
        for k in range(start - 1, min(start + len(inside) + 1, len(lines))):
            lines[k] = ""
    return "\n".join(lines) + "\n"


def word_count(text: str) -> int:
    """Words of prose: an inline formula or a code span is one, links count by their text."""
    text = re.sub(r"\$[^$\n]+\$", "formula", without_code(prose(text)))
    text = re.sub(r"\]\([^)\s]*\)", "]", re.sub(r"<[^>\n]+>", "", text))
    return len(re.findall(r"[^\W_]+(?:[.'’-][^\W_]+)*", text))


def code_lines(text: str) -> int:
    """Lines of Python that are read: those that run and those that are quoted."""
    code = [b.text for b in blocks(text) if b.language in ("python", "py")]
    return sum(bool(line.strip()) for line in "\n".join(code).splitlines())


def minutes(text: str) -> float:
    """How long a text is read."""
    return word_count(text) / WORDS_A_MINUTE + code_lines(text) / LINES_A_MINUTE


def section(text: str, title: str) -> str:
    """A section of a chapter, "" if there is none."""
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def main_line(text: str) -> str:
    """What everybody reads of a chapter: all before "Going deeper", or before the exercises."""
    return re.split(r"^## (?:Going deeper|Exercises)$", text, flags=re.M)[0]


def exercise_minutes(text: str) -> float:
    """How long the exercises take: their text, and some minutes each; solutions are not read."""
    asked = re.sub(r"<details>.*?</details>", "", section(text, "Exercises"), flags=re.S)
    return minutes(asked) + EXERCISE_MINUTES * len(re.findall(r"^\*\*Exercise ", asked, flags=re.M))


def headings(text: str) -> list[str]:
    return re.findall(r"^#{1,6} +(.+?)\s*$", without_fences(text), flags=re.M)


def anchors(text: str) -> set[str]:
    """The anchors GitHub gives to the headings of a text."""
    found: set[str] = set()
    for heading in headings(text):
        slug = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.lower())
        slug = re.sub(r"[^\w\- ]", "", slug).replace(" ", "-")
        name, k = slug, 0
        while name in found:
            k += 1
            name = f"{slug}-{k}"
        found.add(name)
    return found


def links(text: str) -> list[tuple[int, str, str, bool]]:
    """(line, text, target, is it an image) of every link with a relative or absolute target."""
    found = []
    for number, line in enumerate(without_fences(text).splitlines(), 1):
        for m in re.finditer(r"(!?)\[((?:`[^`]*`|[^\]`])*)\]\(([^)\s]+)\)", line):
            found.append((number, m[2], m[3], bool(m[1])))
    return found


# Rules


def link_complaints(path: Path) -> list[str]:
    """Relative links and anchors that lead nowhere; names in code font that a file lacks."""
    complaints = []
    for number, label, target, _ in links(path.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        where = f"{path.name}:{number}: link to {target}"
        if not there.exists():
            complaints.append(f"{where}: no such file")
        elif anchor and there.suffix != ".md":
            complaints.append(f"{where}: anchors into code go stale, quote the line instead")
        elif anchor and anchor not in anchors(there.read_text(encoding="utf-8")):
            complaints.append(f"{where}: no such heading")
        elif there.suffix == ".py":
            source = there.read_text(encoding="utf-8")
            for name in re.findall(r"`([^`]+)`", label):
                name = name.removesuffix("()")
                if name not in source and Path(name).name != there.name:
                    complaints.append(f"{where}: `{name}` does not occur in it")
    return complaints


def _quoted(lines: list[str], source: list[str]) -> str | None:
    """The first line that the source lacks at its place; a line of dots allows a gap."""
    source, at, gap = [line.strip() for line in source if line.strip()], 0, True
    for line in filter(None, map(str.strip, lines)):
        if line in ("...", "# ..."):
            gap = True
            continue
        places = [k for k in range(at, len(source)) if source[k] == line]
        if not places or (not gap and places[0] != at):
            return line
        at, gap = places[0] + 1, False
    return None


def quote_complaints(path: Path) -> list[str]:
    """``py`` blocks and quoting columns of tables that differ from the code they quote."""
    text = path.read_text(encoding="utf-8")
    lines, complaints = text.splitlines(), []
    for block in blocks(text):
        if block.language != "py":
            continue
        above = [t for n, _, t, _ in links(text) if n < block.line and t.endswith(".py")]
        if not above:
            complaints.append(f"{path.name}:{block.line}: no link above says what is quoted")
            continue
        source = (path.parent / above[-1]).read_text(encoding="utf-8").splitlines()
        # A fragment can occur in more than one place; it is enough that one of them is right.
        starts = [k for k, s in enumerate(source) if s.strip() == block.text.split("\n")[0].strip()]
        wrong = [_quoted(block.text.splitlines(), source[k:]) for k in starts or [0]]
        if None not in wrong:
            complaints.append(f"{path.name}:{block.line}: {above[-1]} lacks {wrong[0]!r}")
    columns: list[str | None] = []
    for number, line in enumerate(lines, 1):
        if not line.startswith("|"):
            columns = []
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not columns:
            columns = [_quoted_file(path, cell) for cell in cells]
            continue
        for source, cell in zip(columns, cells):
            for code in re.findall(r"`([^`]+)`", cell) if source is not None else []:
                if code not in source:
                    complaints.append(f"{path.name}:{number}: quoted, but not there: {code}")
    return complaints


def _quoted_file(path: Path, header: str) -> str | None:
    """What a column quotes: the code its header links to; for a chapter, its Python blocks."""
    target = re.search(r"\]\(([^)#]+\.(?:py|md))\)", header)
    if not target:
        return None
    text = (path.parent / target[1]).read_text(encoding="utf-8")
    if target[1].endswith(".py"):
        return text
    return "".join(block.text for block in blocks(text) if block.language == "python")


def math_complaints(path: Path) -> list[str]:
    """Mathematics that GitHub would not show as it is meant."""
    text, complaints = path.read_text(encoding="utf-8"), []
    lines = without_code(text).splitlines()

    def complain(number, what):
        complaints.append(f"{path.name}:{number}: {what}")

    for number, line in enumerate(without_fences(text).splitlines(), 1):
        if re.search(r"\$`[^`]*`\$", line):
            complain(number, "write $...$, not $`...`$")
    in_display = set()
    for start, inside in displays(text):
        end = start + len(inside) + 1
        if _count("<details>", lines[:start]) > _count("</details>", lines[:start]):
            complain(start, "a display in a folded solution; write it in the line")
        in_display.update(range(start, end + 1))
        if start > 1 and lines[start - 2].strip():
            complain(start, "no empty line above $$")
        if end < len(lines) and lines[end].strip():
            complain(end, "no empty line below $$")
        for left, right in (("{", "}"), (r"\begin", r"\end"), (r"\left", r"\right")):
            if _count(left, inside) != _count(right, inside):
                complain(start, f"{left} and {right} do not match")
        depth = 0
        for number, line in enumerate(inside, start + 1):
            if not line.strip():
                complain(number, "empty line inside $$")
            if re.match(r"\s*([-+*#>=]|\d+\.)(\s|$)", line):
                complain(number, "begins like a list, a heading or a quotation")
            depth += line.count(r"\begin{") - line.count(r"\end{")
            if r"\tag" in line and depth:
                complain(number, r"\tag belongs after \end{aligned}")
            for what in _bad_math(line, display=True):
                complain(number, what)
    for number, line in enumerate(lines, 1):
        if number in in_display:
            continue
        if "$$" in line:
            complain(number, "$$ must stand alone on its line")
            continue
        pieces = line.split("$")
        if len(pieces) % 2 == 0:
            complain(number, "an odd number of $")
            continue
        for k in range(1, len(pieces), 2):
            formula, before, after = pieces[k], pieces[k - 1][-1:], pieces[k + 1][:1]
            if _count("{", [formula]) != _count("}", [formula]):
                complain(number, f"braces of ${formula}$ do not match")
            if not formula.strip() or formula != formula.strip():
                complain(number, f"${formula}$ begins or ends with a space")
            if before and before not in " (|":
                complain(number, f"{before!r} before ${formula}$")
            if after and after not in " .,;:!?)|":
                complain(number, f"{after!r} after ${formula}$")
            if line.startswith("|") and r"\vert" not in formula and "|" in formula:
                complain(number, f"| inside ${formula}$ in a table")
            for what in _bad_math(formula, display=False):
                complain(number, f"${formula}$: {what}")
    return complaints


def _count(what: str, lines: list[str]) -> int:
    end = r"(?![A-Za-z])" if what[0] == "\\" else ""  # \left is not \leftarrow
    return len(re.findall(re.escape(what) + end, "\n".join(lines)))


def _bad_math(formula: str, display: bool) -> list[str]:
    bad = []
    if r"\operatorname" in formula:
        bad.append(r"\operatorname is not supported")
    if "*" in formula:
        bad.append(r"write \ast, not *")
    rest = formula.replace("\\\\", "") if display else formula
    if display and re.search(r"\\\\(?!\s*$)", formula):
        bad.append(r"\\ is kept at the end of a line only")
    if re.search(r"\\[^A-Za-z\s]", rest):
        bad.append("a backslash before punctuation is eaten (\\lbrace, \\quad, \\lVert)")
    if "](" in formula:
        bad.append("]( is a link")
    if re.search(r"(^|[^A-Za-z0-9])_", formula):
        bad.append("_ after punctuation starts an emphasis")
    if not display and re.search("[<>]", formula):
        bad.append(r"write \lt or \gt")
    return bad


def number_complaints(path: Path) -> list[str]:
    """Numbers with a decimal point, a power of ten or a % that no block of the chapter holds."""
    text = path.read_text(encoding="utf-8")
    held = []
    for block in blocks(text):
        if block.language in ("python", "text"):
            code = re.sub(r"(?<=\d)_(?=\d)", "", block.text)
            held += [float(n) for n in re.findall(NUMBER, code)]
    complaints = []
    shown = re.split(r"^## Further reading", without_fences(text), flags=re.M)[0]
    shown = re.sub(r"\\tag\{[^}]*\}", "", shown)
    shown = re.sub(r"\]\([^)\s]*\)|https?://\S+", "", shown)
    shown = re.sub(r"\b(Eqs?\.|[Ee]xercises?|Chapters?|[Cc]hapters?|Python) *\d+(\.\d+)?"
                   r"((,| and| to) (Eq\. )?\d+\.\d+)*", "", shown)  # fmt: skip
    for number, line in enumerate(shown.splitlines(), 1):
        for m in re.finditer(
            r"(?<![\w.])(\d+\.\d+|\d+)"
            r"( *%|[eE][-+]?\d+| *(?:×|\\times|\\cdot) *10(?:\^\{?(-?\d+)\}?))?(?![\w]|\.\d)", line
        ):
            digits, mark = m[1], (m[2] or "").strip()
            if "." not in digits and not mark:
                continue
            value, places = float(digits), len(digits.partition(".")[2])
            if mark.startswith(("e", "E")):
                factors = [10.0 ** int(mark[1:])]
            elif mark == "%":
                factors = [1.0, 0.01]
            else:
                factors = [10.0 ** int(m[3])] if m[3] else [1.0]
            if not any(_rounds_to(abs(h), value, places, f) for h in held for f in factors):
                complaints.append(f"{path.name}:{number}: {m[0]} is in no block")
    return complaints


def _rounds_to(held: float, value: float, places: int, factor: float) -> bool:
    """Does a number of a block, given with as many digits as in the prose, read the same?"""
    tolerance = 0.5 * 10.0**-places * factor
    return math.isclose(held, value * factor, rel_tol=0, abs_tol=tolerance * (1 + 1e-9))


def form_complaints(path: Path) -> list[str]:
    """The order of a chapter: question, picture, text, what was learned, exercises, reading."""
    text, name = path.read_text(encoding="utf-8"), path.name
    complaints = []
    titles = headings(text)
    if not titles or not re.match(rf"{int(name[:2])}\. ", titles[0]):
        complaints.append(f"{name}: the first heading must be '# {int(name[:2])}. Title'")
    opening = without_fences(text).partition("\n## ")[0]
    if "?" not in opening:
        complaints.append(f"{name}: no question before the first section")
    if "![" not in opening:
        complaints.append(f"{name}: no picture before the first section")
    parts = ["What you learned", "Going deeper", "Exercises", "Further reading"]
    order = [t for t in titles if t in parts]
    if order != [t for t in parts if t in order or t != "Going deeper"]:
        complaints.append(f"{name}: needs {', '.join(parts)} (the second where it has one)")
    exercises = re.split(r"^\*\*Exercise (\d+\.\d+)\.", text, flags=re.M)
    expected = [f"{int(name[:2])}.{k}" for k in range(1, len(exercises) // 2 + 1)]
    if exercises[1::2] != expected or not 3 <= len(expected) <= 5:
        complaints.append(f"{name}: needs 3 to 5 exercises, **Exercise {int(name[:2])}.k.**")
    for label, body in zip(exercises[1::2], exercises[2::2]):
        if body.count("<details>") != 1 or body.count("</details>") != 1:
            complaints.append(f"{name}: exercise {label} needs one folded solution")
    if "https://doi.org/" not in text.partition("\n## Further reading")[2]:
        complaints.append(f"{name}: no DOI under 'Further reading'")
    for block in blocks(text):
        if block.language not in ("python", "text", "py", "console"):
            complaints.append(f"{name}:{block.line}: a block is python, text, py or console")
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"\s+```", line):
            complaints.append(f"{name}:{number}: an indented block is not run; begin at column 0")
        if re.match(r"%|!(?!\[)|---\s*$|:::", line):
            complaints.append(f"{name}:{number}: front matter, magic or directive")
    return complaints


def length_complaints(path: Path) -> list[str]:
    """A main line that is too long or has too much code for one sitting."""
    text = main_line(path.read_text(encoding="utf-8"))
    found = (word_count(text), MOST_WORDS, "words"), (code_lines(text), MOST_LINES, "lines of code")
    return [f"{path.name}: {n} {what}, at most {most}" for n, most, what in found if n > most]


def map_complaints(path: Path) -> list[str]:
    """Chapters whose minutes on the map are not those that are measured."""
    complaints, rows = [], {}
    for row in re.findall(r"^\| \d+ \|.*$", path.read_text(encoding="utf-8"), flags=re.M):
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        rows[re.findall(r"\]\((.*?)\)", cells[1])[0]] = tuple(map(int, cells[3:5]))
    for chapter in chapters():
        text = chapter.read_text(encoding="utf-8")
        measured = (math.ceil(minutes(main_line(text))), math.ceil(exercise_minutes(text)))
        if rows.get(chapter.name) != measured:
            given = rows.get(chapter.name)
            complaints.append(f"{chapter.name}: {measured} minutes, the map has {given}")
    return complaints


def stations() -> list[tuple[str, int, int, int, int, str]]:
    """The stations of the hour's path: file, number, of how many, minutes, of them writing, text.

    A station begins with ``> **An hour's path, 2 of 5** (9 minutes, 5 of them writing)`` and ends
    at the next line that begins with ``> **An hour's path``, or at "What you learned".
    """
    start = r"> \*\*An hour's path, (\d) of (\d)\*\* \((\d+) minutes(?:, (\d+) of them writing)?\)"
    found = []
    for chapter in chapters():
        text = chapter.read_text(encoding="utf-8")
        for part in re.split(r"^(?=> \*\*An hour's path)", text, flags=re.M):
            if head := re.match(start, part):
                number, of, total, writing = (int(g or 0) for g in head.groups())
                body = part.partition("\n## What you learned")[0]
                found.append((chapter.name, number, of, total, writing, body))
    return sorted(found, key=lambda s: s[1])


def hour_complaints(path: Path) -> list[str]:
    """Stations that are out of order, take longer than they say, or more than an hour together."""
    complaints, path_of_hour = [], stations()
    for k, (name, number, of, total, writing, body) in enumerate(path_of_hour, 1):
        if (number, of) != (k, len(path_of_hour)):
            complaints.append(f"{name}: station {number} of {of}, it is {k} of {len(path_of_hour)}")
        needed = math.ceil(minutes(body) + writing)
        if needed != total:
            complaints.append(f"{name}: station {number} says {total} minutes and takes {needed}")
        if name not in section(path.read_text(encoding="utf-8"), "An hour's path"):
            complaints.append(f"{path.name}: the hour's path does not name {name}")
    if not path_of_hour or sum(s[3] for s in path_of_hour) > 60:
        complaints.append(f"the hour takes {sum(s[3] for s in path_of_hour)} minutes")
    return complaints


def glossary_complaints(path: Path) -> list[str]:
    """Entries out of order, twice, or without the chapter that explains them."""
    complaints, before = [], ""
    entries = re.split(r"(?:\A|(?<=\n\n))\*\*(.+?)\*\*", path.read_text(encoding="utf-8"))
    for name, body in zip(entries[1::2], entries[2::2]):
        word = name.rstrip(".").lower()
        if word <= before:
            complaints.append(f"{path.name}: {word!r} stands after {before!r}")
        if not re.search(r"\]\(\d\d_\w+\.md", body):
            complaints.append(f"{path.name}: {word!r} does not link to a chapter")
        before = word
    return complaints or ([] if before else [f"{path.name}: no entries"])


# Equations


def tags() -> dict[str, str]:
    """The number of each equation and the chapter that defines it; a number given twice fails."""
    found: dict[str, str] = {}
    for path in chapters():
        for _, inside in displays(path.read_text(encoding="utf-8")):
            for number in re.findall(r"\\tag\{([^}]*)\}", "\n".join(inside)):
                if number in found:
                    raise ValueError(f"equation {number} is in {found[number]} and {path.name}")
                if not re.fullmatch(rf"{int(path.name[:2])}\.[1-9]\d*", number):
                    raise ValueError(f"{path.name} has \\tag{{{number}}}")
                found[number] = path.name
    return found


def cited(text: str) -> set[str]:
    """The numbers of the equations that a text cites: Eq. 1.2, Eqs. 1.2 and 1.3."""
    found = set()
    for m in re.finditer(r"\bEqs?\.\s+(\d+\.\d+(?:(?:,| and| to|,? or)\s+\d+\.\d+)*)", text):
        found.update(re.findall(r"\d+\.\d+", m[1]))
    return found


# Printed text


def differences(printed: str, shown: str, rtol: float = 1e-3) -> list[str]:
    """Where what a block prints and the text below it differ, numbers by more than rtol."""
    pattern = rf"(?<![A-Za-z_])({NUMBER})"
    got, want = (re.split(pattern, text) for text in (printed, shown))
    words = [["".join(part.split()) for part in parts[::2]] for parts in (got, want)]
    if len(got) != len(want) or words[0] != words[1]:
        return [f"printed\n{printed}but the text below says\n{shown}"]
    return [
        f"printed {a}, but the text below says {b}"
        for a, b in zip(got[1::2], want[1::2])
        if not math.isclose(float(a), float(b), rel_tol=rtol, abs_tol=1e-12)
    ]
