"""Where a base model comes from: the embedded one, a hub id, a folder, live objects."""
