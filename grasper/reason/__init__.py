"""Reasoning paths: their format, where they come from, how they are rewarded, chosen, and kept from leaking the answer."""
