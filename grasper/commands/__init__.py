"""Commands beside the stages, one file per group; `cli.py` registers them."""
