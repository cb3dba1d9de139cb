"""A whole study: its settings, the folder that holds it, and the run from capture to evidence.

Import from the modules: `settings` loads in no time, `run` brings the numerical libraries.
"""
