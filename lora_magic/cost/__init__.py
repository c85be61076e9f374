"""What a model, an adapter and a run cost, from a config alone: parameters, memory, hours, money.

Knows specs, shapes and numbers; knows no weights, and imports no torch (only `meta` does, for an
architecture that nothing here describes).
"""
