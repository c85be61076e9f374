"""Low-rank updates kept unmultiplied: tensors in, numbers out. Knows torch alone."""
