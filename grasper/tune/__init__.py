"""Pooled supervised tuning: one LoRA adapter of a base model, in the prompts of all methods (docs/tune.md)."""
