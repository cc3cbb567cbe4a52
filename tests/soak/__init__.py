"""Real workers on a real server, broken at random moments for a bounded time: ``python -m tests.soak``."""
