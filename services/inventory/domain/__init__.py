"""The rules of goods and orders; imports nothing but the kernel."""
