"""The scan: stages of backends, a judge that admits only proofs, and a journal that survives a kill."""
