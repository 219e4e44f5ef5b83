"""Simulated patients with truth; never real ones."""
