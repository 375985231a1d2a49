"""The checkers: they turn a certificate into a proof, recompute everything from the problem, and import no solver."""
