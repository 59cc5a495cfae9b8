"""The documentation as a site with search: `make docs` writes it to build/site."""

from __future__ import annotations

from importlib import metadata

project = "pretask"
author = "The pretask authors"
release = metadata.version("pretask")
copyright = author

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
root_doc = "contents"
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}

myst_heading_anchors = 3
napoleon_google_docstring = True
napoleon_use_ivar = True
autodoc_typehints = "description"
autodoc_member_order = "bysource"

html_theme = "furo"
html_title = "pretask"
