"""Payloads in buckets: Temporal's own drivers, and the deletion that they leave out."""
