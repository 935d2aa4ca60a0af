"""What the marker found, as data (`Finding`) and as a page to read (`GradientReport`)."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
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
        - ``first_wrong_step``: the adjoint is right at dx[T] .. dx[T-value+1], wrong at dx[T-value]
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
        - ``phi``: phi's derivative is wrong, backward can't be judged by it
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
        alone = field or (self.fields[0] if len(self.fields) == 1 else None)
        if self.kind == "own":
            return f"in {f'd{alone} itself' if alone else 'each of them'}, {self.words}"
        if self.kind == "sum":
            if len(self.fields) == 1:
                return f"in d{alone} itself, {self.words}"
            each = self.words.removeprefix("it ")
            return self.words if field or each == self.words else f"each {each}"
        return self.words


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
                if finding.kind != "first_wrong_step":
                    said[name].append(finding.sentence(name))
        return {name: "\n".join(lines) for name, lines in said.items() if lines}

    @property
    def first_wrong_step(self) -> int | None:
        """Where the adjoint leaves the right one, counted back from the end.

        It is right at dx[T], ..., dx[T - n + 1] and wrong at dx[T - n]. None if it never does, or
        if the gradients do not tell.
        """
        found = (f.value for f in self.findings if f.kind == "first_wrong_step")
        return next(found, None)

    @property
    def verdict(self) -> str:
        """The first line."""
        n, wrong = len(self.errors), sum(name in self.errors for name in self.diagnosis)
        if wrong:
            return f"{wrong} of {n} gradients wrong"
        return f"all {n} gradients are right" if self.ok else "right, but it changes its arguments"

    def __str__(self) -> str:
        diagnosis = self.diagnosis
        lines = [
            f"{self.verdict}  (phi = {self.phi}, method = {self.method})",
            f"against a complex step, on {len(self.networks)} random networks; "
            f"a relative error up to {self.rtol:g} passes",
            "",
            "gradient    relative error",
        ]
        for name, error in self.errors.items():
            mark = "WRONG" if name in diagnosis else "right"
            lines.append(f"d{name:<10} {error:<15.1e} {mark}")
        together: dict[tuple[str, ...], list[str]] = {}
        for finding in self.findings:
            if finding.kind != "first_wrong_step":
                together.setdefault(finding.fields, []).append(finding.sentence())
        for fields, sentences in together.items():
            lines += ["", f"{', '.join(f'd{name}' for name in fields) or 'backward'}:"]
            for sentence in sentences:
                lines += textwrap.wrap(sentence, 96, initial_indent="  ", subsequent_indent="  ")
        lines += [f"\n{f.words}" for f in self.findings if f.kind == "first_wrong_step"]
        return "\n".join(lines)

    def explained(self) -> str:
        """The equations that are violated, and the chapter that derives them."""
        numbers: list[str] = []
        for finding in self.findings:
            own = [EQUATION_OF[name] for name in finding.fields]
            if finding.kind == "unnamed" and not self._adjoint_is_right():
                seen = set(finding.fields) & set(ADJOINT_FIELDS)
                own = ["3.4", "3.5"] * bool(seen) + own
            if finding.equation or finding.kind in ("own", "sum", "unnamed", "copy", "problem"):
                numbers += [finding.equation] if finding.equation else own
        if not numbers:
            return ""
        lines = [f"The equations, derived in {_CHAPTER}:"]
        for number in sorted(set(numbers), key=lambda text: int(text.split(".")[1])):
            lines += ["", f"  Eq. {number}"]
            lines += textwrap.wrap(
                EQUATIONS[number], 96, initial_indent="    ", subsequent_indent="      "
            )
        return "\n".join(lines)

    def _adjoint_is_right(self) -> bool:
        return any(finding.kind == "adjoint_right" for finding in self.findings)


def listed(fields: Sequence[str]) -> str:
    """``dW, db and dx0``."""
    names = [f"d{name}" for name in fields]
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
