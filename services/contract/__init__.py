"""Every commercial paper, and the money it promises."""
