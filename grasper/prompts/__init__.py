"""What a language model is told: templates, rendering, escaping of untrusted text, and the token budget."""
