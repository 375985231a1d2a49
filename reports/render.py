"""Templates into one self-contained page: styles and scripts inside, nothing fetched from anywhere."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup

from reports.compression import sha256_source
from reports.marks import calm, sign, visible

TABLE_SCRIPTS = (
    "slices.js", "order.js", "filter.js", "facets.js", "ranges.js", "grid.js", "csv.js", "parquet.js", "export.js",
    "address.js", "explorer.js",
)  # fmt: skip
"""What a page needs that shows `table.html`."""

_COMMON = ("theme-button.js", "begin.js", "roving.js", "site.js", "readout.js")
_STYLES = ("report.css", "charts.css", "dots.css")

# Control and direction characters, and lone surrogates, which no file can hold.
_WILD = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@cache
def environment() -> jinja2.Environment:
    """The Jinja environment of all reports: everything is escaped unless a template file itself wrote it."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("reports", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_tame,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["visible"] = visible
    found.filters["calm"] = calm
    return found


def asset(name: str) -> str:
    """The text of a file beside the templates."""
    loader = environment().loader
    if loader is None:  # never so: `environment` sets it
        raise RuntimeError("the template environment has no loader")
    return loader.get_source(environment(), name)[0]


def script(*names: str) -> Markup:
    """Script files joined inside one function, so that nothing reaches the page's global names."""
    body = "\n".join(asset(name) for name in names)
    return Markup(f'(() => {{\n"use strict";\n{body}\n}})();')


def render_page(template: str, *, scripts: tuple[str, ...], **values: Any) -> str:
    """Render a page and forbid it, by a content security policy, everything but its own scripts and styles.

    Args:
        template: name of the template.
        scripts: script files, in order; what every page has comes before them.
        values: what the template shows.
    """
    theme, main = script("theme.js"), script(*_COMMON, *scripts)
    style = Markup("".join(asset(name) for name in _STYLES))
    policy = (
        f"default-src 'none'; script-src {sha256_source(theme)} {sha256_source(main)}; "
        f"style-src {sha256_source(style)}; img-src data:; base-uri 'none'; form-action 'none'"
    )
    page = environment().get_template(template)
    return page.render(policy=policy, theme_script=theme, main_script=main, style=style, **values)


def _tame(value: Any) -> Any:
    """Show wild characters by their signs wherever a template prints a string, be it a token or a setting."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return _WILD.sub(lambda found: sign(found[0]) or found[0], value)
    return value
