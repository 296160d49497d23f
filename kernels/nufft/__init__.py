"""Non-uniform fast Fourier transforms: `Plan`."""

from .plan import Plan

__all__ = ["Plan"]
