"""Score a results folder against a table of truth."""
