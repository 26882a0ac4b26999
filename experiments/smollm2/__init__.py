"""How smollm2-reviews is made: the pooled tuning of SmolLM2-135M-Instruct on public reviews."""
