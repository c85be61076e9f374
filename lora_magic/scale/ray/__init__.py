"""Workers on a Ray cluster.

The kernel starts one driver process (`engine`, `driver`); only it and Ray's own processes import
ray. Knows Ray's clusters, actors and trainer; knows no adapter, no row and no session.
"""
