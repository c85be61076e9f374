"""Low-rank updates kept unmultiplied: tensors in, numbers out. Knows only torch."""
