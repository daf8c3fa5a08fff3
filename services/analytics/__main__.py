"""Runs the analytics service: `python -m services.analytics`."""

from services.analytics.service import SERVICE

if __name__ == "__main__":
    SERVICE.main()
