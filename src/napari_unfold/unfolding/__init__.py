"""The paper: energies, the unfolded algorithm and its parameters."""
