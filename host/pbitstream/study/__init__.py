"""Studies: the papers' open questions, each answered by a table of measurements with intervals."""
