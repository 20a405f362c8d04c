"""What the package costs and how soon it knows, measured beside bare aiohttp in the same run.

    python -m benchmarks [--short] [--output bench-output] [--write-docs]

Every figure is a ratio, or a count in virtual time: absolute times would only tell of the machine.
"""
