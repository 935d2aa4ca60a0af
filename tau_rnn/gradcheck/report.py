"""What the marker found, as data (`Finding`) and as a page to read (`GradientReport`)."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tau_rnn.gradcheck.recipe import ADJOINT_FIELDS, EQUATION_OF, EQUATIONS

__all__ = ["GradientReport"]

_CHAPTER = "chapter 3, tutorials/03_bptt_by_hand.md"


@dataclass(frozen=True)
class Finding:
    """One statement about a backward: what kind it is, of which gradients, and in words.

    Attributes
    ----------
    kind : what is stated, with its value:

        - ``slip``: the adjoint has a known slip; value its name in `known_errors.SHARED`
        - ``own``: the formula of each of the fields has a known slip; its name in ``OWN``
        - ``sum``: the terms are added up wrongly; its name in ``SUMS``
        - ``truncated``: nothing is passed back beyond the last steps; their number
        - ``copy``: the array is that of another gradient; the other field
        - ``precision``: nearly right; the error
        - ``nonfinite``: inf or nan; the number of last steps that suffice for it, or None
        - ``unnamed``: no known slip produces it; what is known all the same follows as
        - ``factor``: proportional to the right one; the factor, or None if it depends on the run
        - ``adjoint_right``: the slip is not in the adjoint; the fields that hold it
        - ``short_runs``: right in runs of fewer steps than value
        - ``right_when``: right in these special networks; their descriptions
        - ``smallest``: wrong in every special case; an entry that is given, and the right one
        - ``example``: an entry that is given, and the right one
        - ``small_steps``: right where dt is much smaller than tau
        - ``problem``: not returned, of a wrong shape, not numeric, raised, ...
        - ``unusable``: a problem with which nothing can be judged
        - ``not_repeatable``: two calls with the same arguments differ
        - ``changes_arguments``: of no field; the names of the arguments
        - ``loss``: the loss is not finite
    fields : names of the gradients it is about; empty for backward as a whole
    words : the statement
    value : see kind
    equation : number of the equation that is violated
    """

    kind: str
    fields: tuple[str, ...]
    words: str
    value: Any = None
    equation: str = ""

    def sentence(self, field: str | None = None) -> str:
        """The whole statement, about one of its fields or about all of them."""
        if self.kind == "slip":
            return f"in the adjoint, {self.words}"
        if self.kind in ("own", "sum"):
            alone = field or (self.fields[0] if len(self.fields) == 1 else None)
            return f"in {f'd{alone} itself' if alone else 'each of them'}, {self.words}"
        return self.words


def merged(findings: Iterable[Finding]) -> list[Finding]:
    """One finding for each statement, about all the fields that it is made about."""
    fields: dict[Finding, list[str]] = {}
    for finding in findings:
        fields.setdefault(replace(finding, fields=()), []).extend(finding.fields)
    return [replace(statement, fields=tuple(names)) for statement, names in fields.items()]


@dataclass(frozen=True)
class GradientReport:
    """The verdict on a backward; ``print(report)`` is a page to read.

    Attributes
    ----------
    errors : field -> relative error ``sum(abs(g - exact)) / sum(abs(exact))`` on the network where
        it is largest; inf where there is nothing to compare
    findings : what is wrong, as data: see `Finding`
    networks : descriptions of the networks it was tried on
    phi, method, rtol : as given
    first_wrong_step : n where the adjoint is right at dx[T], ..., dx[T - n + 1] and wrong at
        dx[T - n]; None if it never is, or if the gradients do not tell

    Examples
    --------
    >>> from tau_rnn import backward, check_backward
    >>> report = check_backward(lambda *args: backward(*args)._replace(b=0))
    >>> report.ok, list(report.diagnosis)
    (False, ['b'])
    """

    errors: dict[str, float]
    findings: tuple[Finding, ...]
    networks: tuple[str, ...]
    phi: str
    method: str
    rtol: float
    first_wrong_step: int | None = None

    @property
    def ok(self) -> bool:
        """Whether every gradient is right, and backward leaves its arguments as they are."""
        return not self.findings

    @property
    def usable(self) -> bool:
        """Whether there was anything to judge."""
        return not any(finding.kind == "unusable" for finding in self.findings)

    @property
    def diagnosis(self) -> dict[str, str]:
        """What is wrong, in words: field -> sentences, one per line, for the wrong fields only.

        What concerns no particular gradient is under "backward".
        """
        said: dict[str, list[str]] = {name: [] for name in (*self.errors, "backward")}
        for finding in self.findings:
            for name in finding.fields or ("backward",):
                said[name].append(finding.sentence(name))
        return {name: "\n".join(lines) for name, lines in said.items() if lines}

    @property
    def verdict(self) -> str:
        """The report in a few words."""
        wrong = [name for name in self.errors if name in self.diagnosis]
        if self._unusable >= set(self.errors):
            return "nothing that could be compared"
        if wrong:
            return f"{len(wrong)} of {len(self.errors)} gradients wrong"
        if self.ok:
            return f"all {len(self.errors)} gradients are right"
        return "right, but it changes its arguments"

    @property
    def _unusable(self) -> set[str]:
        """The gradients with which nothing can be judged."""
        return {f for found in self.findings if found.kind == "unusable" for f in found.fields}

    def __str__(self) -> str:
        wrong, unusable = self.diagnosis, self._unusable
        lines = [
            f"{self.verdict}  (phi = {self.phi}, method = {self.method})",
            f"against a complex step, on {len(self.networks)} random networks; "
            f"a relative error up to {self.rtol:g} passes",
            "",
            "gradient    relative error",
        ]
        for name, error in self.errors.items():
            told = "none" if name in unusable else "WRONG" if name in wrong else "right"
            size = f"{error:.1e}" if math.isfinite(error) else "-"
            lines.append(f"d{name:<10} {size:<15} {told}")
        together: dict[tuple[str, ...], list[str]] = {}
        for finding in self.findings:
            together.setdefault(finding.fields, []).append(finding.sentence())
        for fields, sentences in together.items():
            lines += ["", f"{', '.join(f'd{name}' for name in fields) or 'backward'}:"]
            for sentence in sentences:
                lines += textwrap.wrap(sentence, 96, initial_indent="  ", subsequent_indent="  ")
        if self.first_wrong_step is not None:
            lines += ["", _where(self.first_wrong_step)]
        return "\n".join(lines)

    def explained(self) -> str:
        """The equations that are violated, and the chapter that derives them."""
        numbers: list[str] = []
        adjoint_is_right = any(finding.kind == "adjoint_right" for finding in self.findings)
        for finding in self.findings:
            if finding.equation:
                numbers.append(finding.equation)
            elif finding.kind in ("own", "sum", "unnamed", "copy", "problem"):
                numbers += [EQUATION_OF[name] for name in finding.fields]
                in_adjoint = {*finding.fields} & {*ADJOINT_FIELDS} and not adjoint_is_right
                if finding.kind == "unnamed" and in_adjoint:
                    numbers += ["3.4", "3.5"]
        if not numbers:
            return ""
        lines = [f"The equations, derived in {_CHAPTER}:"]
        for number in sorted(set(numbers), key=lambda text: int(text.split(".")[1])):
            lines += ["", f"  Eq. {number}"]
            lines += textwrap.wrap(
                EQUATIONS[number], 96, initial_indent="    ", subsequent_indent="      "
            )
        return "\n".join(lines)


def _where(steps: int) -> str:
    """Where the adjoint leaves the right one, in words."""
    if steps == 0:
        return "The adjoint is wrong from its first value on: dx[T], at the end of the run."
    good = "dx[T]" if steps == 1 else f"dx[T] to dx[T-{steps - 1}]"
    return (
        f"Counting back from the end, the adjoint is right at {good} and leaves the right one at "
        f"dx[T-{steps}]."
    )


def listed(fields: Sequence[str]) -> str:
    """``dW, db and dx0``."""
    names = [f"d{name}" for name in fields]
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
