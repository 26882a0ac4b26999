"""How the embedded language model nano was trained, step by step."""
