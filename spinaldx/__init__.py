"""Segment, classify and explain intramedullary lesions on sagittal T2w MRI.

Research use only. Not a medical device.
"""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("spinaldx")
