"""Hostile input: thousands of wrong, extreme and malicious requests, and what every answer must satisfy."""
