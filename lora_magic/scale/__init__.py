"""Several processes for one cell: on this machine through accelerate, or on a Ray cluster.

Knows processes, what is sent to them and what they say; knows no adapter, no row and no session.
"""
