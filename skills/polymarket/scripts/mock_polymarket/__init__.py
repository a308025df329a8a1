"""A stand-in for Polymarket on this machine: faithful first, hostile on request."""

from __future__ import annotations

from .server import MockPolymarket, Urls


__all__ = ["MockPolymarket", "Urls"]
