"""Which real texts a prompt may show."""
