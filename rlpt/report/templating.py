"""Pages for people, from the templates in rlpt/report/templates/."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rlpt import number_text
from rlpt.report.charts import readings


def render_page(name: str, context: dict[str, Any]) -> str:
    """Returns the template `name`, filled in; text in HTML is escaped.

    Args:
        name: a file of rlpt/report/templates/, such as "report.md.j2".
        context: what it may mention; a name that is missing is an error.
    """
    environment = Environment(
        loader=PackageLoader("rlpt.report"),
        autoescape=name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        key: getattr(number_text, key) for key in ("number", "signed", "counted", "interval", "gap", "roughly", "task")
    }
    environment.globals |= {"ends": number_text.ends, "readings": readings}

    def source(file: str) -> Markup:
        assert environment.loader is not None
        return Markup(environment.loader.get_source(environment, file)[0])  # our own, not a user's

    environment.globals["source"] = source
    return environment.get_template(name).render(context)
