"""Methods: one objective a file, read top to bottom like its paper."""
