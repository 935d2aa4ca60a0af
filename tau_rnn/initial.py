r"""The recurrent weights before training: random, of a chosen rank, or random plus low rank.

With chi (N, N) of independent standard normal numbers, g the gain and ``||.||`` the Frobenius
norm::

    random               W = g chi / sqrt(N)
    rank:K               W = c sum_k s_k u_k v_k^T, the K largest singular values of the random W
                             and c such that ||W|| stays what it was (Liu et al. 2024)
    random+rank:K        W = g chi / sqrt(N) + strength sum_k m_k m_k^T, with m_1 .. m_K drawn at
                             random, orthogonal and of length 1 (Mastrogiuseppe & Ostojic 2018)

A network learns in the *lazy* regime where its weights and representations hardly move, in the
*rich* one where they do; W of low rank and fixed norm was found to learn more richly [1]_. The
structure of [2]_ is P = m n^T / N; here n = m, so that the strength is the overlap m^T n / N, the
eigenvalue of P. A strength above max(1, g) gives the silent network of tanh units K directions
along which its activity grows.

.. [1] Y. H. Liu et al., "How connectivity structure shapes rich and lazy learning in neural
   circuits", ICLR (2024).
.. [2] F. Mastrogiuseppe & S. Ostojic, "Linking connectivity, dynamics, and computations in low-rank
   recurrent neural networks", Neuron 99, 609 (2018).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tau_rnn.checks import check_integer, check_number, nearest, shown
from tau_rnn.specs import parameters_of, value_text

__all__: list[str] = []

#: What ``init=`` takes.
INITS = ("random", "rank:K", "random+rank:K,strength=1")


class Init(NamedTuple):
    """How W is made of random weights; see the head of `tau_rnn.initial`.

    Attributes
    ----------
    kind : "random", "rank" or "random+rank"
    rank : K; 0 where the kind is "random"
    strength : of the structure that is added
    """

    kind: str = "random"
    rank: int = 0
    strength: float = 1.0

    @property
    def text(self) -> str:
        """The text that `parse_init` reads as this one."""
        rank = f":{self.rank}" if self.rank else ""
        strength = "" if self.strength == 1 else f",strength={value_text(self.strength)}"
        return f"{self.kind}{rank}{strength}"

    def weights(self, W, rng):
        """The initial W (N, N), made of random weights of the same shape.

        Draws from ``rng`` where structure is added. A ValueError if the rank exceeds N.
        """
        N = len(W)
        if self.rank > N:
            raise ValueError(f"init: rank must be <= {N}, the number of units, got {self.rank}")
        if self.kind == "rank":
            u, s, vt = np.linalg.svd(W)
            kept = (u[:, : self.rank] * s[: self.rank]) @ vt[: self.rank]
            size = np.linalg.norm(kept)
            return kept * (np.linalg.norm(W) / size) if size else W
        if self.kind == "random+rank":
            m, _ = np.linalg.qr(rng.standard_normal((N, self.rank)))
            return W + self.strength * (m @ m.T)
        return W


def parse_init(init) -> Init:
    """Read ``random``, ``rank:5`` or ``random+rank:1,strength=1.5``.

    >>> parse_init("random+rank:2,strength=1.5")
    Init(kind='random+rank', rank=2, strength=1.5)
    >>> parse_init("rank:5").text
    'rank:5'
    """
    if isinstance(init, Init):
        init = init.text
    if not isinstance(init, str):
        raise ValueError(f"init: must be a text such as {', '.join(INITS)}, got {shown(init)}")
    kind, colon, rest = (part.strip() for part in init.partition(":"))
    kinds = [name.partition(":")[0] for name in INITS]
    if kind not in kinds:
        raise ValueError(f"init: unknown {shown(init)}; {nearest(kind, INITS)}")
    if kind == "random":
        if colon:
            raise ValueError(f"init: random takes no parameters, got {shown(init)}")
        return Init()
    rank, _, more = rest.partition(",")
    known = ["strength"] if kind == "random+rank" else []
    given = parameters_of(more, known, f"init: {init}")
    K = check_integer("init: rank", int(rank) if rank.strip().isdecimal() else rank, 1)
    return Init(kind, K, check_number("init: strength", given.get("strength", 1.0)))
