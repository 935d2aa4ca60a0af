"""Your turn: write the gradient of a network by hand, and have it marked.

    python -m tau_rnn.gradcheck tutorials/my_bptt.py --method euler

`forward` is given: Eq. 3.1, for tanh and Euler steps. `backward` is yours. It gets

    params   W (N, N), W_in (N, n_in), b (N,), W_out (n_out, N), b_out (n_out,), x0 (N,), tau (N,)
    traj     what the forward pass did, for B trials of T steps:
             traj.x (T+1, B, N)    states; traj.x[0] is x0, traj.x[t+1] comes after input traj.u[t]
             traj.r (T+1, B, N)    rates, tanh(x)
             traj.y (T, B, n_out)  outputs; traj.y[t] reads traj.r[t+1]
             traj.u (T, B, n_in)   inputs
             traj.noise (T, B, N)  noise current, or None
             traj.dt               time step (s)
    dy       (T, B, n_out)  derivative of the loss with respect to each output

and returns seven arrays, in the order and the shapes of params: the derivative of the loss with
respect to each, summed over the trials.
"""

import numpy as np


def forward(params, u, dt, noise=None):
    """States, rates and outputs of the network, Eq. 3.1; all trials at once."""
    W, W_in, b, W_out, b_out, x0, tau = params
    alpha = dt / tau
    x, r, y = [np.tile(x0, (u.shape[1], 1))], [], []
    r.append(np.tanh(x[0]))
    for t in range(len(u)):
        c = r[t] @ W.T + u[t] @ W_in.T + b
        if noise is not None:
            c = c + noise[t]
        x.append((1 - alpha) * x[t] + alpha * c)
        r.append(np.tanh(x[t + 1]))
        y.append(r[t + 1] @ W_out.T + b_out)
    return np.array(x), np.array(r), np.array(y)


def backward(params, traj, dy):
    """dW, dW_in, db, dW_out, db_out, dx0, dtau: Eqs. 3.4 to 3.12."""
    W, W_in, b, W_out, b_out, x0, tau = params
    x, r, u, T = traj.x, traj.r, traj.u, len(traj.u)
    alpha = traj.dt / tau
    dW, dW_in, db = np.zeros_like(W), np.zeros_like(W_in), np.zeros_like(b)
    dW_out, db_out = np.zeros_like(W_out), np.zeros_like(b_out)
    dx0, dtau = np.zeros_like(x0), np.zeros_like(tau)

    dx = np.zeros_like(x[0])  # (B, N), dx[T+1]: nothing comes after the end
    for t in reversed(range(T + 1)):
        # 1. dx[t] from dx[t+1] (which dx holds now) and dy[t-1]: Eqs. 3.4 and 3.5
        # 2. where t > 0, what x[t] adds to the gradients: Eqs. 3.7 to 3.9 and 3.11
        pass
    # 3. dx0 and dtau: Eqs. 3.10 and 3.12

    return dW, dW_in, db, dW_out, db_out, dx0, dtau
