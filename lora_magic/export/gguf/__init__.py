"""GGUF files: a merged model, or an adapter alone, for llama.cpp. The only folder with gguf."""
