"""Data fidelities, one a file: what a new one needs is `unfolding.fidelity.Fidelity`."""
