"""Personal data: sealed where they lie, found by a blind index, told to whom they are of, and forgotten."""
