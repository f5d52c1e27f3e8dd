"""netlab: learn Kubernetes networking by building it, from real Linux parts."""

from __future__ import annotations
