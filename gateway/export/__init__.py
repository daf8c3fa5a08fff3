"""Lists as files: which lists, which columns, and how a row is written."""
