"""How soon the package knows, within which limits, and what it costs, measured beside other ways in the same run.

    python -m benchmarks [--short] [--output bench-output] [--write-docs] [scene ...]

Figures are ratios, or counts and seconds of virtual time, wherever that can be: absolute times would only describe the
machine.
"""
