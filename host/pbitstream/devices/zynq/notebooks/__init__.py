"""Notebooks for PYNQ boards, which ``pynq get-notebooks`` copies to where Jupyter runs."""
