"""The business, one package per service, with the same files in each."""
