"""A task of one's own, for chapter 11: two pulses with a delay between them."""

import numpy as np

from tau_rnn.tasks import Trials


class Comparison:
    """Was the second pulse higher than the first? Answer +1 or -1 after it."""

    inputs, outputs = ("pulses",), ("answer",)
    criterion = 0.9  # accuracy at which the task counts as learned

    def __init__(self, dt=0.05, delay=1.0, noise=0.05):
        self.dt, self.delay, self.noise = dt, delay, noise

    def trials(self, n, rng, *, dtype=np.float64):
        """A batch of n trials, drawn from rng alone."""
        pulse, delay, response = (round(s / self.dt) for s in (0.2, self.delay, 0.5))
        first, second = rng.uniform(-1, 1, (2, n))
        u = np.zeros((2 * pulse + delay + response, n, 1), dtype)
        u[:pulse, :, 0] = first
        u[pulse + delay : 2 * pulse + delay, :, 0] = second
        target, mask = np.zeros_like(u), np.zeros(u.shape[:2], dtype)
        target[-response:, :, 0] = np.where(second > first, 1, -1)
        mask[-response:] = 1
        return Trials(u, target, mask)

    def accuracy(self, y, trials):
        """Fraction of trials whose mean output at the end has the sign of the answer."""
        answer = np.sign(y[-5:, :, 0].mean(axis=0))
        return float(np.mean(answer == trials.target[-1, :, 0]))
