"""One prompt under many adapters: texts, and how far the first logits moved."""
