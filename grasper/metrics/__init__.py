"""Pure functions from texts, ratings and rankings to numbers."""
