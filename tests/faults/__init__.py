"""Fault trials: kills, full disks, damaged files, odd servers, hostile input. `make faults` runs them for minutes, `test_faults.py` a few of each.

Every kind is a module with one function, `trials(place, numbers)`, that carries out the cases of these numbers and yields what came of them. A case
follows from the seed, its kind and its number alone, so that each can be repeated.
"""
