"""What happens, in order. Deterministic and thin: decisions are in ``qsaga.core``.

Imports nothing: see ``workflows.registered``.
"""
