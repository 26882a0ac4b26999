"""Importing this imports all that commands need."""

from faults.process import preload

preload()
