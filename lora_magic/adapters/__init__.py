"""Adapters: their specs, layers and ΔW; how they are attached, merged, combined and saved."""
