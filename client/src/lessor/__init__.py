"""Run test processes only while they hold a licence seat."""

__version__ = "0.1.0"
