"""Throughput and latency over time."""
