"""The headless half of embedq: schema, queue, providers, pipeline and service."""

__version__ = "0.1.0"
