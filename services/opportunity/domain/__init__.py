"""What deals and pipelines are, and what may happen to them: pure, without input or output."""
