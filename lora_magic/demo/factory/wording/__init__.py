"""People's own words: many ways to ask for each aspect of the demo world."""
