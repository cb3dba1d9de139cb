"""Sphinx: the guide and the API pages."""

from importlib.metadata import version as installed

project = "neucept"
author = "The neucept developers"
copyright = "2026, the neucept developers"
release = installed("neucept")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "neucept"
html_static_path = ["images"]
autodoc_typehints = "description"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
napoleon_custom_sections = [("Source", "returns_style")]
napoleon_use_ivar = True
napoleon_attr_annotations = False  # array shapes such as "neurons *targets" are no markup
myst_heading_anchors = 3
suppress_warnings = ["config.cache"]
