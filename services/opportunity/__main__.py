"""Runs the opportunity service: `python -m services.opportunity`."""

from services.opportunity.service import SERVICE

if __name__ == "__main__":
    SERVICE.main()
