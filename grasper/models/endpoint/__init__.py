"""A language model behind an OpenAI-compatible server (vLLM, Ollama, llama.cpp, `transformers serve`, hosted ones): chat completions."""

from grasper.models.endpoint.model import EndpointModel

__all__ = ["EndpointModel"]
