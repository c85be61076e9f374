"""Plain rows and numbers in, a display out. Knows no model and no session."""
