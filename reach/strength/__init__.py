"""How strong is a solver, in numbers: planted truths, recall, what was missed, rates, controls and samples."""
