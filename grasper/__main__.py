"""`python -m grasper`: the command line."""

from grasper.cli import main

main()
