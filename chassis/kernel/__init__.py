"""The pure part of the chassis: all that domain code may import beside the standard library."""
