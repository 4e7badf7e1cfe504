"""The upper level of the paper: parameters are learned."""
