"""Segment, classify and explain intramedullary lesions on sagittal T2w MRI.

Research use only. Not a medical device.
"""

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    # Looking the version up imports importlib.metadata, a tenth of --help's time.
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - see above

        return version("spinaldx")
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
